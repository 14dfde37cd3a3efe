# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Bookings to be tried on a simulated site, from a TOML file: what a person would type, and how often."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.booking import account as accounts
from app.booking import decide
from app.booking.request import request
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.errors import InvalidRequest, NoRoom, SiteError
from app.domain.request import User
from app.settings import Settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f simulated"
# What is not said is small.
DEFAULTS: Mapping[str, Any] = {
    "node_count": 1,
    "node_names": [],
    "vcpus": 1,
    "memory_mib": 1024,
    "disk_gib": 8,
    "home_gib": 8,
    "rolls": [],
    "note": "",
    "users": [User("user", (KEY,))],
}
KNOWN = {*DEFAULTS, "name", "start", "end", "policy", "tags", "groups"}
MOST_TIMES = 1000


@dataclass(frozen=True)
class Refusal:
    """A wish that cannot be had, with the reasons and what would fit instead, in words."""

    name: str
    reasons: tuple[str, ...]
    instead: tuple[str, ...] = ()


def read(path: Path) -> list[dict[str, Any]]:
    """The bookings of the file, as `booking.request` takes them: each [[booking]], `times` times every `every_days`.

    SiteError names what is wrong and where.
    """
    try:
        raw = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise SiteError(f"{path} cannot be read: {why}") from None
    tables = raw.get("booking")
    if not isinstance(tables, list) or not tables or set(raw) != {"booking"}:
        raise SiteError(f"{path} must hold [[booking]] tables and nothing else.")
    return [
        wish
        for number, table in enumerate(tables, 1)
        for wish in _repeated(table, f"{path}, booking {number}")
    ]


def _repeated(table: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    values = dict(table)
    times, every = values.pop("times", 1), values.pop("every_days", 7)
    if unknown := sorted(set(values) - KNOWN):
        raise SiteError(
            f"{where}: there is no key {unknown[0]!r}; there are times, every_days, {', '.join(sorted(KNOWN))}."
        )
    if (
        not isinstance(times, int)
        or not 1 <= times <= MOST_TIMES
        or not isinstance(every, int)
        or not 1 <= every <= 366
    ):
        raise SiteError(f"{where}: times lies in 1..{MOST_TIMES} and every_days in 1..366.")
    name, start, end = values.get("name"), values.get("start"), values.get("end")
    if not isinstance(start, datetime) or not isinstance(end, datetime) or not start.tzinfo or not end.tzinfo:
        raise SiteError(
            f"{where}: start and end are times with their offset, like 2027-03-01T09:00:00+01:00."
        )
    for number in range(times):
        later = timedelta(days=number * every)
        suffix = f"-{number + 1:02}" if times > 1 else ""
        yield {**DEFAULTS, **values} | {"name": f"{name}{suffix}", "start": start + later, "end": end + later}


def book(
    database: Database,
    settings: Settings,
    wishes: Collection[Mapping[str, Any]],
    *,
    rolls: Collection[str],
    now: datetime,
) -> tuple[list[str], list[Refusal]]:
    """Ask for each in turn and approve it: the names of those booked, and the refusals."""
    asks, approves = (_provider(database, f"simulation-{what}", now) for what in ("asks", "approves"))
    booked, refused = [], []
    for wish in wishes:
        name = str(wish["name"])
        try:
            made = request(database, settings, asks, wish, rolls=rolls, now=now)
        except NoRoom as why:
            instead = tuple(
                f"{one.kind}: {one.shape.most} nodes, {_in_words(one.slot.start)} to {_in_words(one.slot.end)}"
                for one in why.alternatives
            )
            refused.append(Refusal(name, why.reasons, instead))
        except InvalidRequest as why:
            refused.append(Refusal(name, tuple(f"{key}: {words}" for key, words in why.fields.items())))
        else:
            with database.reading() as session:
                row = session.get_one(Reservation, made)
            if row.state == "requested":
                decide.approve(database, settings, approves, made, row.version, now=now)
            booked.append(name)
    return booked, refused


def _provider(database: Database, name: str, now: datetime) -> Account:
    """A cluster provider, who has no quota, in the copy alone."""
    number = accounts.create(database, name, "cluster_provider", secrets.token_urlsafe(24), now=now)
    with database.reading() as session:
        return session.get_one(Account, number)


def _in_words(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
