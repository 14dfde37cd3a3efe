# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person may ask for: one validation behind web, API and command line alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.domain import field, public_key
from app.domain.errors import InvalidRequest
from app.domain.shape import COMPUTE, Shape
from app.domain.shape_input import USUAL, Limits, count_field, read_shape
from app.domain.slot import Slot, utc

# What useradd(8) of Debian accepts by default.
USER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
RESERVED_USERS = frozenset(
    [
        *(
            "root",
            "daemon",
            "bin",
            "sys",
            "sync",
            "games",
            "man",
            "lp",
            "mail",
            "news",
            "uucp",
            "proxy",
            "backup",
        ),
        *(
            "list",
            "irc",
            "nobody",
            "sshd",
            "munge",
            "slurm",
            "dnsmasq",
            "messagebus",
            "debian",
            "statd",
            "www-data",
        ),
        *("systemd-network", "systemd-timesync", "systemd-resolve"),
    ]
)
MAX_USERS = 500
MAX_KEYS_A_USER = 20


@dataclass(frozen=True)
class User:
    """A person who exists only inside the virtual cluster: login name and public keys."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A virtual cluster as asked for, valid by construction when it comes from `validate`.

    `count_field` is what too many nodes are told as, see `shape_input.count_field`.
    """

    name: str
    slot: Slot
    shape: Shape
    users: tuple[User, ...]
    note: str = ""
    count_field: str = "node_count"

    @property
    def rolls(self) -> tuple[str, ...]:
        """The rolls asked for."""
        return self.shape.rolls


def validate(
    raw: Mapping[str, object],
    *,
    now: datetime,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    limits: Limits = USUAL,
) -> Request:
    """The request in `raw`, or InvalidRequest with one message for each field that is wrong.

    `raw` holds name (str), start and end (aware datetimes; start None means now), the shape as `read_shape` tells,
    users (sequence of User) and note. `rolls` and `appliances` are what this site offers.
    """
    wrong: dict[str, str] = {}
    name = field.label(raw.get("name"), "name", "The cluster's name", wrong)
    slot = _slot(raw.get("start"), raw.get("end"), now, limits, wrong)
    shape = read_shape(raw, rolls, appliances, limits, wrong)
    users = _users(raw.get("users"), wrong)
    note = _note(raw.get("note"), wrong)
    if wrong:
        raise InvalidRequest(wrong)
    assert slot is not None
    return Request(name, slot, shape, users, note, count_field(raw))


def validate_size(
    raw: Mapping[str, object],
    *,
    now: datetime,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    limits: Limits = USUAL,
) -> tuple[Slot, Shape]:
    """When and how large the request in `raw` is, which is all that decides whether there is room for it.

    As `validate`, for start, end and the shape alone: the rest may still be missing.
    """
    wrong: dict[str, str] = {}
    slot = _slot(raw.get("start"), raw.get("end"), now, limits, wrong)
    shape = read_shape(raw, rolls, appliances, limits, wrong)
    if wrong:
        raise InvalidRequest(wrong)
    assert slot is not None
    return slot, shape


def validate_slot(
    raw: Mapping[str, object], *, now: datetime, limits: Limits = USUAL
) -> tuple[str, Slot, str]:
    """The name, slot and note of a request in `raw`, for a cluster whose shape and users are known. As `validate`."""
    wrong: dict[str, str] = {}
    name = field.label(raw.get("name"), "name", "The cluster's name", wrong)
    slot, note = _slot(raw.get("start"), raw.get("end"), now, limits, wrong), _note(raw.get("note"), wrong)
    if wrong:
        raise InvalidRequest(wrong)
    assert slot is not None
    return name, slot, note


def _note(value: object, wrong: dict[str, str]) -> str:
    note = value or ""
    if not isinstance(note, str) or len(note) > 2000 or "\x00" in note:
        wrong["note"] = "A note is text of at most 2,000 characters."
    return str(note).strip()


def _slot(start: object, end: object, now: datetime, limits: Limits, wrong: dict[str, str]) -> Slot | None:
    begin, until = _moment(now if start is None else start), _moment(end)
    if begin is None:
        wrong["start"] = "Give the start as a date and a time, like 2026-12-01 09:00."
    elif begin < now.replace(second=0, microsecond=0):
        wrong["start"] = "The start has passed. Choose a later one, or leave it empty to start now."
    elif begin > now + limits.ahead:
        wrong["start"] = f"Book at most {limits.ahead.days} days ahead."
    if until is None:
        wrong["end"] = "Give the end as a date and a time, like 2026-12-01 17:00."
    if begin is None or until is None or "start" in wrong:
        return None
    if until <= begin:
        wrong["end"] = "The end must be after the start."
    elif until <= now:
        wrong["end"] = "The end has passed already."
    elif until - begin > limits.length:
        wrong["end"] = f"A slot lasts at most {limits.length.days} days."
    return None if "end" in wrong else Slot(begin, until)


def _moment(value: object) -> datetime | None:
    """The time in UTC: two times of one zone would be compared by its clocks, which go back once a year.

    None for what is no time, says no zone, or lies outside the calendar.
    """
    try:
        return utc(value) if isinstance(value, datetime) else None
    except (ValueError, OverflowError):
        return None


def _users(value: object, wrong: dict[str, str]) -> tuple[User, ...]:
    users = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not users:
        wrong["users"] = "Name at least one user with a public SSH key: nobody could log in otherwise."
    elif len(users) > MAX_USERS:
        wrong["users"] = f"At most {MAX_USERS} users."
    checked: list[User] = []
    for user in users:
        if not isinstance(user, User) or not USER_NAME.fullmatch(user.name):
            wrong.setdefault(
                "users", f"{getattr(user, 'name', user)!r:.50} is no login name (like 'alice' or 'b-2')."
            )
        elif user.name in RESERVED_USERS:
            wrong.setdefault("users", f"{user.name!r} belongs to the system: choose another login name.")
        elif user.name in {other.name for other in checked}:
            wrong.setdefault("users", f"The user {user.name!r} is named twice: put all keys in one entry.")
        elif not 1 <= len(user.keys) <= MAX_KEYS_A_USER:
            wrong.setdefault("users", f"Give {user.name!r} 1 to {MAX_KEYS_A_USER} public SSH keys.")
        else:
            try:
                checked.append(User(user.name, tuple(public_key.check(key) for key in user.keys)))
            except ValueError as why:
                wrong.setdefault("users", f"Key of {user.name!r}: {why}.")
    return tuple(checked)
