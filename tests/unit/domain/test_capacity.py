# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Peaks over time, with ends exclusive, against counting every instant."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.capacity import Taken, free, peaks
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
