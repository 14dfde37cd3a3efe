# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Machine hosts are what the lab says they are, and a site takes them in like any others."""

import json
from pathlib import Path

import pytest

from lab import lifecycle
from lab.plan import Lab
from lab.site import leasehold
from tests.machines.machine import Machine

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]


def test_every_host_answers_and_has_a_kernel_of_its_own(
    machine_lab: Lab, x1: Machine, x2: Machine, st1: Machine
) -> None:
    status = lifecycle.status(machine_lab.name)
    assert {name: set(daemons.values()) for name, daemons in status.items()} == {
        host.name: {""} for host in machine_lab.hosts
    }
    assert x1.run("cat", "/sys/hypervisor/type").strip() == "xen"
    assert "Domain-0" in x1.run("virsh", "-q", "list")
    for machine in (x1, x2, st1):
        machine.run("modprobe", "-a", "8021q", "dm_thin_pool", "iscsi_tcp", "target_core_mod")
        boot_id = machine.run("cat", "/proc/sys/kernel/random/boot_id")
        assert boot_id != Path("/proc/sys/kernel/random/boot_id").read_text()


def test_storage_host_has_a_thin_pool_and_sees_the_golden_images(st1: Machine) -> None:
    report = json.loads(st1.run("lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_layout"))
    assert {"vg_name": "leasehold", "lv_name": "pool", "lv_layout": "thin,pool"} in report["report"][0]["lv"]
    assert "images /var/lib/leasehold/images 9p ro" in st1.run("cat", "/proc/mounts")


def test_hosts_are_added_with_their_facts(machine_lab: Lab, x1: Machine, x2: Machine, st1: Machine) -> None:
    listed = json.loads(leasehold(x1.site, "host", "list", "--json"))
    assert {host["name"]: host["state"] for host in listed} == {
        host.name: "enabled" for host in machine_lab.hosts
    }
    facts = json.loads(leasehold(x1.site, "host", "show", "x1", "--json"))["facts"]
    assert f"{machine_lab.address(machine_lab.host('x1'))}/24" in facts["addresses"]
    assert {"eth0", "eth1", "eth2", "br-public"} <= {link["name"] for link in facts["links"]}
