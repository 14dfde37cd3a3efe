# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a storage host: told with its cause, nothing foreign touched, and the next request carries on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.machines.machine import left_on
from workers.node.protocol import Reply, Request, parse_reply

if TYPE_CHECKING:
    from tests.machines.machine import Machine

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

DIR = "/var/lib/leasehold"
GROUP, GROUP_MIB, POOL_MIB = "lhsmall", 64, 40
VOLUME: dict[str, Any] = {"volume": "lh7-node1-root", "size_mib": 48, "image": None, "wipe": "discard"}
SMALL = {"pool_mib": POOL_MIB, "full_percent": 90}


def disk(
    name: str, portal: str = "127.0.0.1", initiator: str = "iqn.2026-11.org.leasehold.lab:nobody"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a small volume in the site's own pool, and of its export (to nobody who is there)."""
    lvm = {**VOLUME, "volume": name, "size_mib": 8, "pool_mib": 0, "full_percent": 90}
    lio = {"target": f"iqn.2026-11.org.leasehold:{name}", "volume": name, "portal": portal}
    lio |= {"initiator": initiator, "user": name}
    return lvm, lio | {"password": "not-a-real-secret", "mutual": "not-a-real-mutual"}


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
        other = {**VOLUME, **SMALL, "volume": "lh8-node1-root"}
        limited = {**other, "full_percent": 1}
        reply, refused = ask_small(st1, ("lvm", "present", {**VOLUME, **SMALL}), ("lvm", "present", limited))
        assert reply.state == "present", reply
        assert refused.error is not None
        used = re.search(r": (\S+) % of its 40 MiB and (\S+) % of its metadata are", refused.error.message)
        assert used, refused
        assert float(used[1]) < 1 <= float(used[2]), "metadata that are full suffice"
        st1.run("sh", "-c", f"head -c 38M /dev/urandom > /dev/{GROUP}/{VOLUME['volume']}")
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


FOREIGN = """
import rtslib_fb as r
store = r.RDMCPStorageObject("foreign", size=1 << 20)
group = r.TPG(r.Target(r.FabricModule("iscsi"), "TARGET"), 1)
r.LUN(group, 0, store)
"""
FOREIGN_GONE = """
import rtslib_fb as r
r.Target(r.FabricModule("iscsi"), "TARGET", "lookup").delete()
r.RDMCPStorageObject("foreign").delete()
"""


def test_a_target_of_that_name_by_another_hand_is_left_alone(st1: Machine) -> None:
    lvm, lio = disk("lh7-node9-root")
    target = lio["target"]
    st1.changed("lvm", "present", lvm)
    st1.run("python3", "-c", FOREIGN.replace("TARGET", target))
    try:
        for want in ("present", "absent"):
            code, message = st1.refusal("lio", want, lio)
            assert (code, "foreign" in message) == ("not_ours", True)
        assert "lun_0" in st1.run("ls", f"/sys/kernel/config/target/iscsi/{target}/tpgt_1/lun")
    finally:
        st1.run("python3", "-c", FOREIGN_GONE.replace("TARGET", target))
    st1.changed("lio", "present", lio)
    st1.changed("lio", "absent", lio)
    st1.changed("lvm", "absent", lvm)


def test_what_another_helper_exported_is_seen_by_one_that_is_kept(st1: Machine) -> None:
    """Two managers may run the passes, and each keeps a helper."""
    (lvm, lio), (other_lvm, other_lio) = disk("lh7-n0-root"), disk("lh7-n1-root")
    for op, args in (("lvm", lvm), ("lio", lio)):
        st1.changed(op, "present", args)
    with st1.begin(("lvm", "present", other_lvm), ("lio", "present", other_lio)) as other:
        said = other.communicate(timeout=300)[0]
    assert [parse_reply(line).state for line in said.splitlines()[1:]] == ["present", "present"]
    (reply,) = st1.ask(("lio", "present", other_lio))
    assert (reply.state, reply.did) == ("present", ())
    backstores = "ls -d /sys/kernel/config/target/core/iblock_*/lh7-*"
    assert len(st1.run("sh", "-c", backstores).splitlines()) == 2
    for op, args in (("lio", lio), ("lio", other_lio), ("lvm", lvm), ("lvm", other_lvm)):
        st1.changed(op, "absent", args)


def complete_after_death(machine: Machine, *asked: tuple[str, str, dict[str, Any]]) -> None:
    """Ask over a connection that dies with the first reply, then again until all of it is so."""
    with machine.begin(*asked) as dying:
        assert dying.stdout is not None
        dying.stdout.readline()
        first = parse_reply(dying.stdout.readline())
        dying.kill()
    assert (first.state, first.changed) == (asked[0][1], True)
    left, until = list(asked), time.monotonic() + 300
    while left:  # the helper that lost its connection ends what it was at; its lock is waited for
        assert time.monotonic() < until, left
        replies = machine.ask(*left)
        assert all(reply.ok or (reply.error and reply.error.code == "busy") for reply in replies), replies
        left = [one for one, reply in zip(left, replies, strict=True) if reply.state != one[1]]


def both_ways(wanted: list[tuple[str, dict[str, Any]]]) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    """The requests for all of it to be present, and then for all of it to be absent."""
    yield [(op, "present", args) for op, args in wanted]
    yield [(op, "absent", args) for op, args in reversed(wanted)]


def test_ssh_that_dies_in_the_middle_leaves_what_the_next_request_completes(st1: Machine) -> None:
    names = [f"lh7-n{number}-root" for number in range(3)]
    wanted = [request for lvm, lio in map(disk, names) for request in (("lvm", lvm), ("lio", lio))]
    for asked, made in zip(both_ways(wanted), (names, []), strict=True):
        complete_after_death(st1, *asked)
        rows = json.loads(st1.run("lvs", "--reportformat", "json", "-o", "lv_name,lv_tags", "leasehold"))
        tags = {row["lv_name"]: row["lv_tags"] for row in rows["report"][0]["lv"] if row["lv_name"] in names}
        assert tags == dict.fromkeys(made, "leasehold:lh7")
        targets = st1.run("sh", "-c", "ls /sys/kernel/config/target/iscsi | grep :lh7- || :").split()
        assert targets == [f"iqn.2026-11.org.leasehold:{name}" for name in made]


def test_ssh_that_dies_among_networks_and_logins_leaves_what_the_next_request_completes(
    st1: Machine, x1: Machine
) -> None:
    portal = st1.lab.address(st1.lab.host("st1"))
    (reply,) = x1.ask(("facts", "present", {}))
    disks = [disk(f"lh7-n{number}-root", portal, reply.seen["initiator"]) for number in range(2)]
    exports, before = [one for lvm, lio in disks for one in (("lvm", lvm), ("lio", lio))], left_on(x1)
    networks = [
        {"link": f"{key}-vl", "bridge": f"{key}-br", "vid": vid, "parent": "eth1", "mtu": 1500}
        | {"alias": f"leasehold:{key}"}
        for key, vid in (("lh7", 101), ("lh8", 102))
    ]
    way = ("target", "user", "password", "mutual")
    logins = [
        {name: lio[name] for name in way} | {"portal": portal, "lun": 0, "wait_s": 600} for _, lio in disks
    ]
    wanted = [*(("vlan", one) for one in networks), *(("open_iscsi", one) for one in logins)]
    there, away = both_ways(exports)
    assert all(reply.ok for reply in st1.ask(*there))
    for asked in both_ways(wanted):
        complete_after_death(x1, *asked)
    assert left_on(x1) == before
    assert all(reply.ok for reply in st1.ask(*away))
