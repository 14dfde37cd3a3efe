# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Ceilings: what passes one is told at its field, none means none and zero means nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidRequest
from app.domain.quota import HOUR, Holding, Line, Quota, check, first_start, lines, nodes_left
from app.domain.slot import Slot
from tests.factories import NOW


def holding(nodes: int, start: int, hours: int) -> Holding:
    begin = NOW + start * HOUR
    return Holding(nodes, Slot(begin, begin + hours * HOUR))


def wrong(quota: Quota, held: list[Holding], wanted: Holding, **over: Any) -> dict[str, str]:
    try:
        check(quota, held, wanted, NOW, **over)
    except InvalidRequest as why:
        return why.fields
    return {}


def test_without_ceilings_everything_goes():
    assert wrong(Quota(), [holding(10**6, 0, 10**4)] * 5, holding(10**6, 0, 10**4)) == {}


@pytest.mark.parametrize(
    ("quota", "field", "words"),
    [
        (Quota(nodes=0), "node_count", "may have 0 compute nodes at once"),
        (Quota(node_hours=0), "node_count", "may have 0 node-hours"),
        (Quota(length_hours=0), "end", "at most 0 hours"),
        (Quota(reservations=0), "start", "may have 0 reservations"),
    ],
)
def test_zero_means_nothing_at_all(quota: Quota, field: str, words: str):
    told = wrong(quota, [], holding(1, 0, 1))
    assert list(told) == [field]
    assert words in told[field]


@pytest.mark.parametrize(
    ("quota", "field"),
    [
        (Quota(nodes=4), "node_count"),
        (Quota(node_hours=12), "node_count"),
        (Quota(length_hours=3), "end"),
        (Quota(reservations=2), "start"),
        (Quota(notice=HOUR), "start"),
    ],
)
def test_a_ceiling_may_be_reached_and_not_passed(quota: Quota, field: str):
    held = [holding(2, 0, 3)]
    assert wrong(quota, held, holding(2, 1, 3)) == {}
    passed = {
        "nodes": (held, holding(3, 1, 1)),
        "node_hours": (held, holding(7, 3, 1)),
        "length_hours": (held, holding(1, 1, 4)),
        "reservations": (held * 2, holding(1, 9, 1)),
        "notice": (held, Holding(1, Slot(NOW + HOUR - timedelta(seconds=1), NOW + 2 * HOUR))),
    }
    name = next(name for name in passed if getattr(quota, name))
    assert list(wrong(quota, *passed[name])) == [field]


def test_what_ends_when_another_begins_is_not_held_beside_it():
    assert wrong(Quota(nodes=2), [holding(2, 0, 1), holding(2, 2, 1)], holding(2, 1, 1)) == {}


def test_only_hours_to_come_count():
    running = Holding(4, Slot(NOW - 9 * HOUR, NOW + HOUR))
    assert wrong(Quota(node_hours=8), [running], holding(4, 1, 1)) == {}
    assert (
        "It holds 4.0 and this is 8.0"
        in wrong(Quota(node_hours=8), [running], holding(4, 1, 2))["node_count"]
    )


def test_notice_is_asked_of_what_is_new_alone():
    running = Holding(1, Slot(NOW - HOUR, NOW + HOUR))
    quota = Quota(notice=HOUR)
    assert "Ask at least 1 hours ahead" in wrong(quota, [], running)["start"]
    assert wrong(quota, [], running, is_new=False) == {}


def test_everything_wrong_is_told_at_once():
    quota = Quota(nodes=0, length_hours=0, notice=HOUR)
    assert set(wrong(quota, [], holding(1, 0, 1))) == {"start", "end", "node_count"}


def test_lines_tell_what_is_held_and_what_would_be():
    found = lines(Quota(nodes=4), [holding(2, 0, 3), holding(1, 9, 1)], [holding(3, 1, 2)], NOW)
    assert found == [
        Line("Compute nodes at once", 2, 5, 4),
        Line("Node-hours ahead", 7.0, 13.0, None),
        Line("Reservations not over", 2, 3, None),
    ]
    assert [line.is_over for line in found] == [True, False, False]


def test_lines_of_several_tell_the_nodes_where_they_are_the_most():
    wanted = [holding(3, 9, 1), holding(3, 1, 2), holding(1, 12, 1)]
    found = lines(Quota(), [holding(2, 0, 3), holding(1, 9, 1)], wanted, NOW)
    assert [(line.held, line.projected) for line in found] == [(2, 5), (7.0, 17.0), (2, 5)]
    assert [line.projected for line in lines(Quota(), [], [], NOW)] == [0, 0, 0]


def test_too_many_nodes_are_told_where_they_were_typed():
    assert list(wrong(Quota(nodes=0, node_hours=0), [], holding(1, 0, 1), count_field="groups")) == ["groups"]


@given(
    quota=st.builds(Quota, nodes=st.none() | st.integers(0, 40), node_hours=st.none() | st.integers(0, 400)),
    held=st.lists(st.builds(holding, st.integers(1, 9), st.integers(-5, 20), st.integers(1, 20)), max_size=4),
    start=st.integers(0, 20),
    seconds=st.integers(1, 90_000),
)
def test_as_many_nodes_are_left_as_pass_the_check_and_no_more(
    quota: Quota, held: list[Holding], start: int, seconds: int
):
    begin = NOW + start * HOUR
    slot = Slot(begin, begin + timedelta(seconds=seconds))
    left = nodes_left(quota, held, slot, NOW)
    if left is None:
        assert wrong(quota, held, Holding(10**6, slot)) == {}
        return
    assert wrong(quota, held, Holding(left + 1, slot)) != {}
    if left:
        # But for the rounding of hours.
        found = lines(quota, held, [Holding(left, slot)], NOW)[:2]
        assert all(line.ceiling is None or line.projected <= line.ceiling + 1e-6 for line in found)


@given(
    ceiling=st.none() | st.integers(0, 12),
    held=st.lists(st.builds(holding, st.integers(1, 9), st.integers(-3, 12), st.integers(1, 6)), max_size=5),
    nodes=st.integers(1, 12),
    start=st.integers(0, 12),
    hours=st.integers(1, 6),
)
def test_the_first_start_is_the_first_hour_that_passes_the_check(
    ceiling: int | None, held: list[Holding], nodes: int, start: int, hours: int
):
    quota = Quota(nodes=ceiling)
    by_trying = next(
        (hour for hour in range(start, 20) if not wrong(quota, held, holding(nodes, hour, hours))), None
    )
    found = first_start(quota, held, holding(nodes, start, hours))
    assert found == (None if by_trying is None else NOW + by_trying * HOUR)
