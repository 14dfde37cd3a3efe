# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole cluster of tiny guests saved to the disks of its hosts, and resumed: the memory is the same, the time not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.db import ledger
from app.db.site import Host
from app.domain.errors import NoRoom
from lab.run import run
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life, event_kinds

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(900)]

NewLife = Callable[..., Life]
# So long its guests are asleep at the least, in seconds: more than their clocks may be behind.
ASLEEP_S = 15


def test_a_suspended_cluster_lends_its_room_and_goes_on_where_it_was(new_life: NewLife) -> None:
    life = new_life(booking={"gap_s": 0})
    booked = life.book(end=datetime.now(UTC) + timedelta(hours=2))  # longer than the other one
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        let_nothing_else_fit(life, booked)
        address = str(life.reservation(booked).public_address)
        before = life.snapshot()
        with pytest.raises(NoRoom):
            life.book(owner="carol")
        life.suspend(booked)
        begun = time.monotonic()
        seen, key = life.snapshot(), f"lh{booked}"
        assert [name for host in ("gw1", "c1", "c2") for name in seen[host]["saved"]] == [
            f"{key}-frontend.save",
            f"{key}-node1.save",
        ]
        assert {state for host in ("gw1", "c1", "c2") for state in seen[host]["domains"].values()} == {"off"}
        assert seen["st1"] == before["st1"], "the disks stay, and so do their exports"
        assert all(seen[host]["secrets"] == [] for host in ("gw1", "c1", "c2"))
        other = life.book(owner="carol")
        life.wait(other, "ready", READY_WITHIN_S)
        with pytest.raises(NoRoom) as refused:
            life.resume(booked)
        assert {one.what for one in refused.value.in_the_way} == {"another project"}
        assert refused.value.reasons[-1].startswith("As things stand now there is room for it from ")
        life.cancel(other, "carol")
        life.wait(other, "ended", ENDED_WITHIN_S)
        time.sleep(max(0.0, ASLEEP_S - (time.monotonic() - begun)))
        life.resume(booked)
        after = life.snapshot()
        assert after["gw1"]["saved"] == after["c1"]["saved"] == after["c2"]["saved"] == []
        assert {host: after[host]["domains"] for host in ("gw1", "c1", "c2")} == {
            host: before[host]["domains"] for host in ("gw1", "c1", "c2")
        }
        run(["ping", "-c", "1", "-W", "5", address])
        life.until(lambda: all(len(told(life, name)) == 2 for name in names(booked)), "no clock set", booked)
        for name in names(booked):
            (boot, booted_at), (same_boot, woken_at) = told(life, name)
            assert boot == same_boot, f"{name} was not started anew"
            assert woken_at - booted_at >= ASLEEP_S
            assert abs(woken_at - time.time()) < 60, f"{name} has the time of its host"
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)
    kinds = event_kinds(life, booked)
    assert kinds[3:] == ["ready", "suspend", "suspended", "resume", "ready", "cancel", "ending", "ended"]


def test_a_cluster_that_ends_while_it_is_saved_or_suspended_leaves_nothing(new_life: NewLife) -> None:
    life = new_life()
    with life.passes():
        booked = life.book()
        life.wait(booked, "ready", READY_WITHIN_S)
        life.suspend(booked)
        life.let_the_slot_end(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
        life.assert_nothing_is_left(booked)


def let_nothing_else_fit(life: Life, booked: int) -> None:
    """Let the hosts have as much memory as the cluster has of it, and no more."""
    with life.database.writing() as session:
        held = [row for row in ledger.of_reservation(session, booked) if row.resource == "memory_mib"]
        session.execute(update(Host).values(memory_mib=0))
        for row in held:
            session.execute(update(Host).where(Host.id == row.host_id).values(memory_mib=row.amount))


def names(booked: int) -> tuple[str, str]:
    """Its guests."""
    return f"lh{booked}-frontend", f"lh{booked}-node1"


def told(life: Life, guest: str) -> list[tuple[str, int]]:
    """Each time the guest told which boot it is in: the boot, and what time it was to it."""
    (serial,) = (life.lab.state / "hosts").glob(f"*/leasehold/domains/{guest}.serial")
    said = re.findall(r"boot ([0-9a-f-]{36}) at ([0-9]+)", serial.read_text(errors="replace"))
    return [(boot, int(at)) for boot, at in said]
