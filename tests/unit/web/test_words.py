# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Times, durations and states in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.db.reservation import Reservation
from app.domain.lifecycle import STATES
from app.domain.refusal import Difference
from app.web import words
from app.web.steps import Progress
from tests.factories import group, grouped, shape

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (42, "42 s"),
        (59.6, "1 min 00 s"),
        (161, "2 min 41 s"),
        (3900, "1 h 05 min"),
        (273600, "3 d 4 h"),
        (-5, "0.0 s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "now"),
        (5, "in 5 s"),
        (-5, "5 s ago"),
        (-90, "1 min ago"),
        (660, "in 11 min"),
        (7500, "in 2 h 05 min"),
        (-3600, "1 h 00 min ago"),
        (90000, "in 1 d 1 h"),
    ],
)
def test_how_far_a_moment_is(seconds: float, text: str):
    assert words.away(NOW + timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("field", "before", "after", "text"),
    [
        ("offer", None, "made", "anna made an offer 5 min ago."),
        ("offer", "made", "withdrawn", "anna withdrew the offer 5 min ago."),
        ("offer", "made", "declined", "anna declined the offer 5 min ago."),
        (
            "hosts",
            "node1 on c1",
            "node1 on c2",
            "anna changed the place from node1 on c1 to node1 on c2 5 min ago.",
        ),
        ("home_gib", 1, 2, "anna changed the size of /home, GiB, from 1 to 2 5 min ago."),
    ],
)
def test_a_difference_says_who_changed_what(
    field: str, before: str | int | None, after: str | int | None, text: str
):
    one = Difference(field, before, after, "anna", NOW - timedelta(minutes=5))
    assert words.difference(one, NOW, TOKYO) == text


def test_a_time_carries_its_zone():
    assert words.clock(NOW, TOKYO) == "Tue 1 Dec 2026 21:00 JST"
    assert words.clock(NOW, ZoneInfo("UTC")) == "Tue 1 Dec 2026 12:00 UTC"
    assert words.clock_s(NOW, TOKYO) == "21:00:00 JST"


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 MiB"), (512, "512 MiB"), (1536, "1.5 GiB"), (4096, "4 GiB"), (2 << 20, "2 TiB")],
)
def test_an_amount_of_memory_is_in_the_unit_people_use(amount: int, text: str):
    assert words.mib(amount) == text


def reservation(**over: object) -> Reservation:
    values: dict[str, object] = {
        "state": "requested",
        "requested_at": NOW - timedelta(hours=1),
        "hold_until": NOW + timedelta(hours=3),
        "start_at": NOW + timedelta(hours=2),
        "end_at": NOW + timedelta(hours=6),
    }
    return Reservation(**values | over)


def test_every_state_has_a_word_a_sign_and_a_sentence():
    assert set(words.STATES) == set(STATES)
    for state in STATES:
        row = reservation(state=state)
        sentence = words.sentence(row, Progress(0, 0, None, False), NOW, TOKYO)
        assert len(sentence) > 8
        assert "pending" not in sentence.lower()
        assert words.STATES[state].sign
        assert words.STATES[state].word


def test_a_waiting_request_says_for_whom_and_how_long():
    assert words.sentence(reservation(), Progress(0, 0, None, False), NOW, TOKYO) == (
        "Submitted Tue 1 Dec 2026 20:00 JST. Needs approval by a cluster provider."
        " Its place is held until Wed 2 Dec 2026 00:00 JST."
    )


def test_a_cancel_is_told_before_the_passes_act_on_it():
    row = reservation(state="ready", cancel_requested_at=NOW - timedelta(seconds=20))
    assert words.sentence(row, Progress(0, 0, None, False), NOW, TOKYO).startswith("Cancelled 20 s ago.")


def test_a_build_whose_start_has_passed_tells_when_the_slot_ends():
    row = reservation(state="building")
    assert words.next_event(row, NOW) == ("slot starts", row.start_at)
    assert words.next_event(row, row.start_at) == ("slot ends", row.end_at)
    assert words.next_event(reservation(state="ended"), NOW) is None


@pytest.mark.parametrize(
    ("left", "words_in_it"),
    [
        (timedelta(hours=25), None),
        (timedelta(hours=23), "within a day"),
        (timedelta(minutes=59), "within the hour"),
    ],
)
def test_the_last_day_and_the_last_hour_are_announced(left: timedelta, words_in_it: str | None):
    warning = words.warning(reservation(state="ready", end_at=NOW + left), NOW)
    assert warning is None if words_in_it is None else words_in_it in (warning or "")


def test_only_a_ready_cluster_is_warned_of_its_end():
    assert words.warning(reservation(state="building", end_at=NOW + timedelta(minutes=5)), NOW) is None


def test_numbers_of_nodes_are_told_group_by_group_where_there_are_several():
    assert words.numbers(shape(node_count=1)) == "1 node"
    assert words.numbers(shape(node_count=1000)) == "1,000 nodes"
    several = grouped(group(node_count=3), group(name="big"), group(name="gpu"))
    assert words.numbers(shape(**several)) == "3 of node, 1 of big and 1 of gpu"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (-5, "passed 2 h 05 min ago; people"),
        (0, "passed 2 h 00 min ago; people"),
        (3, "passed 1 h 57 min ago, 3 min 00 s after its slot began; people"),
    ],
)
def test_a_ready_cluster_tells_how_late_it_was(after: int, told: str):
    start = NOW - timedelta(hours=2)
    row = reservation(state="ready", start_at=start, ready_at=start + timedelta(minutes=after))
    assert told in words.sentence(row, Progress(0, 0, None, False), NOW, TOKYO)
