# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A slot that comes again: the same time of day by the zone's clocks, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.domain.errors import InvalidRequest
from app.domain.recurrence import MOST_TIMES, Recurrence, slots, validate
from app.domain.slot import Slot

BERLIN = ZoneInfo("Europe/Berlin")
FAR = datetime(2030, 1, 1, tzinfo=UTC)


def slot(start: datetime, hours: float = 2) -> Slot:
    return Slot(start.astimezone(UTC), (start + timedelta(hours=hours)).astimezone(UTC))


def asked(**over: Any) -> dict[str, Any]:
    return {"every": 7, "times": 3, "until": None, "conflicts": "all", "zone": "Europe/Berlin"} | over


def test_the_time_of_day_stays_across_the_change_of_the_clocks():
    first = slot(datetime(2027, 3, 23, 9, tzinfo=BERLIN))
    found = slots(first, Recurrence(7, BERLIN, times=2), FAR)
    assert [one.start for one in found] == [
        datetime(2027, 3, 23, 8, tzinfo=UTC),
        datetime(2027, 3, 30, 7, tzinfo=UTC),
    ]
    assert [one.end.astimezone(BERLIN).hour for one in found] == [11, 11]


def test_until_is_the_last_date_and_by_the_zones_calendar():
    first = slot(datetime(2026, 12, 1, 0, 30, tzinfo=BERLIN))
    found = slots(first, Recurrence(7, BERLIN, until=date(2026, 12, 15)), FAR)
    assert [one.start.astimezone(BERLIN).day for one in found] == [1, 8, 15]
    assert len(slots(first, Recurrence(7, BERLIN, until=date(2026, 12, 14)), FAR)) == 2


def test_a_leap_day_is_a_day_like_others():
    found = slots(slot(datetime(2028, 2, 28, 9, tzinfo=UTC)), Recurrence(1, BERLIN, times=3), FAR)
    assert [(one.start.month, one.start.day) for one in found] == [(2, 28), (2, 29), (3, 1)]


def test_slots_may_touch_and_not_overlap():
    first = slot(datetime(2026, 12, 1, 9, tzinfo=UTC), hours=24)
    assert len(slots(first, Recurrence(1, BERLIN, times=3), FAR)) == 3
    longer = slot(datetime(2026, 12, 1, 9, tzinfo=UTC), hours=25)
    with pytest.raises(InvalidRequest) as caught:
        slots(longer, Recurrence(1, BERLIN, times=3), FAR)
    assert list(caught.value.fields) == ["every"]


@pytest.mark.parametrize(
    ("first", "recurrence", "field"),
    [
        (datetime(2027, 3, 21, 2, 30, tzinfo=BERLIN), Recurrence(7, BERLIN, times=2), "start"),
        (datetime(2027, 3, 21, 0, 30, tzinfo=BERLIN), Recurrence(7, BERLIN, times=2), "end"),
        (datetime(2026, 12, 1, 9, tzinfo=UTC), Recurrence(1, BERLIN, until=date(9999, 12, 31)), "until"),
        (datetime(2026, 12, 1, 9, tzinfo=UTC), Recurrence(1, BERLIN, until=date(2026, 11, 30)), "until"),
        (datetime(2026, 12, 1, 9, tzinfo=UTC), Recurrence(366, BERLIN, times=MOST_TIMES), "times"),
    ],
)
def test_what_there_is_not_is_refused_at_its_field(first: datetime, recurrence: Recurrence, field: str):
    with pytest.raises(InvalidRequest) as caught:
        slots(slot(first), recurrence, FAR)
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("every", 0),
        ("every", -7),
        ("every", 367),
        ("every", float("nan")),
        ("every", True),
        ("times", 0),
        ("times", MOST_TIMES + 1),
        ("times", float("inf")),
        ("times", None),
        ("until", date(2027, 1, 1)),
        ("conflicts", "maybe"),
        ("zone", "Mars/Olympus"),
        ("zone", "../../etc/passwd"),
        ("zone", ""),
        ("zone", "a\x00b"),
        ("zone", "x" * 5000),
        ("zone", "Europe"),
        ("zone", 7),
    ],
)
def test_bad_input_is_named(field: str, value: Any):
    with pytest.raises(InvalidRequest) as caught:
        validate(asked(**{field: value}))
    assert list(caught.value.fields) == ["times" if field == "until" else field]


def test_a_good_one_is_read():
    assert validate(asked()) == Recurrence(7, BERLIN, times=3)
    until = date(2027, 2, 1)
    assert validate(asked(times=None, until=until, conflicts="skip")) == Recurrence(
        7, BERLIN, None, until, True
    )
