# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A slot that comes again every so many days, at the same time of day by a zone's clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.domain.errors import InvalidRequest
from app.domain.slot import Slot

# Two digits number them, and one transaction books them all. A weekly class for a year is 53.
MOST_TIMES = 99
MOST_DAYS = 366


@dataclass(frozen=True)
class Recurrence:
    """Every `days` days by the clocks of `zone`: so many `times`, or up to and on the date `until`.

    `skips` says what becomes of a slot with no room: it is left out, or else nothing at all is booked.
    """

    days: int
    zone: ZoneInfo
    times: int | None = None
    until: date | None = None
    skips: bool = False


def validate(raw: Mapping[str, object]) -> Recurrence:
    """The recurrence in `raw`, or InvalidRequest with a message for each field that is wrong.

    `raw` holds every (whole number of days), times (whole number) or until (date), conflicts (all or skip: all or
    nothing, or leave out what does not fit), and zone (a name of the time zone database).
    """
    wrong: dict[str, str] = {}
    every, times, until = raw.get("every"), raw.get("times"), raw.get("until")
    if type(every) is not int or not 1 <= every <= MOST_DAYS:
        wrong["every"] = f"Repeat it every 1 to {MOST_DAYS} days."
    if times is None and until is None:
        wrong["times"] = "Say how many times, or until which date."
    elif times is not None and until is not None:
        wrong["times"] = "Give the number of times or the last date, not both."
    elif times is not None and (type(times) is not int or not 1 <= times <= MOST_TIMES):
        wrong["times"] = f"Repeat it at most {MOST_TIMES} times."
    elif until is not None and (not isinstance(until, date) or isinstance(until, datetime)):
        wrong["until"] = "Give the last date, like 2027-02-12."
    if raw.get("conflicts") not in ("all", "skip"):
        wrong["conflicts"] = "Choose: all or nothing (all), or leave out what does not fit (skip)."
    zone = _zone(raw.get("zone"))
    if zone is None:
        wrong["zone"] = f"There is no time zone {str(raw.get('zone'))[:40]!r}. Give one like Europe/Berlin."
    if wrong:
        raise InvalidRequest(wrong)
    assert isinstance(every, int) and zone is not None  # noqa: PT018
    return Recurrence(
        every,
        zone,
        times if isinstance(times, int) else None,
        until if isinstance(until, date) else None,
        raw["conflicts"] == "skip",
    )


def name_of(name: str, number: int) -> str:
    """What the cluster for the slot of this number, counted from 1, is called in a series of this name."""
    return f"{name}-{number:02}"


def slots(first: Slot, recurrence: Recurrence, furthest: datetime) -> list[Slot]:
    """The slots from `first` on, none of which begins after `furthest`: all at its time of day in the zone.

    InvalidRequest, by field, where there are too many, or they reach too far, or overlap one another, or where a date
    has no such time because the clocks go forward. Of a time that comes twice, the first.
    """
    zone, found = recurrence.zone, [first]
    start, end = (moment.astimezone(zone).replace(tzinfo=None) for moment in (first.start, first.end))
    if recurrence.until is not None and recurrence.until < start.date():
        raise InvalidRequest({"until": f"The last date lies before the first slot, {start.date()}."})
    while recurrence.times is None or len(found) < recurrence.times:
        step = timedelta(days=recurrence.days * len(found))
        if recurrence.until is not None and start.date() > recurrence.until - step:
            break
        if len(found) == MOST_TIMES:
            raise InvalidRequest({"until": f"Repeat it at most {MOST_TIMES} times: choose an earlier date."})
        slot = _local(start + step, end + step, zone)
        if slot.start > furthest:
            field = "times" if recurrence.times else "until"
            raise InvalidRequest({field: f"Book no further ahead than {furthest:%Y-%m-%d}."})
        if slot.start < found[-1].end:
            raise InvalidRequest({"every": "A slot would begin before the one before it has ended."})
        found.append(slot)
    return found


def _local(start: datetime, end: datetime, zone: ZoneInfo) -> Slot:
    moments = {}
    for field, naive in (("start", start), ("end", end)):
        moments[field] = naive.replace(tzinfo=zone).astimezone(UTC)
        if moments[field].astimezone(zone).replace(tzinfo=None) != naive:
            raise InvalidRequest(
                {
                    field: f"There is no {naive:%H:%M} on {naive.date()} in {zone.key}: the clocks go forward then."
                }
            )
    return Slot(moments["start"], moments["end"])


def _zone(name: object) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if isinstance(name, str) and name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
