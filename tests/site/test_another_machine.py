# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A host is taken out and another machine put in under its name: by one command, with nothing done to the database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lab as labs
from app.db import trouble
from lab.plan import HOST_DIR
from lab.site import LEASEHOLD
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life, of_clusters
from workers.engine.ssh import fingerprint

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

NewLife = Callable[..., Life]
# A host on which something stands is looked at as soon as nothing was heard of it for two seconds.
LOOK = {"look_s": 2}


@contextmanager
def replaced(life: Life, host: str) -> Iterator[str]:
    """Another machine is in the host's place, with an empty disk; its key. The first one is back afterwards."""
    key = labs.replace(life.lab.name, host)
    try:
        yield key
    finally:
        labs.replace(life.lab.name, host)


def add(life: Life, host: str, *more: str) -> subprocess.CompletedProcess[str]:
    """`leasehold host add` for a host that the site has, as an operator types it."""
    there = life.lab.host(host)
    roles = [word for role in there.roles for word in ("--role", role)]
    words = ("host", "add", host, life.lab.address(there), *roles, "--identity", str(life.lab.operator_key))
    return subprocess.run(
        [str(LEASEHOLD), *words, *more],
        env=life.site.environment,
        capture_output=True,
        text=True,
        timeout=400,
    )


def degraded(life: Life, booked: int) -> str | None:
    """What is said to be missing of it."""
    with life.database.reading() as session:
        return trouble.degraded(session, [booked]).get(booked)


def pin_its_new_key(life: Life, host: str, key: str) -> None:
    """Put the other machine in, once it was seen that nothing does so by itself."""
    old = life.host(host).host_key
    for said in ("--yes",), ("--yes", "--host-key", old):
        refused = add(life, host, *said)
        assert refused.returncode == 1, refused.stderr
        assert fingerprint(old) in refused.stderr
        assert "HAS CHANGED" in refused.stderr
    assert life.host(host).host_key == old
    there = life.lab.host(host)
    authorized = labs.on(life.lab, there, ["cat", "/root/.ssh/authorized_keys"]).stdout
    assert "leasehold-manager" not in authorized
    done = add(life, host, "--host-key", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert life.host(host).host_key == key
    (event,) = [event for event in life.events() if event.kind == "host_replaced"]
    assert fingerprint(old) in event.message
    assert fingerprint(key) in event.message


def test_on_another_compute_host_the_guests_are_made_again_with_their_disks(new_life: NewLife) -> None:
    life = new_life(passes=LOOK)
    booked = life.book()
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        (name,) = [host for host in ("c1", "c2") if life.snapshot()[host]["domains"]]
        with replaced(life, name) as key:
            life.until(lambda: degraded(life, booked) is not None, "not told to be degraded", booked)
            assert degraded(life, booked) == f"{name} does not answer: node1."
            assert "HOST KEY" in str(life.host(name).last_error)
            pin_its_new_key(life, name, key)
            life.until(
                lambda: all(row.have == "present" for row in life.rows(booked)),
                "not made again",
                booked,
                READY_WITHIN_S,
            )
            assert degraded(life, booked) is None
            assert life.snapshot()[name]["domains"] == {f"lh{booked}-node1": "running"}
            assert life.starts()[f"lh{booked}-frontend"] == 1, "the others went on"
            assert life.reservation(booked).state == "ready"
            life.cancel(booked)
            life.wait(booked, "ended", ENDED_WITHIN_S)
            assert life.snapshot() == of_clusters(life.before)
    assert life.held(booked) == (0, 0)


def test_volumes_that_another_storage_host_has_not_are_told_and_not_made_empty(new_life: NewLife) -> None:
    life = new_life(passes=LOOK)
    booked = life.book()
    guests = {f"lh{booked}-frontend", f"lh{booked}-node1"}
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        with replaced(life, "st1") as key:
            life.until(lambda: degraded(life, booked) is not None, "not told to be degraded", booked)
            pin_its_new_key(life, "st1", key)
            lost = "st1 has lost the disks of frontend, the disks of node1."
            life.until(lambda: degraded(life, booked) == lost, "not told to be lost", booked)
            # Cloned, the golden images are there again; the volumes stay away however often they are asked for.
            life.until(
                lambda: len([event for event in life.events(booked) if event.kind == "lost"]) == 3,
                "not each volume is told",
                booked,
            )
            seen = life.snapshot()
            assert not seen["st1"]["files"]["volumes"]
            assert not seen["st1"]["targets"]
            running = {
                guest for host in seen.values() if isinstance(host, dict) for guest in host.get("domains", ())
            }
            assert running == guests, "whoever has something in memory may look at it yet"
            listed = labs.on(life.lab, life.lab.host("st1"), ["ls", "-A", str(HOST_DIR)]).stdout
            assert "helper.pyz" in listed
            life.cancel(booked)
            life.wait(booked, "ended", ENDED_WITHIN_S)
    assert life.held(booked) == (0, 0)
