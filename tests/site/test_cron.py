# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Debian's own cron daemon starts the passes: a cluster becomes ready and ends with nobody calling one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.db.pass_run import PASSES
from lab import cron
from lab.site import leasehold
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(600)]

# cron looks into its folder once a minute.
MINUTE = 65


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_cron_brings_a_cluster_to_ready_and_to_its_end(new_life: Callable[..., Life], tmp_path: Path) -> None:
    life = new_life()
    booked = life.book()
    folder = tmp_path / "cron"
    file = folder / "cron.d" / "leasehold"
    cron.start(folder)
    try:
        leasehold(life.site, "cron", "install", "--file", str(file))
        shown = leasehold(life.site, "cron", "show", "--file", str(file))
        assert len(shown.splitlines()) == len(PASSES)
        life.wait(booked, "ready", MINUTE + READY_WITHIN_S)
        life.cancel(booked)
        life.wait(booked, "ended", MINUTE + ENDED_WITHIN_S)
        leasehold(life.site, "cron", "remove", "--file", str(file))
        assert not file.exists()
    finally:
        cron.stop(folder)
    life.assert_nothing_is_left(booked)
