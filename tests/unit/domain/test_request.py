# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person may ask for, and what each kind of bad input is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidRequest
from app.domain.request import User, validate
from tests.factories import KEY, NOW, ROLLS, wish


def wrong(**over: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        validate(wish(**over), now=NOW, rolls=ROLLS)
    return caught.value.fields


def test_a_sound_request_keeps_everything_asked_for() -> None:
    request = validate(wish(node_names=["a", "b"]), now=NOW, rolls=ROLLS)
    assert (request.shape.node_names, request.rolls) == (("a", "b"), ROLLS)
    assert request.slot.start == NOW
    assert request.users == (User("alice", (KEY,)),)


def test_nodes_without_names_are_numbered() -> None:
    assert validate(wish(node_count=3), now=NOW, rolls=ROLLS).shape.node_names == ("node1", "node2", "node3")


@pytest.mark.parametrize(
    ("field", "over"),
    [
        ("end", {"start": NOW + timedelta(hours=2)}),
        ("end", {"start": NOW + timedelta(hours=1)}),
        ("start", {"start": NOW - timedelta(hours=1)}),
        ("start", {"start": NOW + timedelta(days=4000), "end": NOW + timedelta(days=4001)}),
        ("end", {"end": NOW + timedelta(days=400)}),
        ("end", {"end": None}),
        ("node_count", {"node_count": 0}),
        ("node_count", {"node_count": 10_000}),
        ("node_count", {"node_count": -1}),
        ("node_count", {"node_count": 2.5}),
        ("node_count", {"node_count": float("nan")}),
        ("node_count", {"node_count": True}),
        ("memory_mib", {"memory_mib": 1}),
        ("disk_gib", {"disk_gib": 10**12}),
        ("home_gib", {"home_gib": None}),
        ("shared_disk_gib", {"shared_disk_gib": -1}),
        ("shared_disk_gib", {"shared_disk_gib": 10**12}),
        ("shared_disk_gib", {"shared_disk_gib": 2.5}),
        ("shared_disk_gib", {"shared_disk_gib": False}),
        ("shared_disk_gib", {"shared_disk_gib": "3"}),
        ("vcpus", {"vcpus": 0}),
        ("name", {"name": "../../etc/passwd"}),
        ("name", {"name": "a; rm -rf /"}),
        ("name", {"name": "x" * 300}),
        ("name", {"name": "-leading"}),
        ("name", {"name": "trailing-"}),
        ("name", {"name": "new\nline"}),
        ("name", {"name": "nul\x00"}),
        ("name", {"name": None}),
        ("node_names", {"node_names": ["a", "a"]}),
        ("node_names", {"node_names": ["a"]}),
        ("node_names", {"node_names": ["frontend", "b"]}),
        ("node_names", {"node_names": ["a", "b$(id)"]}),
        ("rolls", {"rolls": ["no-such-roll"]}),
        ("users", {"users": []}),
        ("users", {"users": [User("root", (KEY,))]}),
        ("users", {"users": [User("a b", (KEY,))]}),
        ("users", {"users": [User("alice", (KEY,)), User("alice", (KEY,))]}),
        ("users", {"users": [User("alice", ())]}),
        ("users", {"users": [User("alice", ("ssh-ed25519 notbase64",))]}),
        ("note", {"note": "x" * 3000}),
    ],
)
def test_bad_input_is_told_at_its_field(field: str, over: dict[str, Any]) -> None:
    assert list(wrong(**over)) == [field]


def test_every_wrong_field_is_told_at_once() -> None:
    assert set(wrong(name="?", node_count=0, rolls=["?"])) == {"name", "node_count", "rolls"}


@given(
    st.fixed_dictionaries(
        {
            key: st.one_of(
                st.none(), st.integers(), st.floats(), st.text(), st.lists(st.text()), st.datetimes()
            )
            for key in wish()
        }
    )
)
def test_no_value_of_any_kind_makes_validation_stumble(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        validate(raw, now=NOW, rolls=ROLLS)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        # The clocks go back from three to two: the half hour begins at 02:45, and ends at 02:15.
        (datetime(2027, 10, 31, 2, 45), datetime(2027, 10, 31, 2, 15, fold=1), 30),
        (datetime(2027, 10, 31, 1, 30), datetime(2027, 10, 31, 3, 30), 180),
        # They go forward from two to three.
        (datetime(2027, 3, 28, 1, 30), datetime(2027, 3, 28, 3, 30), 60),
        (datetime(2028, 2, 28, 12, 0), datetime(2028, 3, 1, 12, 0), 2 * 24 * 60),
    ],
)
def test_a_slot_lasts_as_long_as_it_lasts_whatever_the_clocks_do(
    start: datetime, end: datetime, minutes: int
) -> None:
    raw = wish(start=start.replace(tzinfo=BERLIN), end=end.replace(tzinfo=BERLIN))
    slot = validate(raw, now=NOW, rolls=ROLLS).slot
    assert slot.length == timedelta(minutes=minutes)
    assert slot.start.tzinfo is slot.end.tzinfo is UTC


@pytest.mark.parametrize("end", [datetime.max, datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))])
def test_an_end_beyond_the_calendar_is_told_at_its_field(end: datetime) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(wish(end=end), now=NOW, rolls=ROLLS)
    assert list(caught.value.fields) == ["end"]
