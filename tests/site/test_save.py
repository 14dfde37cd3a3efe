# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole cluster of tiny guests saved at the end of its slot, and booked again on another host, with its disks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests
from sqlalchemy import update

import lab as labs
from app.booking import decide
from app.booking.save import keep, restore
from app.db.site import Host
from app.settings import load
from lab.plan import HOST_DIR
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life, of_clusters
from workers.node.ops.domain import PATIENCE_S

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

NewLife = Callable[..., Life]
GUEST_HOSTS = ("gw1", "c1", "c2")


def test_a_saved_cluster_goes_on_in_another_slot_on_another_host_with_its_disks(new_life: NewLife) -> None:
    life = new_life(booking={"gap_s": 0})
    settings, alice = load(str(life.site.config)), life.account("alice")
    booked = life.book()
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        before, row = life.snapshot(), life.reservation(booked)
        keep(
            life.database, settings, alice, booked, row.version, row.end_at + timedelta(days=1),
            now=datetime.now(UTC),
        )  # fmt: skip
        life.let_the_slot_end(booked)
        # Told to shut down they do: not one of them, let alone one after the other, is waited for in vain.
        life.wait(booked, "saved", PATIENCE_S)
        kept, clean = life.snapshot(), of_clusters(life.before)
        assert all(kept[host] == clean[host] for host in GUEST_HOSTS), life.tell(booked)
        assert set(kept["st1"]["files"]["volumes"]) == set(before["st1"]["files"]["volumes"])
        assert kept["st1"]["targets"] == clean["st1"]["targets"]
        write_on_disk(life, booked, "kept")
        (there,) = [host for host in ("c1", "c2") if before[host]["domains"]]
        with life.database.writing() as session:
            session.execute(update(Host).where(Host.name == there).values(state="drained"))
        now = datetime.now(UTC)
        wish = {"name": f"again{booked}", "start": None, "end": now + timedelta(hours=1)}
        seen = life.reservation(booked).version
        again = restore(life.database, settings, alice, booked, seen, wish, now=now)
        decide.approve(life.database, settings, life.account("carol"), again, 1, now=now)
        life.wait(again, "ready", READY_WITHIN_S)
        after = life.snapshot()
        assert list(after["gw1"]["domains"]) == [f"lh{booked}-frontend"]
        assert (after[there]["domains"], set(after["st1"]["files"]["volumes"])) == (
            {},
            set(before["st1"]["files"]["volumes"]),
        )
        address = life.reservation(again).public_address
        assert requests.get(f"http://{address}/", timeout=20).text.strip() == row.name
        life.cancel(again)
        life.wait(again, "ended", PATIENCE_S)
        assert read_from_disk(life, booked, len("kept")) == "kept"
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)
    life.assert_nothing_is_left(again)


def write_on_disk(life: Life, booked: int, text: str) -> None:
    """Write it at the begin of the cluster's volume for /home, which no tiny guest uses."""
    on_storage(life, f"printf %s {text} | dd of={home(booked)} conv=notrunc status=none")


def read_from_disk(life: Life, booked: int, length: int) -> str:
    """So many characters of what was written there."""
    return on_storage(life, f"head -c {length} {home(booked)}")


def home(booked: int) -> str:
    """Where the volume is on its storage host."""
    return f"{HOST_DIR}/volumes/lh{booked}-frontend-home.raw"


def on_storage(life: Life, script: str) -> str:
    """What the shell on the storage host says."""
    host = next(host for host in life.lab.hosts if host.name == "st1")
    return labs.on(life.lab, host, ["sh", "-c", script]).stdout
