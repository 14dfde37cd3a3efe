# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a storage host: told with its cause, nothing foreign touched, and the next request carries on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from workers.node.protocol import Reply, Request, parse_reply

if TYPE_CHECKING:
    from tests.machines.machine import Machine

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

DIR = "/var/lib/leasehold"
GROUP, GROUP_MIB, POOL_MIB = "lhsmall", 64, 40
VOLUME: dict[str, Any] = {"volume": "lh7-node1-root", "size_mib": 48, "image": None, "wipe": "discard"}
SMALL = {"pool_mib": POOL_MIB, "full_percent": 90}


@contextmanager
def small_group(machine: Machine) -> Iterator[None]:
    """A volume group of 64 MiB on a file."""
    file = "/root/lhsmall.img"
    machine.run(
        "sh", "-ec", f"truncate -s {GROUP_MIB}M {file}; vgcreate -q {GROUP} $(losetup -f --show {file})"
    )
    try:
        yield
    finally:
        undo = f"vgremove -qf {GROUP}; losetup -j {file} -O NAME -n | xargs -r losetup -d; rm -f {file}"
        machine.run("sh", "-c", undo)


def ask_small(machine: Machine, *wanted: tuple[str, str, dict[str, Any]]) -> list[Reply]:
    """What a helper answers that keeps volumes in the small group."""
    lines = [Request(str(n), *request).to_json() + "\n" for n, request in enumerate(wanted)]
    remit = (
        "--mark",
        "lh",
        "--dir",
        DIR,
        "--ops",
        "lvm,golden",
        "--volume-group",
        GROUP,
        "--thin-pool",
        "pool",
    )
    said = machine.run("/usr/bin/python3", "-IS", f"{DIR}/helper.pyz", "serve", *remit, text="".join(lines))
    return [parse_reply(line) for line in said.splitlines()[1:]]


def names(machine: Machine, group: str) -> list[str]:
    return sorted(machine.run("lvs", "--noheadings", "--options", "lv_name", group).split())


def test_group_and_pool_without_room_are_told_and_those_that_have_volumes_keep_them(st1: Machine) -> None:
    with small_group(st1):
        (reply,) = ask_small(st1, ("lvm", "present", {**VOLUME, **SMALL, "pool_mib": 1000}))
        assert reply.error is not None
        assert (reply.error.code, reply.error.retryable) == ("no_space", True)
        assert "insufficient free space" in reply.error.message
        assert names(st1, GROUP) == []
        (reply,) = ask_small(st1, ("lvm", "present", {**VOLUME, **SMALL}))
        assert reply.state == "present", reply
        st1.run("sh", "-c", f"head -c 38M /dev/urandom > /dev/{GROUP}/{VOLUME['volume']}")
        other = {**VOLUME, **SMALL, "volume": "lh8-node1-root"}
        refused, kept = ask_small(st1, ("lvm", "present", other), ("lvm", "present", {**VOLUME, **SMALL}))
        assert refused.error is not None
        assert refused.error.code == "no_space"
        assert f"thin pool {GROUP}/pool is full: 95 % of its {POOL_MIB} MiB" in refused.error.message
        assert kept.state == "present"
        assert "lh8-node1-root" not in names(st1, GROUP)
        gone, made = ask_small(st1, ("lvm", "absent", {**VOLUME, **SMALL}), ("lvm", "present", other))
        assert (gone.state, made.state) == ("absent", "present"), "with room again it goes on"
        ask_small(st1, ("lvm", "absent", other))
        assert names(st1, GROUP) == ["pool"]


def test_ssh_that_dies_in_the_middle_leaves_what_the_next_request_completes(st1: Machine) -> None:
    volumes = [f"lh7-n{number}-root" for number in range(4)]
    pool = {"pool_mib": 0, "full_percent": 90}
    wanted = [("lvm", "present", {**VOLUME, **pool, "volume": name, "size_mib": 8}) for name in volumes]
    with st1.begin(*wanted) as dying:
        assert dying.stdout is not None
        dying.stdout.readline()
        first = parse_reply(dying.stdout.readline())
        dying.kill()
    assert (first.state, first.changed) == ("present", True)
    left = wanted
    while left:  # the helper that lost its connection ends what it was at; its lock is waited for
        replies = st1.ask(*left)
        assert all(reply.ok or (reply.error and reply.error.code == "busy") for reply in replies), replies
        left = [request for request, reply in zip(left, replies, strict=True) if not reply.ok]
    made = json.loads(st1.run("lvs", "--reportformat", "json", "-o", "lv_name,lv_tags", "leasehold"))
    ours = {row["lv_name"]: row["lv_tags"] for row in made["report"][0]["lv"] if row["lv_name"] in volumes}
    assert ours == dict.fromkeys(volumes, "leasehold:lh7")
    for _, _, args in wanted:
        st1.changed("lvm", "absent", args)
