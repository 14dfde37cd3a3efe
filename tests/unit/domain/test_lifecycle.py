# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The ways a reservation goes, at each instant that matters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.lifecycle import FINAL, STATES, TRANSITIONS, Standing, next_state
from tests.factories import NOW

START, END = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
LATER = END + timedelta(days=1)
MOMENT = timedelta(microseconds=1)


def standing(state: str, **over: Any) -> Standing:
    values: dict[str, Any] = {
        "start_at": START,
        "end_at": END,
        "hold_until": START,
        "is_cancelled": False,
        "build_at": START - timedelta(minutes=10),
    }
    return Standing(state, **(values | over))


@pytest.mark.parametrize(
    ("state", "over", "haves", "now", "then"),
    [
        ("requested", {}, [], NOW, "requested"),
        ("requested", {}, [], START - MOMENT, "requested"),
        ("requested", {}, [], START, "expired"),
        ("requested", {"is_cancelled": True}, [], NOW, "cancelled"),
        ("approved", {}, [], NOW, "approved"),
        ("approved", {}, [], START - timedelta(minutes=10), "building"),
        ("approved", {"is_cancelled": True}, [], START, "cancelled"),
        ("approved", {}, [], END, "expired"),
        ("building", {}, ["present", "pending"], START, "building"),
        ("building", {}, ["present", "present"], START, "ready"),
        ("building", {}, ["present", "absent"], END, "ending"),
        ("building", {"is_cancelled": True}, ["unknown"], START, "ending"),
        ("ready", {}, ["present"], END - MOMENT, "ready"),
        ("ready", {}, ["present"], END, "ending"),
        ("ready", {}, ["unknown"], START, "ready"),
        ("ready", {"is_suspension_wanted": True, "is_told": False}, ["present"], START, "ready"),
        ("ready", {"is_suspension_wanted": True}, ["present", "pending"], START, "ready"),
        ("ready", {"is_suspension_wanted": True}, ["present"], START, "suspended"),
        ("ready", {"is_suspension_wanted": True}, ["present"], END, "ending"),
        ("building", {"is_suspension_wanted": True}, ["present"], START, "ready"),
        ("suspended", {"is_suspension_wanted": True}, ["present"], START, "suspended"),
        ("suspended", {"is_suspension_wanted": True}, ["unknown"], START, "suspended"),
        ("suspended", {"is_told": False}, ["present"], START, "suspended"),
        ("suspended", {}, ["present", "unknown"], START, "suspended"),
        ("suspended", {}, ["present"], START, "ready"),
        ("suspended", {"is_suspension_wanted": True}, ["present"], END, "ending"),
        ("suspended", {"is_cancelled": True}, ["unknown"], START, "ending"),
        ("ending", {}, ["absent", "unknown"], END, "ending"),
        ("ending", {}, ["absent", "absent"], END, "ended"),
        ("ending", {}, [], END, "ended"),
        ("ending", {"has_disks": True, "keep_until": LATER}, ["unknown"], END, "ending"),
        ("ending", {"has_disks": True, "keep_until": LATER}, ["absent"], END, "saved"),
        ("ready", {"keep_until": LATER}, ["present"], END, "ending"),
        ("saved", {"keep_until": LATER}, ["present"], LATER - MOMENT, "saved"),
        ("saved", {"keep_until": LATER, "is_cancelled": True}, ["present"], END, "saved"),
        ("saved", {"keep_until": LATER}, ["present"], LATER, "ending"),
    ],
)
def test_next_state(state: str, over: dict[str, Any], haves: list[str], now: Any, then: str) -> None:
    assert next_state(standing(state, **over), haves, now) == then


@given(
    st.sampled_from(STATES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(["absent", "unknown", "pending", "present"])),
    st.integers(-300, 300),
)
def test_every_step_is_in_the_table(
    state: str, cancelled: bool, suspended: bool, told: bool, haves: list[str], minutes: int
) -> None:
    one = standing(state, is_cancelled=cancelled, is_suspension_wanted=suspended, is_told=told)
    then = next_state(one, haves, START + timedelta(minutes=minutes))
    assert then == state or then in TRANSITIONS[state]


@given(st.sampled_from(STATES), st.booleans())
def test_once_over_and_gone_every_reservation_comes_to_its_end(state: str, cancelled: bool) -> None:
    for _ in STATES:
        state = next_state(standing(state, is_cancelled=cancelled), ["absent"], END)
    assert state in FINAL
