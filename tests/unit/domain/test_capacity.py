# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Peaks over time, with ends exclusive, against counting every instant."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.capacity import TICK, Taken, beyond, free, free_from, peaks
from app.domain.slot import Slot
from tests.factories import NOW


def at(hour: int) -> timedelta:
    return timedelta(hours=hour)


def taken(start: int, end: int, amount: int, holder: int = 1) -> Taken:
    return Taken(holder, "vcpu", amount, NOW + at(start), NOW + at(end))


SPANS = st.tuples(st.integers(0, 20), st.integers(1, 10), st.integers(1, 8))


def test_neighbours_that_touch_do_not_add_up() -> None:
    both = [taken(0, 1, 4), taken(1, 2, 4)]
    assert peaks(both, Slot(NOW, NOW + at(2))) == {(1, "vcpu"): 4}


def test_what_ends_at_the_start_is_free() -> None:
    assert free({(1, "vcpu"): 4}, [taken(0, 1, 4)], Slot(NOW + at(1), NOW + at(2))) == {(1, "vcpu"): 4}


@given(st.lists(SPANS, max_size=12), SPANS)
def test_the_peak_is_the_highest_sum_of_any_hour(
    spans: list[tuple[int, int, int]], window: tuple[int, int, int]
) -> None:
    first, length, _ = window
    sums = [
        sum(amount for start, size, amount in spans if start <= hour < start + size)
        for hour in range(first, first + length)
    ]
    found = peaks(
        [taken(start, start + size, amount) for start, size, amount in spans],
        Slot(NOW + at(first), NOW + at(first + length)),
    )
    assert found.get((1, "vcpu"), 0) == max(sums)


@given(
    st.lists(st.tuples(st.integers(-5, 20), st.integers(1, 10), st.integers(1, 8)), max_size=12),
    st.integers(1, 9),
)
def test_what_is_free_from_a_start_on_is_what_is_free_in_each_slot(
    spans: list[tuple[int, int, int]], length: int
) -> None:
    there = [taken(start, start + size, amount) for start, size, amount in spans]
    capacity: dict[tuple[int | str, str], int] = {(1, "vcpu"): 9, (2, "vcpu"): 5}
    changes = free_from(capacity, there, at(length), NOW)
    assert changes == sorted(changes, key=lambda change: change[0])
    assert {key for start, key, _ in changes if start == NOW} == set(capacity)
    # At every half hour: between two changes, too.
    for half in range(2 * 32):
        start = NOW + at(half) / 2
        left = {key: amount for begin, key, amount in changes if begin <= start}
        assert left == free(capacity, there, Slot(start, start + at(length)))
    # And no later than it must: what shrinks just after an instant is not less at that instant.
    for moment in {begin + change * TICK for begin, _, _ in changes for change in (-1, 0, 1)}:
        if moment >= NOW:
            left = {key: amount for begin, key, amount in changes if begin <= moment}
            assert left == free(capacity, there, Slot(moment, moment + at(length)))


def test_for_the_shortest_length_it_is_the_level_at_each_instant() -> None:
    both = [taken(0, 1, 4), taken(1, 2, 3), taken(1, 3, 1)]
    assert free_from({(1, "vcpu"): 4}, both, TICK, NOW)[-2:] == [
        (NOW + at(2), (1, "vcpu"), 3),
        (NOW + at(3), (1, "vcpu"), 4),
    ]


@given(SPANS, st.lists(SPANS, max_size=4), st.integers(1, 2))
def test_what_is_beyond_covers_what_is_wanted_and_no_more(
    want: tuple[int, int, int], mine: list[tuple[int, int, int]], holder: int
) -> None:
    def at_hour(of: list[Taken], hour: int) -> int:
        now = NOW + at(hour)
        return sum(one.amount for one in of if one.holder == 1 and one.start <= now < one.end)

    wanted = taken(want[0], want[0] + want[1], want[2])
    held = [taken(start, start + length, amount, holder) for start, length, amount in mine]
    more = beyond([wanted], held)
    for hour in range(31):
        most = max(at_hour([wanted], hour), at_hour(held, hour))
        assert at_hour(held, hour) + at_hour(more, hour) == most
