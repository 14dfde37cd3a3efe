# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole reservation by the ordinary passes: its network, its disks and their way, over a reboot of each host.

Its guests are files (``hypervisor = "null"``), whose disks the hosts attach all the same; what a guest would do with
its disk is done on the host.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.db.base import Database
from app.db.resource import Resource
from app.db.software import read_rolls
from app.domain.roll import KINDS, resolve
from app.settings import Settings, load
from lab.plan import IMAGE_CACHE, Lab
from lab.site import Site
from tests.machines.machine import Machine, left_on
from tests.site.life import ROLLS, Life, event_kinds
from workers.plan.image import plan_image

pytestmark = [pytest.mark.machine, pytest.mark.slow, pytest.mark.timeout(3600)]

WITHIN_S = 1200.0
CONTENT = "a golden image of the tests"
MOUNT = "/run/leasehold-life"


@pytest.fixture
def images(machine_site: Site) -> Iterator[None]:
    """The golden images of the cluster's nodes, in the cache that the storage host sees: 64 MiB, mostly a hole."""
    settings = load(str(machine_site.config))
    rolls, made = read_rolls(Path(settings.rolls_dir)), []
    for kind in KINDS:
        wanted = resolve(rolls, {"base", kind, *ROLLS})
        image = plan_image(kind, wanted, suite=settings.image.suite, mirror=Settings().image.mirror)
        made.append(IMAGE_CACHE / f"{image.name}.raw")
        with made[-1].open("wb") as file:
            file.truncate(64 << 20)
            file.seek(50 << 20)
            file.write(f"{CONTENT}: {kind}".encode())
    yield
    for path in made:
        path.unlink()


@pytest.fixture
def life(machine_lab: Lab, machine_site: Site, images: None) -> Iterator[Life]:
    """The site with its own database."""
    database = Database(load(str(machine_site.config)).database)
    yield Life(machine_lab, machine_site, database, {})
    database.close()


def portals(st1: Machine) -> set[str]:
    """The addresses at which the storage host's targets listen, with their ports."""
    listed = st1.run("sh", "-c", "ls -d /sys/kernel/config/target/iscsi/*/tpgt_1/np/* 2> /dev/null || :")
    return {line.rpartition("/")[2] for line in listed.splitlines()}


def sessions(x1: Machine) -> dict[str, str]:
    """Volume -> portal of the host's logins."""
    shown = x1.run("iscsiadm", "--mode", "session", check=False)
    return {volume: at for at, volume in re.findall(r"\[\d+\] (\S+),\d+ \S+:(\S+)", shown)}


def rows_on(life: Life, booked: int, host: str) -> list[Resource]:
    """The reservation's own rows on that host."""
    there = life.host(host).id
    return [row for row in life.rows(booked) if row.reservation_id and row.host_id == there]


def made_again(life: Life, booked: int, host: str, since: datetime) -> Counter[int]:
    """How often each of those rows became present again since then."""
    mine = {row.id for row in rows_on(life, booked, host)}
    return Counter(
        event.resource_id
        for event in life.events(booked)
        if event.resource_id in mine
        if event.at >= since
        if event.kind in ("present", "mended")
    )


def until_it_stands_again(life: Life, booked: int, host: str, since: datetime) -> None:
    """Come back when the passes have seen or made all of it that is on the host again, and nothing of it twice."""

    def is_whole() -> bool:
        # All rows of a host whose reboot is noticed have to be seen again, in the transaction that notices it. The row
        # that was being looked at then is seen already, and tells of it only if it had to be mended.
        is_there = all(row.have == "present" for row in life.rows(booked))
        return is_there and bool(made_again(life, booked, host, since))

    life.until(is_whole, f"what was on {host} is not back", booked, WITHIN_S)
    assert set(made_again(life, booked, host, since).values()) == {1}, life.tell(booked)


def test_cluster_s_network_and_disks_are_made_survive_reboots_and_are_gone(
    life: Life, st1: Machine, x1: Machine
) -> None:
    before = left_on(st1), left_on(x1)
    booked = life.book(computes=1, policy="pack")  # all of it on x1, whatever other hosts there are
    volumes = {f"lh{booked}-{what}" for what in ("frontend-root", "frontend-home", "node1-root")}
    with life.passes():
        life.wait(booked, "ready", WITHIN_S)
        (address,) = [row.args["address"] for row in rows_on(life, booked, "st1") if row.op == "address"]
        portal = address.partition("/")[0]
        assert portals(st1) == {f"{portal}:3260"}, "its targets listen in the cluster's own network alone"
        assert sessions(x1) == dict.fromkeys(volumes, f"{portal}:3260")
        target = f"iqn.2026-11.org.leasehold:lh{booked}-node1-root"
        disk = f"/dev/disk/by-path/ip-{portal}:3260-iscsi-{target}-lun-0"
        assert x1.run("dd", f"if={disk}", "bs=1M", "skip=50", "count=1", "status=none").startswith(CONTENT)

        x1.run("sh", "-ec", f"mkfs.ext4 -q -F {disk}; mkdir -p {MOUNT}; mount {disk} {MOUNT}")
        x1.run("sh", "-c", "head -c 20000000 /dev/urandom > /run/life")
        since = datetime.now(UTC)
        st1.power_off()
        copy = f"cp /run/life {MOUNT}/copy && sync -f {MOUNT}/copy"
        x1.run("systemd-run", "--quiet", "--unit=life", "--remain-after-exit", "sh", "-c", copy)
        st1.power_on()
        until_it_stands_again(life, booked, "st1", since)
        assert portals(st1) == {f"{portal}:3260"}
        life.until(
            lambda: x1.run("systemctl", "show", "-P", "SubState", "life").strip() != "running",
            "what was written while the storage host was off still waits",
            booked,
            WITHIN_S,
        )
        x1.run("sh", "-ec", f"echo 3 > /proc/sys/vm/drop_caches; cmp /run/life {MOUNT}/copy; umount {MOUNT}")
        x1.run("e2fsck", "-fn", disk)

        since = datetime.now(UTC)
        x1.power_off()
        x1.power_on()
        until_it_stands_again(life, booked, "x1", since)
        assert sessions(x1) == dict.fromkeys(volumes, f"{portal}:3260")
        x1.run("e2fsck", "-fn", disk)

        life.let_the_slot_end(booked)
        life.wait(booked, "ended", WITHIN_S)
    assert (left_on(st1), left_on(x1)) == before, life.tell(booked)
    assert life.held(booked) == (0, 0)
    assert event_kinds(life, booked) == ["requested", "approved", "building", "ready", "ending", "ended"]
