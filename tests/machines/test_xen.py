# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Paravirtual guests of Xen, from the images that QEMU's guests are made of.

The frontend's disks are devices under the names that logins to a storage host would give them: an image with what is
written kept apart, and an empty one for /home.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pytest

from tests.factories import KEY
from tests.machines.golden import patiently
from workers.engine import secrets
from workers.node.ops import open_iscsi
from workers.plan.naming import Names
from workers.plan.site_roll import Frontend, Node, Site, User, site_roll

if TYPE_CHECKING:
    from tests.machines.machine import Machine
    from workers.node.protocol import Reply

pytestmark = [pytest.mark.machine, pytest.mark.timeout(3000)]

DIR = "/var/lib/leasehold"
NAMES = Names("lh", 7, "iqn.2026-11.org.leasehold")
DOMAIN = NAMES.domain("frontend")
DISKS = {
    what: open_iscsi.device("198.18.0.24", NAMES.target(NAMES.volume("frontend", what)), 0)
    for what in ("root", "home")
}
NETWORK = {
    "link": NAMES.uplink("vlan"),
    "bridge": NAMES.bridge,
    "vid": 101,
    "parent": "eth1",
    "mtu": 1500,
    "alias": NAMES.alias,
}
# The root disk is an image that is only read, with what the guest writes beside it; /home begins empty.
MAKE_DISKS = f"""set -e
mkdir -p /dev/disk/by-path /var/tmp/lhxen
image=$(losetup --read-only --find --show {DIR}/images/$1.raw)
for name in written home; do truncate -s 512M /var/tmp/lhxen/$name; done
written=$(losetup --find --show /var/tmp/lhxen/written)
home=$(losetup --find --show /var/tmp/lhxen/home)
echo "0 $(blockdev --getsz $image) snapshot $image $written N 16" | dmsetup create lhxen
ln -s /dev/mapper/lhxen {DISKS["root"]}
ln -s $home {DISKS["home"]}
"""
REMOVE_DISKS = f"""rm -f {DISKS["root"]} {DISKS["home"]}
dmsetup remove --retry lhxen
losetup --json --list | python3 -c '
import json, subprocess, sys
for device in json.load(sys.stdin)["loopdevices"]:
    subprocess.run(["losetup", "--detach", device["name"]])'
rm -rf /var/tmp/lhxen"""


@pytest.fixture
def disks(x1: Machine, image: str) -> Iterator[None]:
    """The frontend's two disks, and nothing left of them afterwards."""
    x1.run("sh", "-c", MAKE_DISKS, "sh", image)
    yield
    x1.run("sh", "-c", REMOVE_DISKS)


def site(mtu: int = 1500) -> dict[str, Any]:
    """The site roll of a cluster whose node never comes, secrets included."""
    key = bytes(32)
    files = site_roll(
        Site(
            cluster="class",
            instance="class",
            frontend=Frontend(
                "frontend", "10.20.0.1", NAMES.mac(0, 0), "198.19.0.150", NAMES.mac(0, 1), 24, "198.19.0.1"
            ),
            private_network="10.20.0.0/16",
            mtu=mtu,
            nodes=(Node("node1", "node", NAMES.mac(1, 0), "10.20.1.1", 1, 320),),
            users=(User("alice", 2001, (KEY,)),),
            rolls=("base", "frontend", "nfs", "slurm"),
            dns=("198.19.0.1",),
            outside_check="198.19.0.1",
            munge_key="munge:lh7",
            host_key="hostkey:lh7",
        )
    )
    return {
        path: secrets.derive(key, text["secret"]) if isinstance(text, Mapping) else text
        for path, text in files.items()
    }


def iso(files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "iso": NAMES.iso("frontend", files["leasehold/edition"].strip()),
        "label": "cidata",
        "files": files,
    }


def guest(files: Mapping[str, str], memory_mib: int = 384) -> dict[str, Any]:
    """The arguments of the frontend that follows this site roll."""
    folder = Path(__file__).parents[2] / "templates" / "install"
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    xml = environment.get_template("xen.xml.j2").render(
        name=DOMAIN,
        uuid=NAMES.uuid("frontend"),
        vcpus=1,
        memory_mib=memory_mib,
        disks=[{"device": device} for device in DISKS.values()],
        iso=f"{DIR}/iso/{iso(files)['iso']}.iso",
        nics=[
            {"bridge": NAMES.bridge, "mac": NAMES.mac(0, 0), "tap": NAMES.tap(0)},
            {"bridge": "br-public", "mac": NAMES.mac(0, 1), "tap": NAMES.public_tap},
        ],
    )
    return {
        "domain": DOMAIN,
        "uuid": NAMES.uuid("frontend"),
        "xml": xml,
        "ready_event": "ready",
        "edition": files["leasehold/edition"].strip(),
    }


def until_ready(machine: Machine, args: Mapping[str, Any]) -> Reply:
    """As the passes ask: again after what may go away."""
    last: list[Reply] = []

    def is_ready() -> bool:
        last[:] = machine.ask(("xen", "present", args), timeout_s=600)
        assert last[0].error is None or last[0].error.retryable, last[0].error
        return last[0].state == "present"

    patiently(is_ready, lambda: f"{last[0]}\n{console(machine)}")
    return last[0]


def console(machine: Machine) -> str:
    return machine.run("tail", "-c", "3000", f"{DIR}/domains/guest-{DOMAIN}.log", check=False)


def domains(machine: Machine) -> set[str]:
    listed = machine.run("virsh", "-q", "-c", "xen:///system", "list", "--all", "--name")
    return set(listed.split())


def test_a_frontend_boots_reports_follows_a_new_edition_and_goes(x1: Machine, disks: None) -> None:
    files, before = site(), domains(x1)
    x1.changed("vlan", "present", NETWORK)
    x1.changed("iso", "present", iso(files))
    with x1.begin(("xen", "present", guest(files))) as dying:
        assert dying.stdout is not None
        dying.stdout.readline()
        patiently(lambda: domains(x1) - before, lambda: "it was not defined", every_s=0)
        dying.kill()  # with the guest being started: whoever asks next finds it, or starts it
    (reply,) = x1.ask(("xen", "present", guest(files)), timeout_s=600)
    assert (reply.state == "pending") or (reply.error and reply.error.code == "busy"), reply
    reply = until_ready(x1, guest(files))
    assert reply.seen["report"]["node"] == "frontend"
    assert x1.refusal("vlan", "absent", NETWORK)[0] == "busy"

    anew = site(mtu=1400)
    x1.changed("iso", "present", iso(anew))
    (reply,) = x1.ask(("xen", "present", guest(anew)), timeout_s=600)
    assert [word.split()[4] for word in reply.did if word.startswith("virsh")] == [
        "define",
        "detach-disk",
        "attach-device",
    ]
    until_ready(x1, guest(anew))

    x1.changed("xen", "absent", guest(anew))
    for edition in (files, anew):
        x1.changed("iso", "absent", iso(edition))
    x1.changed("vlan", "absent", NETWORK)
    assert domains(x1) == before
    assert x1.run("ls", f"{DIR}/domains") == ""


def test_a_guest_that_the_memory_left_by_dom0_does_not_hold_is_refused(x1: Machine, disks: None) -> None:
    code, message = x1.refusal("xen", "present", guest(site(), memory_mib=4096))
    assert code == "no_space"
    assert "4096 MiB" in message
    assert domains(x1) == {"Domain-0"}


def test_a_guest_whose_disk_is_not_there_is_not_started(x1: Machine) -> None:
    code, message = x1.refusal("xen", "present", guest(site()))
    assert (code, DISKS["root"] in message) == ("busy", True)


def test_a_domain_of_somebody_else_s_is_left_alone(x1: Machine) -> None:
    xml = f"<domain type='xen'><name>{DOMAIN}</name><memory unit='MiB'>64</memory>"
    xml += "<os><type machine='xenpv'>linux</type><kernel>/boot/none</kernel></os></domain>"
    x1.run("virsh", "-q", "-c", "xen:///system", "define", "/dev/stdin", text=xml)
    try:
        for want in ("present", "absent"):
            assert x1.refusal("xen", want, guest(site()))[0] == "not_ours"
    finally:
        x1.run("virsh", "-q", "-c", "xen:///system", "undefine", DOMAIN)


def test_what_guests_can_have_of_the_host_is_told(x1: Machine) -> None:
    """R31: dom0 has but a part of it, which must not be booked a second time."""
    (reply,) = x1.ask(("facts", "present", {}))
    xen = reply.seen["xen"]
    assert all(xen[what] for what in ("libvirt", "grub", "console", "dom0_is_fixed")), xen
    told = dict(line.split(":", 1) for line in x1.run("xl", "info").splitlines())
    total = {key.strip(): value.strip() for key, value in told.items()}["total_memory"]
    assert 1024 < reply.seen["memory_mib"] < int(total) - 1024
