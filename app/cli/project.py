# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold project`: projects and their ceilings."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import click

from app.booking import project as booking
from app.cli.number import NumberOr
from app.cli.operator import operator
from app.db import project as projects
from app.db.base import Database
from app.settings import Settings

AS_THE_SITE = "site"
OPTIONS = {
    "nodes": "Compute nodes at once.",
    "node_hours": "Node-hours now and ahead.",
    "length_hours": "Hours a slot may last.",
    "reservations": "Reservations that are not over: the stacking limit.",
    "notice_s": "Seconds before its start that a slot must be asked for.",
}


def ceilings(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each ceiling."""
    options = [
        click.option(f"--{name.replace('_', '-')}", name, type=NumberOr("number", AS_THE_SITE), help=words)
        for name, words in OPTIONS.items()
    ]
    return reduce(lambda done, option: option(done), reversed(options), command)


@click.group()
def project() -> None:
    """Look after projects: who books together under one set of ceilings.

    A ceiling is a whole number, 0 allowing nothing, or `site`: as the settings say.
    """


@project.command("add")
@click.argument("name")
@ceilings
@click.pass_obj
def add_project(settings: Settings, name: str, **given: Any) -> None:
    """Make a project."""
    database = Database(settings.database)
    booking.add(database, name, _named(given), by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(f"The project {name} is there. `leasehold project join` puts accounts into it.", err=True)


@project.command("set")
@click.argument("name")
@ceilings
@click.pass_obj
def set_project(settings: Settings, name: str, **given: Any) -> None:
    """Change ceilings of a project; what is booked already stays."""
    database = Database(settings.database)
    booking.set_ceilings(database, name, _named(given), by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(f"The project {name} is changed.", err=True)


@project.command()
@click.argument("name")
@click.argument("account")
@click.pass_obj
def join(settings: Settings, name: str, account: str) -> None:
    """Let an account belong to a project from now on; what it has booked stays where it was booked."""
    database = Database(settings.database)
    booking.move_account(database, account, name, by=operator(), now=datetime.now(UTC))
    database.close()
    click.echo(f"{account} belongs to the project {name}.", err=True)


@project.command("list")
@click.pass_obj
def list_projects(settings: Settings) -> None:
    """Print all projects with their own ceilings as JSON; null: as the site."""
    database = Database(settings.database)
    with database.reading() as session:
        rows = [
            {name: getattr(row, name) for name in ("name", *OPTIONS)} for row in projects.projects(session)
        ]
    database.close()
    click.echo(json.dumps(rows, indent=2))


def _named(given: dict[str, Any]) -> dict[str, int | None]:
    """The ceilings that were said, None for `site`."""
    return {
        name: None if value == AS_THE_SITE else value for name, value in given.items() if value is not None
    }
