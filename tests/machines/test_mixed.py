# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A lab, and a site, of both kinds of hosts: one that shares this machine's kernel and one with a kernel of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lab import lifecycle, plan
from lab.plan import Lab
from tests.machines.machine import Machine, connected, left_on, make_site
from tests.machines.trunk import guest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

KEY = "lh7"
HOSTS = ("c1", "x2")
STATION = f"""ip link add {KEY}-t1 type veth peer name {KEY}-t2
ip link set {KEY}-t1 master {KEY}-br up
ip address add 10.20.0.1/16 dev {KEY}-t2
ip link set {KEY}-t2 up"""


@pytest.fixture
def mixed() -> Iterator[Lab]:
    lifecycle.up("mixed", fresh=True, only=HOSTS)
    try:
        yield plan.lab("mixed")
    finally:
        lifecycle.down("mixed")


def network(mine: Machine, other: Machine) -> dict[str, Any]:
    local, peer = (one.lab.address(one.lab.host(one.name)) for one in (mine, other))
    names = {"link": f"{KEY}-vx", "bridge": f"{KEY}-br", "alias": f"leasehold:{KEY}"}
    return {**names, "vni": 77, "local": local, "peers": [peer], "mtu": 1450}


def test_a_cluster_s_network_joins_hosts_of_both_kinds(
    mixed: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = make_site(tmp_path_factory.mktemp("mixed"), mixed, HOSTS)
    with connected(mixed, "c1", site) as c1, connected(mixed, "x2", site) as x2:
        kernels = {machine.run("cat", "/proc/sys/kernel/random/boot_id") for machine in (c1, x2)}
        assert len(kernels) == 2
        before = [left_on(machine)["links"] for machine in (c1, x2)]
        for mine, other in ((c1, x2), (x2, c1)):
            mine.changed("vxlan", "present", network(mine, other))
        # A namespace host answers itself: it may have no namespaces of its own where all of this is in a chroot.
        c1.run("sh", "-ec", STATION)
        with guest(x2, KEY, "10.20.0.2") as station:
            x2.run("ip", "netns", "exec", station, "ping", "-q", "-c", "3", "-W", "9", "10.20.0.1")
        c1.run("ip", "link", "del", f"{KEY}-t1")
        for mine, other in ((c1, x2), (x2, c1)):
            mine.changed("vxlan", "absent", network(mine, other))
        assert [left_on(machine)["links"] for machine in (c1, x2)] == before
