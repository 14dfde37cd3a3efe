# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Passes and helpers are killed with -9 wherever they are, through a whole build and end: the next finish both."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import lab as labs
from app.db.pass_run import PASSES
from tests.site.life import (
    ENDED_WITHIN_S,
    READY_WITHIN_S,
    Life,
    assert_each_step_was_done_once,
    event_kinds,
    stop,
)

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(900)]

NewLife = Callable[..., Life]
# A dead pass's leases run out quickly.
SHORT = {"lease_s": 4, "deadline_s": 3.5}
WHOLE_LIFE = ["requested", "approved", "building", "ready", "ending", "ended"]


def gates(name: str) -> list[str]:
    """Every gate that the pass goes by, in order; `test_two_sets_of_passes...` holds this list to the truth."""
    places = ["advance"] if name == "schedule" else ["claim", "call", "settle"]
    return [f"{name}.{place}.{when}" for place in places for when in ("before", "after")]


@dataclass
class Kills:
    """The five passes, each killed at one gate after another; then left in peace."""

    life: Life
    todo: dict[str, list[str]] = field(default_factory=lambda: {name: gates(name) for name in PASSES})
    done: list[str] = field(default_factory=list)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def tend(self) -> None:
        """Start what is not running, with the next gate to die at."""
        for name in PASSES:
            process = self.running.get(name)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                assert process.returncode == -signal.SIGKILL, f"{name} ended with {process.returncode}"
                self.done.append(self.todo[name].pop(0))
            order = {"LEASEHOLD_GATE": f"kill:{self.todo[name][0]}:1"} if self.todo[name] else {}
            self.running[name] = self.life.start(name, **order)


def killed_at_every_gate_until(life: Life, booked: int, state: str, within_s: float) -> None:
    """Run the passes until `state`, killing each at each of its gates."""
    kills = Kills(life)
    try:
        life.wait(booked, state, within_s, also=kills.tend)
        kills.tend()
    finally:
        stop(list(kills.running.values()))
    assert sorted(kills.done) == sorted(gate for name in PASSES for gate in gates(name))


def test_killed_before_and_after_every_remote_step(new_life: NewLife) -> None:
    life = new_life(passes=SHORT)
    booked = life.book()
    killed_at_every_gate_until(life, booked, "ready", 1.5 * READY_WITHIN_S)
    domains = life.snapshot()["gw1"]["domains"]
    assert domains == {f"lh{booked}-frontend": "running"}
    life.cancel(booked)
    killed_at_every_gate_until(life, booked, "ended", 1.5 * ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(life, booked)
    assert [kind for kind in event_kinds(life, booked) if kind != "cancel"] == WHOLE_LIFE


@dataclass
class Chaos:
    """A pass is killed every now and then, and now and then all helpers on a host, until `until`."""

    life: Life
    dice: random.Random
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    next_at: float = 0.0
    until: float = 0.0

    def tend(self) -> None:
        """Start what is not running; kill something if it is time."""
        for name in PASSES:
            if name not in self.running or self.running[name].poll() is not None:
                self.running[name] = self.life.start(name)
        now = time.monotonic()
        if self.next_at < now < self.until:
            self.next_at = now + self.dice.uniform(0.2, 1.5)
            if self.dice.random() < 0.6:
                self.running[self.dice.choice(PASSES)].kill()
            else:
                argv = ["pkill", "-9", "-f", "[h]elper[.]pyz"]
                labs.on(self.life.lab, self.dice.choice(self.life.lab.hosts), argv, check=False)


@pytest.mark.parametrize(("database_kind", "seed"), [("postgresql", 12)])
def test_killed_at_random_moments(new_life: NewLife, seed: int) -> None:
    life = new_life(passes=SHORT)
    booked = life.book()
    chaos = Chaos(life, random.Random(seed))
    try:
        chaos.until = time.monotonic() + 40
        life.wait(booked, "ready", READY_WITHIN_S, also=chaos.tend)
        life.cancel(booked)
        chaos.until = time.monotonic() + 20
        life.wait(booked, "ended", ENDED_WITHIN_S, also=chaos.tend)
    finally:
        stop(list(chaos.running.values()))
    life.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(life, booked)
    assert [kind for kind in event_kinds(life, booked) if kind != "cancel"] == WHOLE_LIFE


def test_two_sets_of_passes_do_each_step_once(new_life: NewLife, tmp_path: Path) -> None:
    life = new_life()
    booked = life.book()
    log = tmp_path / "gates"
    with life.passes(sets=2, LEASEHOLD_GATE=f"log:{log}"):
        life.wait(booked, "ready", READY_WITHIN_S)
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(life, booked)
    assert [kind for kind in event_kinds(life, booked) if kind != "cancel"] == WHOLE_LIFE
    assert set(log.read_text().split()) == {gate for name in PASSES for gate in gates(name)}
