# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A computation farm of 100 nodes for a month (R6), through the whole control plane with guests that are only files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.db.site import Host
from tests.site.life import Life, assert_each_step_was_done_once

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(300)]

NODES = 100
WITHIN_S = 120


def test_farm_of_a_hundred_nodes_for_a_month(new_life: Callable[..., Life]) -> None:
    life = new_life(**{"": {"hypervisor": "null"}})
    with life.database.writing() as session:
        session.execute(update(Host).values(vcpus=200, memory_mib=1 << 20, disk_mib=1 << 20))
    booked = life.book(computes=NODES, end=datetime.now(UTC) + timedelta(days=30))
    with life.passes():
        life.wait(booked, "ready", WITHIN_S)
        files = [
            path.name
            for path in (life.lab.state / "hosts").glob("*/leasehold/domains/*.null")
            if path.name.startswith(f"lh{booked}-")
        ]
        assert len(files) == NODES + 1
        life.let_the_slot_end(booked)
        life.wait(booked, "ended", WITHIN_S)
    life.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(life, booked)
