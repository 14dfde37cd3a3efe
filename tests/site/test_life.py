# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole lives of clusters of tiny guests on real hosts: from the booking to ready and back to nothing."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

import lab as labs
from app.db import site
from lab.plan import HOST_DIR, IMAGE_CACHE
from lab.run import run
from tests.site.life import (
    ENDED_WITHIN_S,
    READY_WITHIN_S,
    Life,
    assert_each_step_was_done_once,
    event_kinds,
)

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(600)]

NewLife = Callable[..., Life]


def test_cluster_is_built_used_and_gone_when_its_slot_ends(
    new_life: NewLife, tiny_images: dict[str, object]
) -> None:
    for name in tiny_images:
        (IMAGE_CACHE / f"{name}.raw").unlink()
    life = new_life()
    booked = life.book(computes=2)
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        assert_it_stands(life, booked)
        life.let_the_slot_end(booked)
        ended = False

        def numbers_are_held() -> None:
            """Until everything is gone; looked at before the state, which is written in the same transaction."""
            nonlocal ended
            held, ended = life.held(booked), life.reservation(booked).state == "ended"
            assert ended or held > (1, 0), life.tell(booked)

        life.wait(booked, "ended", ENDED_WITHIN_S, also=numbers_are_held)
    life.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(life, booked)
    assert event_kinds(life, booked) == ["requested", "approved", "building", "ready", "ending", "ended"]
    assert all(row.removal_at and row.absent_at for row in life.rows(booked) if row.reservation_id)


def test_nodes_come_and_go_while_the_cluster_runs(new_life: NewLife) -> None:
    life = new_life()
    booked = life.book(computes=1)
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        life.resize(booked, 3)
        seen = life.snapshot()
        running = {name: state for host in ("c1", "c2") for name, state in seen[host]["domains"].items()}
        assert running == {f"lh{booked}-node{number}": "running" for number in (1, 2, 3)}
        (report,) = [row for row in life.rows(booked) if row.op == "report"]
        pinged = [check["detail"] for check in report.seen["report"]["checks"] if check["ok"]]
        assert pinged == ["10.20.1.1", "10.20.1.2", "10.20.1.3"], "the frontend learned of them"
        life.resize(booked, 1)
        seen = life.snapshot()
        assert seen["c1"]["domains"] | seen["c2"]["domains"] == {f"lh{booked}-node1": "running"}
        assert len(seen["st1"]["targets"]) == 3
        kept = [name for name in json.dumps(seen).split('"') if "node2" in name or "node3" in name]
        assert kept == [], "nothing is left of the nodes that went"
        assert set(life.starts().values()) == {1}, "nobody else was started anew"
        assert life.reservation(booked).state == "ready"
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_nodes_write_one_disk_and_read_what_the_others_wrote(new_life: NewLife) -> None:
    """R83: the frontend and three nodes on two hosts, each a block of its own; made before them, gone after them."""
    life = new_life()
    booked = life.book(computes=3, shared_disk_gib=1)
    told = {f"shared disk: node {number} was here" for number in range(4)}
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        seen = life.snapshot()
        (target,) = [one for one in seen["st1"]["targets"] if one["iqn"].endswith(f":lh{booked}-shared")]
        assert len(target["acl"]) == 3, "each of the hosts, once"
        for name in ("frontend", "node1", "node2", "node3"):
            guest = f"lh{booked}-{name}"
            (host,) = [one for one in life.lab.hosts if guest in seen[one.name].get("domains", {})]
            written = ["cat", str(HOST_DIR / "domains" / f"{guest}.serial")]
            life.until(
                lambda host=host, written=written: (  # type: ignore[misc]
                    told <= {line.strip() for line in labs.on(life.lab, host, written).stdout.splitlines()}
                ),
                f"{name} did not read what the others wrote",
                booked,
            )
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)


def test_a_node_without_virtio_boots_from_a_sata_disk_and_reports(new_life: NewLife) -> None:
    """Its kernel knows no virtio device: disk, network and report are what a system of any kind has drivers for."""
    life = new_life()
    booked = life.book(computes=1, appliance="emulated", memory_mib=512)
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        (node,) = [row for row in life.rows(booked) if row.name == f"lh{booked}-node1" and row.op == "domain"]
        assert node.seen["report"] == {"event": "ready", "node": "node1"}
        (report,) = [row for row in life.rows(booked) if row.op == "report"]
        pinged = [check["detail"] for check in report.seen["report"]["checks"] if check["ok"]]
        assert pinged == ["10.20.1.1"], "the frontend, which has virtio devices, reached it"
        (host,) = [
            host for host in life.lab.hosts if node.name in life.snapshot()[host.name].get("domains", {})
        ]
        runs_as = labs.on(life.lab, host, ["virsh", "dumpxml", node.name]).stdout
        assert "virtio" not in runs_as
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)


def assert_it_stands(life: Life, booked: int) -> None:
    """Ready was earned, the cluster is on the hosts, and its frontend answers from outside."""
    rows = life.rows(booked)
    (report,) = [row for row in rows if row.op == "report"]
    pinged = [check["detail"] for check in report.seen["report"]["checks"] if check["ok"]]
    assert pinged == ["10.20.1.1", "10.20.1.2"], "the frontend reached its nodes over the private network"
    assert all(row.started_at and row.present_at and row.started_at <= row.present_at for row in rows)
    with life.database.reading() as session:
        held = site.assignments(session, booked)
    assert set(held) == {("network_id", "private"), ("public_address", "frontend")}
    address = str(IPv4Address(held["public_address", "frontend"]))
    assert life.reservation(booked).public_address == address
    run(["ping", "-c", "1", "-W", "5", address])
    seen = life.snapshot()
    key = f"lh{booked}"
    assert seen["gw1"]["domains"] == {f"{key}-frontend": "running"}
    assert seen["c1"]["domains"] | seen["c2"]["domains"] == dict.fromkeys(
        (f"{key}-node1", f"{key}-node2"), "running"
    )
    assert len(seen["st1"]["targets"]) == 4


# A seed for each moment; how long after the approval somebody thinks better of it.
@pytest.mark.parametrize(
    ("database_kind", "seeds"), [("sqlite", (1, 2, 3)), ("postgresql", (4, 5))], ids=["sqlite", "postgresql"]
)
def test_cancel_at_any_moment_leaves_nothing(new_life: NewLife, seeds: tuple[int, ...]) -> None:
    life, states = new_life(), []
    with life.passes():
        for seed in seeds:
            after_s = random.Random(seed).uniform(0.2, 12)
            booked = life.book()
            time.sleep(after_s)
            states.append(life.reservation(booked).state)
            print(f"seed {seed}: cancelled {after_s:.1f} s after approval, {states[-1]}")
            life.cancel(booked)
            life.until(
                lambda b=booked: life.reservation(b).state in ("ended", "cancelled"),  # type: ignore[misc]
                f"seed {seed}: not over",
                booked,
                ENDED_WITHIN_S,
            )
            life.assert_nothing_is_left(booked)
    assert "building" in states, "none of the moments was half way: choose other seeds"
