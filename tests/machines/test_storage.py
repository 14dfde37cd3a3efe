# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes by LVM, exports by the kernel and the host's own login, on kernels that have them all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.machines.machine import Machine

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

DIR = "/var/lib/leasehold"
IMAGE = "compute-0123456789ab"
NAME = "lh7-node1-root"
TARGET = f"iqn.2026-11.org.leasehold:{NAME}"
POOL = {"pool_mib": 0, "full_percent": 90}
GOLDEN = {"image": IMAGE, **POOL}
LVM: dict[str, Any] = {"volume": NAME, "size_mib": 96, "image": IMAGE, "wipe": "discard", **POOL}
THICK = {"volume": NAME, "size_mib": 72, "image": IMAGE, "wipe": "discard"}
SECRETS = {"user": NAME, "password": "not-a-real-secret", "mutual": "not-a-real-mutual"}
MOUNT = "/mnt/leasehold-test"


def until(is_so: Callable[[], Any], what: str, limit_s: float = 900) -> None:
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(1)


def present(machine: Machine, op: str, args: dict[str, Any]) -> None:
    """Ask until it is there, as the passes do: again after an error that may go away."""

    def is_there() -> bool:
        (reply,) = machine.ask((op, "present", args))
        assert reply.error is None or reply.error.retryable, reply.error
        return reply.state == "present"

    until(is_there, f"{op} did not become present")


def facts(machine: Machine) -> Any:
    (reply,) = machine.ask(("facts", "present", {}))
    return reply.seen


def device(machine: Machine) -> str:
    """Where the volume is on the storage host."""
    (group,) = {row["vg_name"] for row in report(machine) if row["lv_name"] == NAME}
    return f"/dev/{group}/{NAME}"


def report(machine: Machine) -> list[dict[str, str]]:
    shown = machine.run("lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_tags,lv_size,data_percent")
    rows: list[dict[str, str]] = json.loads(shown)["report"][0]["lv"]
    return rows


@pytest.fixture(scope="module")
def golden(st1: Machine) -> Iterator[None]:
    """A golden image of 64 MiB, nearly all of it a hole, and its golden volume; all gone at the end."""
    before = report(st1)
    st1.run("mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", f"{DIR}/images")
    try:
        script = f"cd {DIR}/images && truncate -s 64M {IMAGE}.raw && "
        script += f"printf inthemiddle | dd of={IMAGE}.raw bs=1M seek=50 conv=notrunc status=none"
        st1.run("sh", "-c", script)
        present(st1, "golden", GOLDEN)
        yield
        st1.changed("golden", "absent", GOLDEN)
    finally:
        st1.run("umount", "--lazy", f"{DIR}/images")
    assert [row["lv_name"] for row in report(st1)] == [row["lv_name"] for row in before]


@pytest.fixture
def portal(st1: Machine) -> str:
    """The address of the storage host that the login goes to."""
    shown = json.loads(st1.run("ip", "-json", "-4", "address", "show", "dev", "eth0"))
    address: str = shown[0]["addr_info"][0]["local"]
    return address


@pytest.fixture
def lio(x1: Machine, portal: str) -> dict[str, Any]:
    initiator = facts(x1)["initiator"]
    return {"target": TARGET, "volume": NAME, "portal": portal, "initiator": initiator, **SECRETS}


@pytest.fixture
def login(portal: str) -> dict[str, Any]:
    return {"target": TARGET, "portal": portal, "lun": 0, "wait_s": 600, **SECRETS}


@pytest.fixture
def exported(st1: Machine, golden: None, lio: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A clone, exported to x1; its arguments."""
    present(st1, "lvm", LVM)
    present(st1, "lio", lio)
    yield lio
    for op, args in (("lio", lio), ("lvm", LVM)):
        st1.changed(op, "absent", args)


def disk(login: dict[str, Any]) -> str:
    return f"/dev/disk/by-path/ip-{login['portal']}:3260-iscsi-{TARGET}-lun-{login['lun']}"


def test_a_clone_has_the_image_s_content_takes_nothing_and_grows(st1: Machine, golden: None) -> None:
    st1.changed("lvm", "present", LVM)
    (row,) = [row for row in report(st1) if row["lv_name"] == NAME]
    assert row["lv_tags"] == "leasehold:lh7"
    assert (
        st1.run("dd", f"if={device(st1)}", "bs=1M", "skip=50", "count=1", "status=none")[:11] == "inthemiddle"
    )
    assert float(row["data_percent"]) < 2, "of 96 MiB it shares one that was written"
    assert st1.changed("lvm", "present", {**LVM, "size_mib": 128})[0].startswith("lvextend ")
    assert st1.refusal("lvm", "present", LVM)[0] == "bad_request"
    st1.changed("lvm", "absent", LVM)


def test_a_volume_of_somebody_else_s_is_left_alone(st1: Machine, golden: None) -> None:
    present(st1, "lvm", LVM)
    where = device(st1).removeprefix("/dev/")
    st1.run("lvchange", "-q", "--deltag", "leasehold:lh7", where)
    for want in ("present", "absent"):
        assert st1.refusal("lvm", want, LVM)[0] == "not_ours"
    st1.run("lvchange", "-q", "--addtag", "leasehold:lh7", where)
    st1.changed("lvm", "absent", LVM)


def test_zeros_are_written_over_what_was_written_and_the_pool_does_not_grow(
    st1: Machine, golden: None
) -> None:
    present(st1, "lvm", LVM)
    path = device(st1)
    st1.run("sh", "-c", f"printf canary | dd of={path} bs=1M seek=70 conv=notrunc,fsync status=none")
    st1.run("/usr/bin/python3", "-IS", f"{DIR}/helper.pyz", "wipe", path)
    assert st1.run("sh", "-c", f"tr -d '\\0' < {path} | wc -c").strip() == "0"
    (row,) = [row for row in report(st1) if row["lv_name"] == NAME]
    assert float(row["data_percent"]) == 0
    until(
        lambda: st1.ask(("lvm", "absent", {**LVM, "wipe": "zero"}))[0].state == "absent", "it was not removed"
    )


def test_a_thick_volume_holds_the_image_and_nothing_of_what_was_on_its_extents(
    st1: Machine, golden: None, lio: dict[str, Any]
) -> None:
    """R70: also at the end, when all of it was overwritten before its extents are free for others."""
    (group,) = {row["vg_name"] for row in report(st1)}
    by_hand, free = f"{group}/lhbyhand", facts(st1)["group"]["free_mib"]
    make = ("lvcreate", "-qy", "--zero", "n", "-W", "n", "--size", "72m", "--name", "lhbyhand", group)
    st1.run(*make)
    st1.run("sh", "-c", f"tr '\\0' x < /dev/zero | head -c 72M > /dev/{by_hand}")
    st1.run("lvremove", "-qy", by_hand)
    present(st1, "lvm_thick", THICK)
    (row,) = [row for row in report(st1) if row["lv_name"] == NAME]
    assert row["lv_tags"] == "leasehold:lh7"
    assert facts(st1)["group"]["free_mib"] == free - 72, "it has all its room from the start"
    rest = ("lvcreate", "-qy", "--zero", "n", "-W", "n", "--extents", "100%FREE", "--name", "lhrest", group)
    st1.run(*rest)
    full = facts(st1)["group"]
    st1.run("lvremove", "-qy", f"{group}/lhrest")
    assert (full["free_mib"], full["lent_mib"]) == (0, 72), "what is lent is told apart from what others have"
    path = device(st1)
    st1.run("cmp", "--bytes=64M", path, f"{DIR}/images/{IMAGE}.raw")
    assert st1.run("sh", "-c", f"tail -c 8M {path} | tr -d '\\0' | wc -c").strip() == "0"
    assert st1.refusal("lvm_thick", "present", {**THICK, "size_mib": 96})[0] == "bad_request"
    present(st1, "lio", lio)
    assert st1.refusal("lvm_thick", "absent", THICK)[0] == "busy"
    st1.changed("lio", "absent", lio)
    until(lambda: st1.ask(("lvm_thick", "absent", THICK))[0].state == "absent", "it was not removed")
    assert facts(st1)["group"]["free_mib"] == free
    st1.run(*make)
    assert st1.run("sh", "-c", f"tr -d '\\0' < /dev/{by_hand} | wc -c").strip() == "0"
    st1.run("lvremove", "-qy", by_hand)


def test_the_right_host_with_the_right_secret_comes_in_and_no_other(
    st1: Machine, x1: Machine, exported: dict[str, Any], login: dict[str, Any]
) -> None:
    (reply,) = x1.ask(("open_iscsi", "present", {**login, "password": "another-secret-12"}))
    assert reply.error is not None
    assert "authorization failure" in reply.error.message
    assert SECRETS["password"] not in str(reply)
    elsewhere = {**exported, "initiator": "iqn.1993-08.org.debian:01:0123456789ab"}
    st1.changed("lio", "present", elsewhere)
    (reply,) = x1.ask(("open_iscsi", "present", login))
    assert reply.error is not None
    assert "authorization failure" in reply.error.message
    st1.changed("lio", "present", exported)
    present(x1, "open_iscsi", login)
    assert (
        x1.run("dd", f"if={disk(login)}", "bs=1M", "skip=50", "count=1", "status=none")[:11] == "inthemiddle"
    )
    assert st1.refusal("lvm", "absent", LVM)[0] == "busy"
    x1.changed("open_iscsi", "absent", login)
    assert x1.run("sh", "-c", f"ls {disk(login)} 2>&1 || true").endswith("No such file or directory\n")


def test_two_hosts_that_are_listed_write_one_volume_and_a_third_does_not_come_in(
    st1: Machine, x1: Machine, x2: Machine, exported: dict[str, Any], login: dict[str, Any]
) -> None:
    """R83: each reads what the other wrote; who was in already stays so when another is listed."""
    first, second = (facts(machine)["initiator"] for machine in (x1, x2))
    st1.changed(
        "lio", "present", {**exported, "initiator": [first, "iqn.1993-08.org.debian:01:0123456789ab"]}
    )
    present(x1, "open_iscsi", login)
    (reply,) = x2.ask(("open_iscsi", "present", login))
    assert reply.error is not None
    assert "authorization failure" in reply.error.message
    st1.changed("lio", "present", {**exported, "initiator": [first, second]})
    present(x2, "open_iscsi", login)
    # Past the hosts' caches, in whole pages: neither writes back what it read of the other's.
    direct = f"{disk(login)} bs=4096 count=1 status=none"
    for place, (writer, reader) in enumerate(((x1, x2), (x2, x1))):
        written = f"of {writer.name}"
        writer.run(
            "sh",
            "-c",
            f"printf %-4096s '{written}' | dd of={direct} seek={place} iflag=fullblock oflag=direct",
        )
        assert reader.run("sh", "-c", f"dd if={direct} skip={place} iflag=direct").rstrip() == written
    for machine in (x1, x2):
        machine.changed("open_iscsi", "absent", login)


def test_an_export_is_there_again_from_the_saved_configuration(
    st1: Machine, x1: Machine, exported: dict[str, Any], login: dict[str, Any]
) -> None:
    """As at a boot: the service that restores what was saved starts with an empty kernel."""
    st1.run("systemctl", "restart", "rtslib-fb-targetctl")
    (reply,) = st1.ask(("lio", "present", exported))
    assert (reply.state, reply.did) == ("present", ())
    present(x1, "open_iscsi", login)
    x1.changed("open_iscsi", "absent", login)


@pytest.fixture
def tgtd(st1: Machine) -> Iterator[None]:
    """tgtd, which does not run on the lab's machines else."""
    st1.run("systemctl", "start", "tgt")
    yield
    st1.run("systemctl", "stop", "tgt")


def test_tgtd_exports_a_clone_to_the_host_at_that_address(
    st1: Machine, x1: Machine, golden: None, tgtd: None, login: dict[str, Any]
) -> None:
    there = x1.lab.address(x1.lab.host("x1"))
    only = {"user": NAME, "password": SECRETS["password"]}
    export = {"target": TARGET, "volume": NAME, "store": "lvm", "initiator": there, **only}
    way = {**login, "lun": 1, "mutual": None}  # LUN 0 is tgtd's own; its targets show no secret
    present(st1, "lvm", LVM)
    st1.changed("tgt", "present", export)
    (reply,) = x1.ask(("open_iscsi", "present", {**way, "password": "another-secret-12"}))
    assert reply.error is not None
    assert "authorization failure" in reply.error.message
    st1.changed("tgt", "present", {**export, "initiator": "198.18.255.1"})
    (reply,) = x1.ask(("open_iscsi", "present", way))
    assert reply.error is not None
    st1.changed("tgt", "present", export)
    present(x1, "open_iscsi", way)
    read = x1.run("dd", f"if={disk(way)}", "bs=1M", "skip=50", "count=1", "status=none")
    assert read.startswith("inthemiddle")
    assert st1.refusal("lvm", "absent", LVM)[0] == "busy"
    x1.changed("open_iscsi", "absent", way)
    st1.changed("tgt", "absent", export)
    st1.changed("lvm", "absent", LVM)


def test_a_held_lock_of_targetcli_is_told_and_nothing_is_done(st1: Machine, exported: dict[str, Any]) -> None:
    st1.run("systemd-run", "--quiet", "--unit=lhtest", "flock", "/run/targetcli.lock", "sleep", "600")
    try:
        st1.run("sh", "-c", "while flock -n /run/targetcli.lock true; do sleep 0.1; done")
        code, message = st1.refusal("lio", "absent", exported)
    finally:
        st1.run("systemctl", "stop", "lhtest")
    assert (code, "targetcli" in message) == ("busy", True)


def test_what_was_written_waits_for_a_lost_storage_host_and_is_whole(
    st1: Machine, x1: Machine, exported: dict[str, Any], login: dict[str, Any]
) -> None:
    enable = f"/sys/kernel/config/target/iscsi/{TARGET}/tpgt_1/enable"
    present(x1, "open_iscsi", login)
    x1.run("sh", "-c", f"mkfs.ext4 -q -F {disk(login)} && mkdir -p {MOUNT} && mount {disk(login)} {MOUNT}")
    try:
        st1.run("sh", "-c", f"echo 0 > {enable}")
        until(
            lambda: x1.ask(("open_iscsi", "present", login))[0].state == "pending",
            "the loss was not noticed",
            600,
        )
        copy = (
            f"head -c 20000000 /dev/urandom > /run/lhtest; cp /run/lhtest {MOUNT}/copy; sync -f {MOUNT}/copy"
        )
        x1.run("systemd-run", "--quiet", "--unit=lhcopy", "--remain-after-exit", "sh", "-c", copy)
        time.sleep(10)
        assert x1.run("systemctl", "show", "-P", "SubState", "lhcopy").strip() == "running", "it waits"
        st1.run("sh", "-c", f"echo 1 > {enable}")
        present(x1, "open_iscsi", login)
        until(
            lambda: x1.run("systemctl", "show", "-P", "SubState", "lhcopy").strip() == "exited",
            "still waiting",
        )
        x1.run("sh", "-c", f"echo 3 > /proc/sys/vm/drop_caches; cmp /run/lhtest {MOUNT}/copy")
    finally:
        x1.run(
            "sh",
            "-c",
            f"umount {MOUNT}; systemctl stop lhcopy; rm -f /run/lhtest; rmdir {MOUNT}",
            check=False,
        )
    assert x1.changed("open_iscsi", "absent", login)
    st1.run("e2fsck", "-fn", device(st1))
