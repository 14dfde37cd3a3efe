# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Bookings to be tried on a simulated site, from a TOML file: what a person would type, and how often."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.booking import account as accounts
from app.booking import decide
from app.booking.request import request
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain import recurrence
from app.domain.errors import InvalidRequest, NoRoom, SiteError
from app.domain.request import User
from app.domain.roll import Software
from app.domain.shape_input import KEYS
from app.domain.slot import Slot
from app.settings import Settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f simulated"
# What is not said is small: of a group of nodes, and of the cluster besides.
OF_GROUP: Mapping[str, Any] = {"node_count": 1, "vcpus": 1, "memory_mib": 1024, "disk_gib": 8}
OF_CLUSTER: Mapping[str, Any] = {
    "home_gib": 8,
    "shared_disk_gib": 0,
    "rolls": [],
    "users": [User("user", (KEY,))],
}
DEFAULTS = {**OF_GROUP, **OF_CLUSTER}
# How often, and what a request may say but for who uses the cluster: here nobody does.
REPEATED = ("times", "every_days", "zone")
KNOWN = sorted({*KEYS, *OF_CLUSTER, *REPEATED, "start", "end", "groups", "note"} - {"users"})
MOST_TIMES = 1000


@dataclass(frozen=True)
class Refusal:
    """A wish that cannot be had, with the reasons and what would fit instead, in words."""

    name: str
    reasons: tuple[str, ...]
    instead: tuple[str, ...] = ()


def read(path: Path) -> list[dict[str, Any]]:
    """The bookings of the file, as `booking.request` takes them: each [[booking]], `times` times every `every_days`,
    at the same time of day by the clocks of `zone` where one is named.

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
    if unknown := sorted(set(table) - set(KNOWN)):
        raise SiteError(f"{where}: there is no key {unknown[0]!r}; there are {', '.join(KNOWN)}.")
    values = {key: value for key, value in table.items() if key not in REPEATED}
    groups = values.get("groups")
    if groups is None:
        values = {**OF_GROUP, **values}
    elif isinstance(groups, list) and all(isinstance(group, dict) for group in groups):
        values["groups"] = [{**OF_GROUP, **group} for group in groups]
    slots = _slots(table, where)
    for number, slot in enumerate(slots, start=1):
        name = recurrence.name_of(str(table.get("name")), number) if len(slots) > 1 else table.get("name")
        yield {**OF_CLUSTER, **values} | {"name": name, "start": slot.start, "end": slot.end}


def _slots(table: Mapping[str, Any], where: str) -> Sequence[Slot]:
    times, every, zone = table.get("times", 1), table.get("every_days", 7), table.get("zone")
    if (
        type(times) is not int
        or not 1 <= times <= MOST_TIMES
        or type(every) is not int
        or not 1 <= every <= 366
    ):
        raise SiteError(f"{where}: times lies in 1..{MOST_TIMES} and every_days in 1..366.")
    start, end = table.get("start"), table.get("end")
    if not isinstance(start, datetime) or not isinstance(end, datetime) or not start.tzinfo or not end.tzinfo:
        raise SiteError(
            f"{where}: start and end are times with their offset, like 2027-03-01T09:00:00+01:00."
        )
    if end <= start:
        raise SiteError(f"{where}: the end must be after the start.")
    if zone is None:
        step = timedelta(days=every)
        return [Slot(start + number * step, end + number * step) for number in range(times)]
    try:
        again = recurrence.validate({"every": every, "times": times, "conflicts": "skip", "zone": zone})
        return recurrence.slots(Slot(start, end), again, datetime.max.replace(tzinfo=UTC))
    except InvalidRequest as why:
        raise SiteError(f"{where}: {why}") from None


def book(
    database: Database,
    settings: Settings,
    wishes: Collection[Mapping[str, Any]],
    *,
    software: Software,
    now: datetime,
) -> tuple[list[str], list[Refusal]]:
    """Ask for each in turn and approve it: the names of those booked, and the refusals."""
    asks, approves = (_provider(database, f"simulation-{what}", now) for what in ("asks", "approves"))
    booked, refused = [], []
    for wish in wishes:
        name = str(wish["name"])
        try:
            made = request(
                database,
                settings,
                asks,
                wish,
                rolls=software.roll_names,
                appliances=software.appliance_names,
                now=now,
            )
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
