# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Two clusters of Xen guests at once on the same hosts, with the same private subnet, by the ordinary passes.

Their disks are clones of golden volumes, exported by the kernel's target on each cluster's own VLAN, and logged in to
by the hosts. Whatever is in one cluster's network is tried from the other's, and a capture on the trunk shows the tag
of each frame. The guests are tiny ones, whose frontends say by HTTP which cluster's they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from app.db.base import Database
from app.db.software import read_rolls
from app.domain.roll import KINDS, resolve
from app.settings import Storage, load
from lab import site as sites
from lab import tiny
from lab.plan import IMAGE_CACHE, Lab
from lab.site import Site
from tests.machines.machine import SETTINGS, Machine, left_on
from tests.machines.trunk import captured, guest
from tests.site.life import ROLLS, Life, event_kinds, tiny_images
from workers.plan.image import plan_image
from workers.plan.naming import Names

pytestmark = [pytest.mark.machine, pytest.mark.slow, pytest.mark.timeout(5000)]

READY_WITHIN_S = 2000
ENDED_WITHIN_S = 900
OURS: dict[str, dict[str, Any]] = {
    "": {"hypervisor": "xen"},
    "booking": {"frontend_memory_mib": 256},
}
HEAD, NODE, STATION = "10.20.0.1", "10.20.1.1", "10.20.1.200"

# Run in a guest's place on a cluster's bridge: which of these addresses answer, which portals take a connection, which
# neighbours are behind addresses, what is read from web servers, and what a DHCP server offers to these MAC addresses.
TRY = r"""
import json, socket, struct, subprocess, sys, time, urllib.request
asked = json.loads(sys.argv[1])

def answers(ip):
    ping = ["ping", "-q", "-c", "3", "-W", "3", ip]
    return subprocess.run(ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

def neighbour(ip):
    shown = subprocess.run(["ip", "-json", "neigh", "show", "to", ip, "dev", "eth0"], capture_output=True, text=True)
    return next((one["lladdr"] for one in json.loads(shown.stdout or "[]") if "lladdr" in one), None)

def connects(ip, port):
    try:
        socket.create_connection((ip, port), 8).close()
    except OSError:
        return False
    return True

def page(ip):
    try:
        return urllib.request.urlopen(f"http://{ip}/", timeout=8).read().decode().strip()
    except OSError:
        return None

def offer(mac):
    raw = bytes.fromhex(mac.replace(":", ""))
    discover = struct.pack("!4B4sHH16x6s10x192x4s", 1, 1, 6, 0, raw[2:], 0, 0x8000, raw, b"\x63\x82\x53\x63")
    discover += bytes([53, 1, 1, 61, 7, 1]) + raw + b"\xff"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.bind(("", 68))
        sock.settimeout(1)
        for _ in range(3):
            sock.sendto(discover.ljust(300, b"\0"), ("255.255.255.255", 67))
            until = time.monotonic() + 4
            while time.monotonic() < until:
                try:
                    said = sock.recv(2048)
                except TimeoutError:
                    continue
                if said[0] == 2 and said[4:8] == raw[2:]:
                    return socket.inet_ntoa(said[16:20])
    return None

print(json.dumps({
    "answers": [ip for ip in asked["addresses"] if answers(ip)],
    "portals": [ip for ip in asked["portals"] if connects(ip, 3260)],
    "neighbours": {ip: neighbour(ip) for ip in asked["addresses"]},
    "pages": {ip: page(ip) for ip in asked["pages"]},
    "offers": {mac: offer(mac) for mac in asked["macs"]},
}))
"""


@pytest.fixture(scope="session")
def site(machine_lab: Lab, machine_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of the machine hosts with guests under Xen; its database and keys stay the same.

    The golden images stay as long as the hosts do: they are the site's, which looks for them again after a reboot.
    """
    described = json.loads((machine_lab.state / "lab.json").read_text())
    # An image's name depends on it: labs and tests share the cache, and nothing is fetched from there.
    source: dict[str, Any] = {"suite": "figure", "mirror": f"http://{machine_lab.mark}.invalid"}
    settings = {name: SETTINGS.get(name, {}) | OURS.get(name, {}) for name in {*SETTINGS, *OURS}}
    settings["image"] = source
    site = Site(tmp_path_factory.mktemp("figure3"), machine_site.passwords)
    site.config.write_text(sites.configuration(machine_site.folder, described, None, settings))
    rolls, disks = read_rolls(Path(load(str(site.config)).rolls_dir)), {}
    for kind in KINDS:
        wanted = resolve(rolls, {"base", kind, *ROLLS})
        disks[plan_image(kind, wanted, **source).name] = tiny.image(kind)
    tiny_images(disks, IMAGE_CACHE)
    yield site
    for name in disks:
        (IMAGE_CACHE / f"{name}.raw").unlink()


@pytest.fixture
def life(machine_lab: Lab, site: Site) -> Iterator[Life]:
    """That site with its database."""
    database = Database(load(str(site.config)).database)
    yield Life(machine_lab, site, database, {})
    database.close()


@dataclass(frozen=True)
class Cluster:
    """A ready cluster. `own` is the public address, which its frontend answers for in the private network too and which
    no other cluster has; `portal` is the storage host's address in its network."""

    called: str
    names: Names
    vid: int
    own: str
    portal: IPv4Interface

    @property
    def beside_portal(self) -> str:
        """An address in its storage network that is nobody's, with prefix."""
        return f"{self.portal.network[200]}/{self.portal.network.prefixlen}"


def cluster(life: Life, booked: int) -> Cluster:
    """What its rows say."""
    row = life.reservation(booked)
    return Cluster(
        called=row.name,
        names=Names("lh", booked, Storage().iqn_base),
        vid=life.row(booked, "vlan", "st1").args["vid"],
        own=str(row.public_address),
        portal=IPv4Interface(life.row(booked, "address", "st1").args["address"]),
    )


def tried(machine: Machine, namespace: str, mine: Cluster, other: Cluster) -> dict[str, Any]:
    """What of both clusters answers a station in the network of `mine` that looks there for everything."""
    for words in (
        *(("address", "add", one.beside_portal, "dev", "eth0") for one in (mine, other)),
        ("route", "add", "default", "dev", "eth0"),
    ):
        machine.run("ip", "-n", namespace, *words)
    portals = [str(mine.portal.ip), str(other.portal.ip)]
    asked = {
        "addresses": [HEAD, NODE, mine.own, other.own, portals[1]],
        "portals": portals,
        "pages": [HEAD, mine.own, other.own],
        "macs": [mine.names.mac(1, 0), other.names.mac(1, 0)],
    }
    argv = ("ip", "netns", "exec", namespace, "/usr/bin/python3", "-c", TRY, json.dumps(asked))
    said: dict[str, Any] = json.loads(machine.run(*argv))
    return said


def expected(mine: Cluster, other: Cluster) -> dict[str, Any]:
    """Everything of its own cluster, and nothing of the other."""
    head, node, portal = mine.names.mac(0, 0), mine.names.mac(1, 0), str(other.portal.ip)
    return {
        "answers": [HEAD, NODE, mine.own],
        "portals": [str(mine.portal.ip)],
        "neighbours": {HEAD: head, NODE: node, mine.own: head, other.own: None, portal: None},
        "pages": {HEAD: mine.called, mine.own: mine.called, other.own: None},
        "offers": {node: NODE, other.names.mac(1, 0): None},
    }


def test_two_clusters_on_the_same_xen_hosts_pass_their_acceptance_tests_and_do_not_reach_each_other(
    life: Life, st1: Machine, x1: Machine, x2: Machine
) -> None:
    machines = (st1, x1, x2)
    before = [left_on(machine) for machine in machines]
    booked = [life.book(computes=1) for _ in range(2)]
    with life.passes():
        for one in booked:
            life.wait(one, "ready", READY_WITHIN_S)
            report = life.row(one, "report", "x1").seen["report"]
            assert report["ok"], report
        on = [{row.host_id for row in life.rows(one) if row.op == "xen"} for one in booked]
        assert on[0] == on[1] == {life.host("x1").id, life.host("x2").id}, "both stand on both hosts"
        nothing_of_one_is_seen_in_the_other(life.lab, x2, [cluster(life, one) for one in booked])
        for one in booked:
            life.let_the_slot_end(one)
        for one in booked:
            life.wait(one, "ended", ENDED_WITHIN_S)
    assert [left_on(machine) for machine in machines] == before
    for one in booked:
        assert life.held(one) == (0, 0)
        assert event_kinds(life, one)[-3:] == ["ready", "ending", "ended"], life.tell(one)


def nothing_of_one_is_seen_in_the_other(lab: Lab, x2: Machine, clusters: list[Cluster]) -> None:
    """R13, R43: ARP, ping, TCP, iSCSI portal and DHCP, from a station on each cluster's bridge of x2."""
    one, two = clusters
    with ExitStack() as stations, captured(lab, "x1") as frames:
        for mine, other in ((one, two), (two, one)):
            namespace = stations.enter_context(guest(x2, mine.names.key, STATION, 9))
            assert tried(x2, namespace, mine, other) == expected(mine, other)
    assert {frame.vid for frame in frames} == {one.vid, two.vid}, "there is none without a tag"
    for mine in clusters:
        of_guests = mine.names.mac(0, 0)[:11]  # what is the same in all of a cluster's addresses
        ends = [f for f in frames if f.source.startswith(of_guests) or f.target.startswith(of_guests)]
        assert {frame.vid for frame in ends} == {mine.vid}
        assert {f.vid for f in frames if f"{mine.portal.ip}.3260" in f.words} == {mine.vid}
        asking = {frame.vid for frame in frames if f"who-has {mine.own}" in frame.words}
        answers = {frame.vid for frame in frames if f"{mine.own} is-at" in frame.words}
        assert (asking, answers) == ({one.vid, two.vid}, {mine.vid})
