# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The forms: fields as they are typed, and their shape. What is allowed is decided by app.domain.request alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, SelectMultipleField, StringField, TextAreaField

from app.domain.request import User

MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")
WHOLE = re.compile(r"[0-9]{1,9}")
NUMBERS = ("node_count", "vcpus", "memory_mib", "disk_gib", "home_gib")


class LogIn(FlaskForm):
    """Who are you?"""

    name = StringField("Name")
    password = PasswordField("Password")


class NewReservation(FlaskForm):
    """A virtual cluster as typed: every field is text, so that nothing typed is lost when it is wrong."""

    token = HiddenField()
    name = StringField("Name of the cluster")
    start = StringField("Start")
    end = StringField("End")
    node_count = StringField("Compute nodes")
    least = StringField("At the least")
    node_names = StringField("Names of the nodes")
    vcpus = StringField("vCPUs a node")
    memory_mib = StringField("Memory a node, MiB")
    disk_gib = StringField("Disk a node, GiB")
    home_gib = StringField("Shared /home, GiB")
    rolls = SelectMultipleField("Software", validate_choice=False)
    users = TextAreaField("Users and their SSH keys")
    note = TextAreaField("Note to the cluster provider")
    every = StringField("Repeat it every so many")
    unit = StringField("Days or weeks", default="weeks")
    times = StringField("How many times")
    until = StringField("Or until the date")
    conflicts = StringField("Where a slot has no room", default="all")

    def shape(self, zone: ZoneInfo) -> tuple[dict[str, object], dict[str, str]]:
        """The raw request that `domain.request.validate` reads, and by field what could not even be read."""
        readers: dict[str, Callable[[str], object]] = {
            "name": str.strip,
            "start": lambda text: moment(text, zone) if text.strip() else None,
            "end": lambda text: moment(text, zone),
            **dict.fromkeys(NUMBERS, whole_number),
            "least": lambda text: whole_number(text) if text.strip() else None,
            "node_names": names,
            "users": users,
            "note": lambda text: text.replace("\r\n", "\n"),
        }
        raw: dict[str, object] = {"rolls": self.rolls.data or []}
        return raw, _read(self, readers, raw)

    def again(self, zone: ZoneInfo) -> tuple[dict[str, object] | None, dict[str, str]]:
        """What `domain.recurrence.validate` reads, None for none, and by field what could not even be read."""
        if not any((self[field].data or "").strip() for field in ("every", "times", "until")):
            return None, {}
        readers: dict[str, Callable[[str], object]] = {
            "every": lambda text: whole_number(text) * (1 if self.unit.data == "days" else 7),
            "times": lambda text: whole_number(text) if text.strip() else None,
            "until": lambda text: day(text) if text.strip() else None,
        }
        raw: dict[str, object] = {"conflicts": self.conflicts.data, "zone": zone.key}
        return raw, _read(self, readers, raw)

    def key(self) -> str:
        """A name for this very submission: the page's token with all that was typed, so that mending and sending
        again is a new request, and sending the same twice is not."""
        typed = {field.short_name: field.data for field in self if field.short_name != "csrf_token"}
        return hashlib.sha256(json.dumps(typed, sort_keys=True).encode()).hexdigest()


def _read(
    form: FlaskForm, readers: Mapping[str, Callable[[str], object]], raw: dict[str, object]
) -> dict[str, str]:
    """Read the fields into `raw`; by field, what could not be read."""
    wrong: dict[str, str] = {}
    for field, read in readers.items():
        try:
            raw[field] = read(form[field].data or "")
        except ValueError as why:
            wrong[field] = str(why)
    return wrong


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
