# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold host set` and `leasehold maintenance`: what is said of hosts without going there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from app.booking import host as booking
from app.cli.moment import MOMENT
from app.cli.number import NumberOr
from app.cli.operator import operator
from app.db import site
from app.db.base import Database
from app.domain.errors import InvalidRequest, NotFound
from app.domain.slot import Slot
from app.settings import Settings


@click.group()
def host() -> None:
    """Say what a host has. `leasehold host --help` tells the other commands for hosts."""


@host.command("set")
@click.argument("name")
@click.option("--tag", "tags", multiple=True, help="A tag that requests may ask for; several are allowed.")
@click.option("--untag", "untags", multiple=True, help="A tag to take away.")
@click.option("--bandwidth", type=NumberOr("MBIT", "none"), help="Of a gateway's public uplink in Mbit/s.")
@click.pass_obj
def set_host(
    settings: Settings, name: str, tags: tuple[str, ...], untags: tuple[str, ...], bandwidth: Any
) -> None:
    """Change the tags and the bandwidth of a host; what is booked there already stays."""
    database = Database(settings.database)
    with database.reading() as session:
        row = site.host_by_name(session, name)
    if row is None:
        raise NotFound(f"There is no host {name!r}; `leasehold host list` names them.")
    if unknown := sorted(set(untags) - set(row.tags)):
        raise InvalidRequest({"untag": f"{name} has no tag {unknown[0]!r}."})
    speed = row.bandwidth_mbit if bandwidth is None else None if bandwidth == "none" else bandwidth
    wanted = {*row.tags, *tags} - set(untags)
    booking.describe(database, name, tags=wanted, bandwidth_mbit=speed, by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(
        f"{name}: tags {', '.join(sorted(wanted)) or '(none)'}; bandwidth {speed or 'not counted'}.", err=True
    )


@click.group()
def maintenance() -> None:
    """Keep hosts free for a time: to be repaired, moved, upgraded."""


@maintenance.command()
@click.argument("name")
@click.argument("start", type=MOMENT)
@click.argument("end", type=MOMENT)
@click.option("--why", default="", help="What is done there.")
@click.pass_obj
def add(settings: Settings, name: str, start: datetime, end: datetime, why: str) -> None:
    """Keep a host free from START to END (in UTC, unless with an offset); refused while anything is booked then."""
    if end <= start:
        raise click.BadParameter("it must be after the start", param_hint="END")
    database = Database(settings.database)
    number = booking.maintain(database, name, Slot(start, end), why, by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(f"Maintenance {number} of {name} is entered.", err=True)


@maintenance.command("list")
@click.pass_obj
def list_maintenance(settings: Settings) -> None:
    """Print what is not over as JSON."""
    database = Database(settings.database)
    with database.reading() as session:
        rows = [
            {
                "number": row.id,
                "host": name,
                "start": _iso(row.start_at),
                "end": _iso(row.end_at),
                "why": row.why,
            }
            for row, name in site.maintenance_ahead(session, datetime.now(UTC))
        ]
    database.close()
    click.echo(json.dumps(rows, indent=2))


@maintenance.command()
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.pass_obj
def cancel(settings: Settings, number: int) -> None:
    """Call a maintenance off, or end it now where it has begun."""
    database = Database(settings.database)
    booking.end_maintenance(database, number, by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(f"Maintenance {number} is called off.", err=True)


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
