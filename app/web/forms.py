# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is typed into forms, and how its shape is read. What is allowed is decided by app.domain alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import Form, PasswordField, StringField

from app.domain.errors import InvalidRequest
from app.domain.request import User

MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")
WHOLE = re.compile(r"[0-9]{1,9}")
# What the forms call it.
SHARED_DISK = "Disk that every node may write, GiB"


class LogIn(FlaskForm):
    """Who are you?"""

    name = StringField("Name")
    password = PasswordField("Password")


def read_fields(
    form: Form, readers: Mapping[str, Callable[[str], object]]
) -> tuple[dict[str, object], dict[str, str]]:
    """What could be read, and by field's name what could not."""
    raw: dict[str, object] = {}
    wrong: dict[str, str] = {}
    for field, read in readers.items():
        try:
            raw[field] = read(form[field].data or "")
        except ValueError as why:
            wrong[form[field].name] = str(why)
    return raw, wrong


def seen_version(form: Mapping[str, str]) -> int:
    """The version of the reservation the page was made from; -1, which none has, where that is not a number."""
    text = form.get("version", "")
    return int(text) if WHOLE.fullmatch(text) else -1


def whole_number(text: str) -> int:
    """A number without sign, point or exponent; ValueError in words for the person who typed it."""
    text = text.strip()
    if not WHOLE.fullmatch(text):
        raise ValueError("Give a whole number in digits, like 4." if text else "Give a number.")
    return int(text)


def number_or_none(text: str) -> int | None:
    """As `whole_number`; None where nothing is typed."""
    return whole_number(text) if text.strip() else None


def day(text: str) -> date:
    """A date; ValueError in words for the person who typed it."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise ValueError("Give a date, like 2027-02-12.") from None


def moment(text: str, zone: ZoneInfo) -> datetime:
    """A date and time in `zone`, or with its own offset, as UTC. Of an hour that comes twice, the first.

    ValueError for anything else, a time that the clocks of `zone` leave out included.
    """
    text = text.strip()
    if not MOMENT.fullmatch(text):
        raise ValueError("Give a date and a time, like 2026-12-01 09:00.")
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is not None:
            return given.astimezone(UTC)
        local = given.replace(tzinfo=zone)
        utc = local.astimezone(UTC)
        is_left_out = utc.astimezone(zone).replace(tzinfo=None) != given
    except (ValueError, OverflowError):
        raise ValueError(f"There is no such date and time as {text}.") from None
    if is_left_out:
        raise ValueError(f"There is no {given:%H:%M} on that day in {zone.key}: the clocks go forward then.")
    return utc


def moment_in(field: str, text: str, zone: ZoneInfo) -> datetime:
    """As `moment`, but InvalidRequest for that field."""
    try:
        return moment(text, zone)
    except ValueError as why:
        raise InvalidRequest({field: str(why)}) from None


def typed(when: datetime, zone: ZoneInfo) -> str:
    """The text that `moment` reads as `when`: as a date field shows it where that is exact to the second."""
    when = when.replace(microsecond=0)
    local = f"{when.astimezone(zone):%Y-%m-%dT%H:%M}"
    try:
        return local if moment(local, zone) == when else f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    except ValueError:
        return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def names(text: str) -> tuple[str, ...]:
    """Words separated by commas or white space."""
    return tuple(text.replace(",", " ").split())


def users(text: str) -> tuple[User, ...]:
    """One `login key` a line, several lines for several keys; empty lines and lines that begin with # are left out."""
    keys: dict[str, list[str]] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        login, _, key = line.strip().partition(" ")
        if not login or login.startswith("#"):
            continue
        if not key.strip():
            raise ValueError(
                f"Line {number}: give a login name, a space, and a public key: alice ssh-ed25519 AAAA..."
            )
        keys.setdefault(login, []).append(key.strip())
    return tuple(User(login, tuple(lines)) for login, lines in keys.items())
