# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The forced command holds what the roles need and no more; what a host lacks is said role by role."""

from dataclasses import replace
from typing import Any

import pytest

from app.db.site import HOST_ROLES
from app.domain.errors import SiteError
from app.settings import Network, Settings, Storage
from workers.engine.bootstrap import ROLE_OPS, ROLE_TOOLS, forced_line, lacking
from workers.engine.drivers import DRIVERS, PACKAGES

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFUX"
TOOLS = dict.fromkeys(PACKAGES, "1.0")


def line(*roles: str, folder: str = "/var/lib/leasehold", bridge: str = "br-public") -> str:
    return forced_line(KEY, folder=folder, mark="lh", roles=roles, public_bridges=[bridge], storage=Storage())


def test_forced_command_of_a_compute_host():
    assert line("compute") == (
        'restrict,command="/usr/bin/python3 -IS /var/lib/leasehold/helper.pyz serve --mark lh '
        f'--dir /var/lib/leasehold --ops vxlan,vlan,address,open_iscsi,domain,xen,null,report" {KEY} leasehold-manager'
    )


def test_only_a_gateway_may_use_the_public_bridge():
    assert "--public-bridge br-public" in line("gateway", "compute")
    for role in set(HOST_ROLES) - {"gateway"}:
        assert "br-public" not in line(role)


def test_roles_add_up_and_each_operation_is_named_once():
    ops = line("storage", "builder", "compute").split("--ops ")[1].split()[0].split(",")
    assert len(ops) == len(set(ops))
    assert set(ops) == {*ROLE_OPS["storage"], *ROLE_OPS["builder"], *ROLE_OPS["compute"]}


def test_every_role_has_its_operations_and_tools():
    assert set(ROLE_OPS) == set(ROLE_TOOLS) == set(HOST_ROLES)
    tools = [*ROLE_TOOLS.values(), *(driver.tools for driver in DRIVERS)]
    assert {tool for group in tools for tool in group} == set(PACKAGES) - {"qemu-system-x86_64"}


@pytest.mark.parametrize("word", ["/var/lib/a b", '/x"', "/x;rm", "/x$(id)", "/x\n", "/ü", "/x'", ""])
def test_nothing_a_shell_would_act_on_gets_into_the_forced_command(word):
    with pytest.raises(SiteError, match="forced command"):
        line("gateway", folder=word)
    with pytest.raises(SiteError, match="forced command"):
        line("gateway", bridge=word)


def test_a_complete_host_lacks_nothing():
    assert lacking(HOST_ROLES, {"tools": TOOLS, "virt_type": "qemu"}, Settings()) == {}


def test_what_is_missing_is_named_for_each_role_with_its_package():
    facts = {"tools": {**TOOLS, "tgtadm": None}, "virt_type": None}
    lacks = lacking(["storage", "builder"], facts, Settings())
    assert lacks == {"storage": ["export tgt: tgtadm is missing: apt install tgt"]}


def test_a_host_that_starts_no_guest_is_no_compute_host():
    lacks = lacking(["compute", "storage"], {"tools": TOOLS, "virt_type": None}, Settings())
    assert list(lacks) == ["compute"]
    assert "qemu-system-x86" in lacks["compute"][0]


KERNEL = Settings(
    network=Network(driver="vlan", last_id=1999, parent="eth1"),
    storage=Storage(volume="lvm", export="lio", attach="open_iscsi", volume_group="vg0"),
)
XEN = Settings(hypervisor="xen", storage=Storage(attach="open_iscsi"))
MODULES = {module: True for driver in DRIVERS for module in driver.modules}
ABLE: dict[str, Any] = {
    "tools": TOOLS,
    "virt_type": "kvm",
    "kernel": "6.1.0-56-amd64",
    "modules": MODULES,
    "links": [{"name": "eth1"}],
    "initiator": "iqn.1993-08.org.debian:01:7c1f0f2b8a11",
    "xen": {"libvirt": True, "grub": True, "dom0_is_fixed": True, "console": True},
    "pool": {"size_mib": 1000, "free_mib": 900, "data_percent": 10.0, "metadata_percent": 11.0},
    "group": {"size_mib": 2000, "free_mib": 1000},
}


def test_a_host_with_all_that_the_site_s_drivers_need_lacks_nothing():
    assert lacking(HOST_ROLES, ABLE, KERNEL) == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"xen": None}, "this is not Xen's dom0: apt install xen-system-amd64"),
        ({"xen": {**ABLE["xen"], "libvirt": False}}, "apt install libvirt-daemon-driver-xen"),
        ({"xen": {**ABLE["xen"], "grub": False}}, "apt install grub-xen-host"),
        ({"xen": {**ABLE["xen"], "dom0_is_fixed": False}}, "put dom0_mem="),
        ({"xen": {**ABLE["xen"], "console": False}}, "--log=guest --log-dir=/var/lib/leasehold/domains"),
        ({"tools": {**TOOLS, "virsh": None}}, "virsh is missing"),
    ],
)
def test_what_a_host_lacks_to_run_guests_under_xen_is_said(change, says):
    assert lacking(["compute"], {**ABLE, "virt_type": None}, XEN) == {}, "QEMU is not asked for"
    (words,) = lacking(["compute"], {**ABLE, **change}, XEN)["compute"]
    assert words.startswith("hypervisor xen: ")
    assert says in words


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"group": {"error": 'Volume group "vg0" not found'}}, 'Volume group "vg0" not found'),
        ({"group": {"size_mib": 2000, "free_mib": 0}}, "vg0 has no free extents: extend it"),
        ({"group": None}, "has not told of its volume group"),
        ({"modules": {**MODULES, "dm_mod": False}}, "has no module dm_mod"),
    ],
)
def test_what_a_host_lacks_for_thick_volumes_is_said(change, says):
    thick = replace(KERNEL, storage=replace(KERNEL.storage, volume="lvm_thick"))
    without_pool = {**ABLE, "pool": {"error": "there is no thin pool vg0/pool"}}
    assert lacking(["storage"], without_pool, thick) == {}, "no pool is needed"
    lent = {**ABLE, "group": {"size_mib": 2000, "free_mib": 0, "lent_mib": 1500}}
    assert lacking(["storage"], lent, thick) == {}, "that all of it is lent is no fault"
    (words,) = lacking(["storage"], {**ABLE, **change}, thick)["storage"]
    assert words.startswith("volume lvm_thick: ")
    assert says in words


@pytest.mark.parametrize(
    ("role", "change", "says"),
    [
        (
            "storage",
            {"pool": {"error": "there is no thin pool vg0/pool"}},
            "volume lvm: there is no thin pool",
        ),
        ("storage", {"pool": {**ABLE["pool"], "metadata_percent": 95.0}}, "vg0/pool is 95 % full"),
        (
            "storage",
            {"tools": {**TOOLS, "targetctl": None}},
            "export lio: targetctl is missing: apt install targ",
        ),
        (
            "storage",
            {"modules": {**MODULES, "dm_thin_pool": False}},
            "6.1.0-56-amd64 has no module dm_thin_pool",
        ),
        ("compute", {"modules": {**MODULES, "iscsi_tcp": False}}, "attach open_iscsi: the kernel"),
        ("compute", {"initiator": None}, "holds no initiator name"),
        (
            "compute",
            {"initiator": "iqn.2026-11.lab:c1"},
            "'iqn.2026-11.lab:c1', which the kernel's target does",
        ),
        ("gateway", {"initiator": "iqn.2026-11.org.Example:GW1"}, "all in lower case"),
        ("gateway", {"links": []}, "network vlan: there is no link eth1"),
        ("gateway", {"modules": {}}, "no module 8021q"),
        ("storage", {"links": []}, "portal own network: there is no link eth1"),
        ("compute", {"tools": {**TOOLS, "nft": None}}, "nft is missing: apt install nftables"),
    ],
)
def test_what_the_site_s_choice_of_drivers_lacks_on_a_host_is_said(role, change, says):
    (words,) = [word for word in lacking([role], {**ABLE, **change}, KERNEL)[role] if says in word]
    assert words.startswith(("network ", "volume ", "export ", "attach ", "portal "))
    assert lacking([role], {**ABLE, **change}, Settings()) == {}, "only what was chosen has to fit"
