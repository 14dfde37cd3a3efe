# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Each operation on a real host: kernel links, tgtd, libvirtd, xorriso; made, found again, mended, removed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
import pycdlib
import pytest

from lab import tiny
from tests.site.scratch_host import DIR, ScratchHost, changed

pytestmark = [pytest.mark.site, pytest.mark.timeout(300)]

ADDRESS = "198.18.255.11"
SECRET = "planted-canary-secret"
TARGET = "iqn.2026-11.org.leasehold:lh7-node1-root"
VXLAN = {
    "link": "lh7-vx",
    "bridge": "lh7-br",
    "vni": 77,
    "local": ADDRESS,
    "peers": ["198.18.255.12", "198.18.255.13"],
    "mtu": 1450,
    "alias": "leasehold:lh7",
}
FILE = {"volume": "lh7-node1-root", "size_mib": 32, "image": "compute-0123456789ab"}
TGT = {
    "target": TARGET,
    "volume": "lh7-node1-root",
    "store": "file",
    "initiator": ADDRESS,
    "user": "lh7-node1-root",
    "password": SECRET,
}
ISO: dict[str, Any] = {
    "iso": "lh7-node1",
    "label": "cidata",
    "files": {
        "user-data": "#cloud-config\n",
        "leasehold/munge.key": SECRET,
        "leasehold/site.json": '{"ü": 1}',
    },
}


@pytest.fixture
def image(host) -> Iterator[None]:
    """A golden image on the host: 8 MiB, nearly all of it a hole."""
    path = host.path(f"{DIR}/images/{FILE['image']}.raw")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(8 << 20)
        file.seek(5_000_000)
        file.write(b"inthemiddle")
    yield
    path.unlink()
    path.parent.rmdir()


def refusal(host: ScratchHost, op: str, want: str, args: dict[str, Any]) -> tuple[str, str]:
    (reply,) = host.ask((op, want, args))
    assert reply.error is not None, reply
    return reply.error.code, reply.error.message


@contextmanager
def watched_arguments(host: ScratchHost) -> Iterator[set[bytes]]:
    """All command lines and environments seen in the host while the block runs."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            for process in host.path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        seen.add((process / name).read_bytes())
                    except OSError:
                        continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join(30)


# -- facts --------------------------------------------------------------------------------------------------


def test_facts_are_the_host_s(host):
    seen = host.one("facts", "present", {}).seen
    assert seen["vcpus"] == os.cpu_count()
    assert 0 < seen["memory_mib"] < 1 << 24
    assert seen["addresses"] == [f"{ADDRESS}/32"]
    assert seen["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen["virt_type"] in ("kvm", "qemu")
    assert all(seen["tools"][name] for name in ("virsh", "tgtadm", "xorriso", "qemu-img")), seen["tools"]
    booted = [probe for probe in seen["probes"] if probe["name"] == "virt_type" and probe["exit"] == 33]
    assert len(booted) == 1, "whatever the type, something must have booted that way"
    assert host.one("facts", "present", {}).seen["virt_type"] == seen["virt_type"]


# -- vxlan --------------------------------------------------------------------------------------------------


def test_vxlan_is_made_mended_and_removed(clean):
    assert len(changed(clean, "vxlan", "present", VXLAN)) == 8
    (link,) = json.loads(clean.run("ip", "-json", "-details", "link", "show", "lh7-vx"))
    assert (link["ifalias"], link["master"], link["mtu"]) == ("leasehold:lh7", "lh7-br", 1450)
    info = link["linkinfo"]["info_data"]
    assert (info["id"], info["port"], info["local"]) == (77, 4789, ADDRESS)
    clean.run("ip", "link", "set", "lh7-vx", "nomaster", "down")
    # Without a port the kernel has put the bridge's MTU back.
    mended = ("LinkSet name=lh7-br mtu=1450", "LinkSet name=lh7-vx master=lh7-br up=True")
    assert changed(clean, "vxlan", "present", VXLAN) == mended
    assert len(changed(clean, "vxlan", "present", {**VXLAN, "peers": ["198.18.255.14"]})) == 3
    fdb = clean.run("bridge", "fdb", "show", "dev", "lh7-vx")
    assert [line.split()[2] for line in fdb.splitlines() if line.startswith("00:00")] == ["198.18.255.14"]
    assert len(changed(clean, "vxlan", "present", {**VXLAN, "vni": 78})) > 3
    changed(clean, "vxlan", "absent", VXLAN)


def test_the_host_has_no_address_on_a_cluster_s_network(clean):
    clean.one("vxlan", "present", VXLAN)
    addresses = json.loads(clean.run("ip", "-json", "address", "show", "dev", "lh7-br"))
    assert addresses[0]["addr_info"] == []
    clean.one("vxlan", "absent", VXLAN)


def test_a_network_is_not_taken_from_under_a_guest(clean):
    clean.one("vxlan", "present", VXLAN)
    clean.run("ip", "tuntap", "add", "lh7-t1", "mode", "tap")
    clean.run("ip", "link", "set", "lh7-t1", "master", "lh7-br")
    code, message = refusal(clean, "vxlan", "absent", VXLAN)
    assert code == "busy"
    assert "lh7-t1" in message
    clean.run("ip", "link", "del", "lh7-t1")
    changed(clean, "vxlan", "absent", VXLAN)


def test_a_link_of_somebody_else_s_is_left_alone(clean):
    clean.run("ip", "link", "add", "lh7-br", "type", "bridge")
    clean.run("ip", "link", "set", "lh7-br", "alias", "the admin's", "up")
    for want in ("present", "absent"):
        assert refusal(clean, "vxlan", want, VXLAN)[0] == "not_ours"
    (bridge,) = json.loads(clean.run("ip", "-json", "link", "show", "lh7-br"))
    assert bridge["ifalias"] == "the admin's"
    clean.run("ip", "link", "del", "lh7-br")


# -- file ---------------------------------------------------------------------------------------------------


def test_a_clone_is_sparse_whole_and_private(clean, image):
    changed(clean, "file", "present", FILE)
    path = clean.path(f"{DIR}/volumes/lh7-node1-root.raw")
    seen = path.stat()
    assert (seen.st_size, oct(seen.st_mode & 0o777)) == (32 << 20, "0o600")
    assert seen.st_blocks * 512 < 1 << 20
    golden = clean.path(f"{DIR}/images/{FILE['image']}.raw").read_bytes()
    assert path.read_bytes() == golden + bytes(24 << 20)
    assert len(changed(clean, "file", "present", {**FILE, "size_mib": 48})) == 1
    assert refusal(clean, "file", "present", FILE) == (
        "bad_request",
        "volume lh7-node1-root has 48 MiB and is never shrunk to 32",
    )
    assert path.stat().st_size == 48 << 20
    changed(clean, "file", "absent", FILE)


def test_an_interrupted_copy_is_made_anew(clean, image):
    part = clean.path(f"{DIR}/volumes/.lh7-node1-root.part")
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half")
    changed(clean, "file", "present", FILE)
    assert not part.exists()
    part.write_bytes(b"half")
    changed(clean, "file", "absent", FILE)


def test_a_full_disk_is_told_with_its_figures(clean, image):
    clean.path(f"{DIR}/volumes").mkdir(exist_ok=True)
    clean.run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", f"{DIR}/volumes")
    try:
        code, message = refusal(clean, "file", "present", FILE)
    finally:
        clean.run("umount", f"{DIR}/volumes")
    assert code == "no_space"
    assert message.startswith(
        f"the disk of {DIR}/volumes has 3 MiB free and volume lh7-node1-root needs 64 MiB"
    )


def test_a_disk_that_becomes_full_is_told_apart(clean):
    clean.path(f"{DIR}/iso").mkdir(exist_ok=True)
    clean.run("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", f"{DIR}/iso")
    try:
        big = {**ISO, "files": {"big": "x" * 1_000_000}}
        code, message = refusal(clean, "iso", "present", big)
    finally:
        clean.run("umount", f"{DIR}/iso")
    assert code == "no_space"
    assert f"{DIR}/iso" in message
    assert "0 MiB free" in message


def test_two_helpers_keep_out_of_each_other_s_way(clean):
    locks = clean.path(f"{DIR}/lock")
    locks.mkdir(exist_ok=True)
    with (locks / "volume-lh7-node1-root").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert refusal(clean, "file", "present", {**FILE, "image": None})[0] == "busy"
        other = {**FILE, "image": None, "volume": "lh7-node2-root"}
        assert clean.one("file", "present", other).changed
        assert clean.one("file", "absent", other).changed
    assert clean.one("file", "absent", FILE).state == "absent"
    assert list(locks.iterdir()) == []


# -- tgt ----------------------------------------------------------------------------------------------------


@pytest.fixture
def volume(host, image) -> Iterator[None]:
    host.one("file", "present", FILE)
    yield
    host.one("file", "absent", FILE)


def disk(user: str = "user=lh7-node1-root,password-secret=s") -> str:
    options = f"driver=iscsi,transport=tcp,portal={ADDRESS}:3260,target={TARGET},lun=1"
    return f"{options},initiator-name=iqn.2008-11.org.linux-kvm:test" + (f",{user}" if user else "")


def read_disk(host: ScratchHost, password: str, user: str = "user=lh7-node1-root,password-secret=s") -> bool:
    """Whether QEMU's initiator can log in with that password and finds what the image has in its middle."""
    script = (
        f"qemu-io --object secret,id=s,data={password} -r -c 'read -v 5000000 16' --image-opts {disk(user)}"
    )
    done = subprocess.run(host.command(["bash", "-c", script]), capture_output=True, text=True, timeout=60)

    return done.returncode == 0 and "inthemiddle" in done.stdout


@pytest.mark.usefixtures("volume")
def test_an_export_lets_the_right_one_in(clean):
    changed(clean, "tgt", "present", TGT)
    assert read_disk(clean, SECRET)
    assert not read_disk(clean, "another-secret-12")
    assert not read_disk(clean, SECRET, user="")
    changed(clean, "tgt", "present", {**TGT, "initiator": "198.18.255.12"})
    assert not read_disk(clean, SECRET), "this host's address was taken off the list"
    changed(clean, "tgt", "absent", TGT)


@pytest.mark.usefixtures("volume")
def test_an_export_comes_back_when_tgtd_was_restarted(clean):
    changed(clean, "tgt", "present", TGT)
    clean.run("pkill", "-9", "-x", "tgtd")
    until = time.monotonic() + 20
    while not clean.ask(("tgt", "present", TGT))[0].ok:
        assert time.monotonic() < until
    assert read_disk(clean, SECRET)
    changed(clean, "tgt", "absent", TGT)


@pytest.mark.usefixtures("volume")
def test_an_export_in_use_is_ended_and_tgtd_lives_on(clean):
    changed(clean, "tgt", "present", TGT)
    script = f"exec qemu-io --object secret,id=s,data={SECRET} --image-opts {disk()}"
    with subprocess.Popen(clean.command(["bash", "-c", script]), stdin=subprocess.PIPE) as user:
        try:
            until = time.monotonic() + 20
            while "I_T nexus: " not in clean.run("tgtadm", "--mode", "target", "--op", "show"):
                assert time.monotonic() < until
            tgtd = clean.run("pgrep", "-x", "tgtd")
            did = changed(clean, "tgt", "absent", TGT)
        finally:
            user.kill()
    assert any("--mode conn --op delete" in command for command in did)
    assert clean.run("pgrep", "-x", "tgtd") == tgtd


@pytest.mark.usefixtures("volume")
def test_an_account_of_a_killed_helper_gets_today_s_secret(clean):
    account = ("tgtadm", "--lld", "iscsi", "--mode", "account", "--op")
    clean.run(*account, "new", "--user", "lh7-node1-root", "--password", "yesterday-s-secret")
    changed(clean, "tgt", "present", TGT)
    assert read_disk(clean, SECRET)
    changed(clean, "tgt", "absent", TGT)


def test_a_target_that_shows_something_else_is_left_alone(clean):
    target = ("tgtadm", "--lld", "iscsi", "--mode", "target", "--op")
    clean.run(*target, "new", "--tid", "9", "--targetname", TARGET)
    lun = ("tgtadm", "--lld", "iscsi", "--mode", "logicalunit", "--op", "new", "--tid", "9", "--lun", "1")
    clean.run("truncate", "-s", "1M", "/run/somebody-s.raw")
    clean.run(*lun, "--backing-store", "/run/somebody-s.raw")
    for want in ("present", "absent"):
        assert refusal(clean, "tgt", want, TGT)[0] == "not_ours"
    assert TARGET in clean.run(*target, "show")
    clean.run(*target, "delete", "--tid", "9")


# -- iso ----------------------------------------------------------------------------------------------------


def test_an_iso_holds_what_was_asked_for_root_s_eyes_only(clean):
    changed(clean, "iso", "present", ISO)
    path = clean.path(f"{DIR}/iso/lh7-node1.iso")
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    disc = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(path.read_bytes()))
    assert disc.pvd.volume_identifier.decode().strip() == "cidata"
    for name, text in ISO["files"].items():
        for kind in ("rr_path", "joliet_path"):
            content = io.BytesIO()
            disc.get_file_from_iso_fp(content, **{kind: f"/{name}"})
            assert content.getvalue().decode() == text
        record: Any = disc.get_record(rr_path=f"/{name}")
        assert oct(record.rock_ridge.get_file_mode() & 0o777) == "0o600"
    disc.close()
    inode = path.stat().st_ino
    changed(clean, "iso", "present", {**ISO, "files": {"meta-data": "other"}})
    assert path.stat().st_ino != inode, "a guest that reads the old one keeps it"
    changed(clean, "iso", "absent", ISO)


# -- domain -------------------------------------------------------------------------------------------------


@pytest.fixture
def guest(host) -> Iterator[dict[str, Any]]:
    """A guest's arguments, with its network, its volume with a real system on it, and its export in place."""
    disk_image = tiny.image("compute")
    images = host.path(f"{DIR}/images")
    images.mkdir(exist_ok=True)
    (images / f"{FILE['image']}.raw").write_bytes(disk_image.read_bytes())
    below = [("vxlan", VXLAN), ("file", FILE), ("tgt", TGT)]
    assert all(reply.ok for reply in host.ask(*((op, "present", args) for op, args in below)))
    yield domain()
    replies = host.ask(*((op, "absent", args) for op, args in [("domain", domain()), *reversed(below)]))
    assert all(reply.ok for reply in replies), replies
    (images / f"{FILE['image']}.raw").unlink()
    images.rmdir()


def domain(memory_mib: int = 256) -> dict[str, Any]:
    folder = Path(__file__).parents[2] / "templates" / "install"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    uuid = "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11"
    xml = environment.get_template("domain.xml.j2").render(
        name="lh7-node1",
        uuid=uuid,
        virt_type="qemu",
        devices="virtio",
        vcpus=1,
        memory_mib=memory_mib,
        disks=[
            {
                "target": TARGET,
                "portal": ADDRESS,
                "user": "lh7-node1-root",
                "secret": TARGET,
                "serial": "root",
                "is_shared": False,
            }
        ],
        iso=None,
        nics=[{"bridge": "lh7-br", "mac": "02:00:07:00:00:01", "tap": "lh7-t1"}],
        serial=f"{DIR}/domains/lh7-node1.serial",
        report=f"{DIR}/domains/lh7-node1.report",
    )
    chap = [{"uuid": "1d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11", "usage": TARGET, "password": SECRET}]
    return {
        "domain": "lh7-node1",
        "uuid": uuid,
        "xml": xml,
        "chap": chap,
        "ready_event": "ready",
        "edition": None,
    }


def until_ready(host: ScratchHost, args: dict[str, Any]) -> None:
    until = time.monotonic() + 120
    while (reply := host.one("domain", "present", args)).state == "pending":
        assert time.monotonic() < until, host.path(f"{DIR}/domains/lh7-node1.serial").read_text()
        assert reply.why is not None
        assert reply.why.startswith("waiting for lh7-node1 to report ready")
        time.sleep(1)
    assert reply.seen["report"] == {"event": "ready", "node": "node1"}


@pytest.mark.slow
def test_a_guest_boots_from_its_export_and_is_mended(clean, guest):
    virsh = ("virsh", "-q", "-c", "qemu:///system")
    with watched_arguments(clean) as seen:
        reply = clean.one("domain", "present", guest)
        until_ready(clean, guest)
        report = clean.one("report", "present", {"domain": "lh7-node1", "event": "ready", "edition": None})
    assert reply.changed
    assert report.seen["report"]["node"] == "node1"
    assert [line for line in seen if SECRET.encode() in line] == [], "a secret was in an argument list"
    assert any(b"iscsi" in line for line in seen), "and QEMU's own argument list was among those looked at"
    assert clean.run(*virsh, "secret-list").strip() == ""
    assert refusal(clean, "vxlan", "absent", VXLAN)[0] == "busy"

    clean.run("pkill", "-x", "libvirtd")
    until = time.monotonic() + 60
    while not (reply := clean.ask(("domain", "present", guest))[0]).ok:
        assert time.monotonic() < until
    assert (reply.state, reply.changed) == ("present", False), (
        "libvirtd finds its guest again without the secret"
    )

    more = domain(memory_mib=320)
    assert len(clean.one("domain", "present", more).did) == 2, "defined anew, left running"
    clean.run("pkill", "-9", "-f", "^/usr/bin/qemu-system")
    until = time.monotonic() + 20
    while clean.run(*virsh, "domstate", "lh7-node1").strip() == "running":
        assert time.monotonic() < until
    assert clean.one("domain", "present", more).state == "pending", "its old report does not count"
    until_ready(clean, more)
    assert "327680" in clean.run(*virsh, "dommemstat", "lh7-node1") + clean.run(
        *virsh, "dominfo", "lh7-node1"
    )
    clean.run(*virsh, "suspend", "lh7-node1")
    assert clean.one("domain", "present", more).did == ("virsh -q -c qemu:///system resume lh7-node1",)
    changed(clean, "domain", "absent", more)


def test_a_guest_of_somebody_else_s_is_left_alone(clean):
    virsh = ("virsh", "-q", "-c", "qemu:///system")
    xml = "<domain type='qemu'><name>lh7-node1</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    clean.run(*virsh, "define", "/dev/stdin", text=xml)
    for want in ("present", "absent"):
        assert refusal(clean, "domain", want, domain())[0] == "not_ours"
    clean.run(*virsh, "undefine", "lh7-node1")
