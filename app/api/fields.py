# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The fields of bodies and queries: how each is read, and how the OpenAPI document shows it, in one place.

Only the form of a value is looked at here; what may be asked for is decided by app.domain, as for the pages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from app.domain.request import User

Reader = Callable[[object], object]
# Beyond this many messages nobody reads on.
MOST_UNKNOWN = 20
LONGEST_ECHO = 60
# RFC 3339, section 5.6: the offset is not optional.
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# ISO 8601, without years and months, which have no length of their own.
DURATION = re.compile(
    r"P(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?(?:T(?:([0-9]{1,6})H)?(?:([0-9]{1,8})M)?(?:([0-9]{1,9})S)?)?"
)
AMOUNT = re.compile(r"([0-9]{1,9}) ?(MiB|GiB|TiB)")
MIB = {"MiB": 1, "GiB": 1 << 10, "TiB": 1 << 20}


@dataclass(frozen=True)
class Field:
    """One field: `read` turns what was sent into what the use case takes, or raises ValueError in words.

    In a query, `is_json` says that the value is JSON and not text.
    """

    read: Reader
    schema: Mapping[str, object]
    is_required: bool = False
    is_json: bool = False


Fields = Mapping[str, Field]


def take(given: Mapping[str, object], fields: Fields) -> tuple[dict[str, object], dict[str, str]]:
    """What could be read, by name, and what is wrong, by name: unknown, missing and unreadable fields."""
    known = ", ".join(fields) or "none"
    unknown = [name for name in given if name not in fields][:MOST_UNKNOWN]
    wrong = {name[:LONGEST_ECHO]: f"There is no such field here; there are: {known}." for name in unknown}
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in given:
            try:
                values[name] = field.read(given[name])
            except ValueError as why:
                wrong[name] = str(why)
        elif field.is_required:
            wrong[name] = "This field is required."
    return values, wrong


def schema_of(fields: Fields) -> dict[str, object]:
    """The JSON Schema of an object with these fields and no others."""
    required = [name for name, field in fields.items() if field.is_required]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: field.schema for name, field in fields.items()},
    }
    return schema | ({"required": required} if required else {})


def text(value: object) -> str:
    """Text that a database can keep."""
    if not isinstance(value, str):
        raise ValueError("Give text, in quotation marks.")
    if "\x00" in value or (not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise ValueError("The text holds characters that cannot be stored.")
    return value


def whole(value: object) -> int:
    """A whole number, also where it is written like 4.0, as JSON does not tell the two apart."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("Give a whole number in digits, without quotation marks.")
    return value


def moment(value: object) -> datetime:
    """A time with its offset, as UTC."""
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise ValueError(
            "Give a date and a time with an offset, like 2026-12-01T09:00:00Z or ...T18:00:00+09:00."
        )
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"There is no such date, time or offset as {value[:LONGEST_ECHO]}.") from None


def day(value: object) -> date:
    """A date."""
    if not isinstance(value, str) or not DAY.fullmatch(value):
        raise ValueError("Give a date, like 2027-02-12.")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"There is no such date as {value}.") from None


def moment_or_now(value: object) -> datetime | None:
    """A time, or null for now."""
    return None if value is None else moment(value)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        raise ValueError("Give a list of texts.")
    return tuple(text(item) for item in value)


def users(value: object) -> tuple[User, ...]:
    """A list of users of the cluster, each with its public keys."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("Give a list of objects with name and keys.")
    found = []
    for number, one in enumerate(value, start=1):
        whole_object(one, USER, f"User {number}")
        found.append(User(text(one["name"]), texts(one["keys"])))
    return tuple(found)


def whole_object(given: Mapping[str, object], fields: Fields, what: str) -> dict[str, object]:
    """The fields of an object inside a list."""
    values, wrong = take(given, fields)
    if wrong:
        name, message = next(iter(wrong.items()))
        raise ValueError(f"{what}, {name}: {message}")
    return values


def digits(value: object) -> int:
    """A whole number in a query."""
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("Give a whole number in digits, like 4.")
    return int(value)


def duration(value: object) -> timedelta:
    """A length of time in ISO 8601, like P7D or PT4H30M."""
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        raise ValueError("Give a duration in weeks, days, hours, minutes, seconds, like P7D or PT4H30M.")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def mib(value: object) -> int:
    """An amount of memory in MiB, from 8GiB or 512MiB."""
    found = AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("Give an amount with its unit: MiB, GiB or TiB, like 8GiB.")
    return int(found[1]) * MIB[found[2]]


def gib(value: object) -> int:
    """An amount of disk in GiB; a part of one counts as a whole one."""
    return -(-mib(value) // 1024)


TEXT = {"type": "string"}
MOMENT_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-12-01T09:00:00Z"]}
USER: Fields = {
    "name": Field(
        text, {"type": "string", "description": "Login name inside the cluster."}, is_required=True
    ),
    "keys": Field(
        texts,
        {"type": "array", "items": TEXT, "minItems": 1, "description": "Public keys as in authorized_keys."},
        is_required=True,
    ),
}
