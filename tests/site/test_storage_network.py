# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A storage network apart: disks travel there, and tunnels between the hosts' data addresses as before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import lab as labs
from lab import network
from lab.plan import Host, Lab
from lab.site import LEASEHOLD
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

SWITCH, NIC = "disks", "eth2"
MIB = 1 << 20


def address(host: Host) -> str:
    return f"192.0.2.{host.number}"


@contextmanager
def storage_network(lab: Lab) -> Iterator[None]:
    """Every host has another interface, and these are joined by a switch of their own."""
    network.ip("link", "add", SWITCH, "type", "bridge", "mcast_snooping", "0", netns=lab.switch)
    try:
        network.ip("link", "set", SWITCH, *network.MUTE, netns=lab.switch)
        network.ip("link", "set", SWITCH, "up", netns=lab.switch)
        for host in lab.hosts:
            port, netns = f"{host.name}-{SWITCH}", lab.netns(host)
            peer = ("peer", "name", NIC, "netns", netns)
            network.ip("link", "add", port, "type", "veth", *peer, netns=lab.switch)
            network.ip("link", "set", port, "master", SWITCH, "up", netns=lab.switch)
            network.ip("address", "add", f"{address(host)}/24", "dev", NIC, netns=netns)
            network.ip("link", "set", NIC, "up", netns=netns)
        yield
    finally:
        for link in (*(f"{host.name}-{SWITCH}" for host in lab.hosts), SWITCH):
            network.ip("link", "del", link, netns=lab.switch, check=False)


@contextmanager
def listening(life: Life, host: Host) -> Iterator[None]:
    """The target of the storage host listens at its storage address, too, as one that is told nothing does."""
    portal = ["--mode", "portal", "--param", f"portal={address(host)}:3260"]
    labs.on(life.lab, host, ["tgtadm", "--lld", "iscsi", "--op", "new", *portal])
    try:
        yield
    finally:
        labs.on(life.lab, host, ["tgtadm", "--lld", "iscsi", "--op", "delete", *portal])


def add_again(life: Life, host: Host) -> None:
    """Tell the site of the host's storage address, as an operator does."""
    roles = [word for role in host.roles for word in ("--role", role)]
    words = ["host", "add", host.name, life.lab.address(host), *roles, "--storage-address", address(host)]
    words += ["--identity", str(life.lab.operator_key)]
    done = subprocess.run(
        [str(LEASEHOLD), *words], env=life.site.environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr


def sent(life: Life, host: Host, nic: str) -> int:
    """The bytes that the host has sent there."""
    return int(labs.on(life.lab, host, ["cat", f"/sys/class/net/{nic}/statistics/tx_bytes"]).stdout)


def test_disks_travel_over_the_storage_network_alone(new_life: Callable[..., Life]) -> None:
    life = new_life()
    storage = life.lab.host("st1")
    with storage_network(life.lab), listening(life, storage):
        for host in life.lab.hosts:
            add_again(life, host)
        before = sent(life, storage, "eth0")
        booked = life.book(computes=1)
        with life.passes():
            life.wait(booked, "ready", READY_WITHIN_S)
            shown = labs.on(
                life.lab, storage, ["tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show"]
            )
            logged_in = re.findall(r"IP Address: (\S+)", shown.stdout)
            assert len(logged_in) == 3, "both disks of the frontend and one of the node"
            assert set(logged_in) <= {address(host) for host in life.lab.hosts}
            over_apart, over_data = sent(life, storage, NIC), sent(life, storage, "eth0") - before
            assert over_apart > 10 * MIB > 5 * over_data, (over_apart, over_data)
            ends = [row.args["local"] for row in life.rows(booked) if row.op == "vxlan"]
            assert len(ends) == 2
            assert all(end.startswith(life.lab.underlay) for end in ends), "tunnels end where they did"
            life.cancel(booked)
            life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)
