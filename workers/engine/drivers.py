# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which drivers a site has chosen, and what of each a host lacks; pure, from the helper's facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.settings import Settings
from workers.node import names

Facts = Mapping[str, Any]
# The programs of roles and drivers: name in the helper's facts -> Debian packages that bring it.
PACKAGES = {
    "virsh": "libvirt-daemon-system libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86 qemu-block-extra",
    "xorriso": "xorriso",
    "tgtadm": "tgt",
    "lvs": "lvm2 thin-provisioning-tools",
    "targetctl": "targetcli-fb",
    "iscsiadm": "open-iscsi",
    "nft": "nftables",
    "qemu-img": "qemu-utils",
    "fai-diskimage": "fai-server fai-setup-storage",
}
GUEST_HOSTS = ("gateway", "compute")
INITIATOR = "/etc/iscsi/initiatorname.iscsi"


def _nothing(settings: Settings, facts: Facts) -> list[str]:
    return []


def _parent(settings: Settings, facts: Facts) -> list[str]:
    parent = settings.network.parent
    if parent in {link.get("name") for link in facts.get("links") or []}:
        return []
    return [f"there is no link {parent}, which network.parent names: set it to the trunk's"]


def _pool(settings: Settings, facts: Facts) -> list[str]:
    storage, pool = settings.storage, facts.get("pool") or {}
    if not pool.get("error"):
        full = max(pool.get("data_percent") or 0, pool.get("metadata_percent") or 0)
        if full < storage.full_percent:
            return []
        return [f"thin pool {storage.volume_group}/{storage.thin_pool} is {full:g} % full: extend it"]
    return [str(pool["error"])]


def _group(settings: Settings, facts: Facts) -> list[str]:
    group = facts.get("group") or {"error": "the host has not told of its volume group"}
    if group.get("error"):
        return [str(group["error"])]
    if group.get("free_mib") or group.get("lent_mib"):
        return []
    return [f"volume group {settings.storage.volume_group} has no free extents: extend it (vgextend)"]


def initiator(settings: Settings, facts: Facts) -> list[str]:
    """What is wrong with the name by which the host logs in to targets; the kernel's target does not take every one."""
    name = str(facts.get("initiator") or "")
    if not name:
        return [f"{INITIATOR} holds no initiator name: apt install open-iscsi writes one"]
    if settings.storage.export != "lio" or names.is_initiator(name):
        return []
    return [
        f"{INITIATOR} holds {names.show(name)}, which the kernel's target does not take: put in InitiatorName= with"
        " iqn., year-month, a domain of two parts or more backwards, a colon and a name of the host's own, all in lower"
        " case, like iqn.2026-11.org.example:c1 (or eui. or naa. and 16 hexadecimal digits), and restart open-iscsi"
    ]


def _qemu(settings: Settings, facts: Facts) -> list[str]:
    if facts.get("virt_type"):
        return []
    packages = PACKAGES["qemu-system-x86_64"]
    return [f"no guest could be started, neither with kvm nor with qemu: apt install {packages}"]


def _xen(settings: Settings, facts: Facts) -> list[str]:
    xen, log = facts.get("xen"), f"--log=guest --log-dir={settings.host_dir}/domains"
    if not xen:
        return ["this is not Xen's dom0: apt install xen-system-amd64, and boot Xen"]
    needs = {
        "libvirt": "libvirt does not answer for Xen: apt install libvirt-daemon-driver-xen",
        "grub": "there is nothing that boots a guest: apt install grub-xen-host",
        "dom0_is_fixed": "dom0 may take the memory that is booked: put dom0_mem=4G,max:4G on Xen's command line",
        "console": f'consoles are not kept: put XENCONSOLED_ARGS="{log}" into /etc/default/xen, and reboot',
    }
    return [words for need, words in needs.items() if not xen.get(need)]


@dataclass(frozen=True)
class Driver:
    """A driver: the roles whose hosts need it, its programs, kernel modules, and whatever else it asks for."""

    kind: str
    name: str
    roles: tuple[str, ...]
    tools: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    more: Callable[[Settings, Facts], list[str]] = _nothing

    def lacks(self, settings: Settings, facts: Facts) -> list[str]:
        """What a host with these facts misses for it, one sentence each."""
        tools, modules = facts.get("tools") or {}, facts.get("modules") or {}
        words = [
            f"{tool} is missing: apt install {PACKAGES[tool]}" for tool in self.tools if not tools.get(tool)
        ]
        words += [
            f"the kernel {facts.get('kernel')} has no module {module}: boot Debian's linux-image-amd64"
            for module in self.modules
            if not modules.get(module)
        ]
        return words or self.more(settings, facts)


DRIVERS = (
    Driver("hypervisor", "libvirt", GUEST_HOSTS, ("virsh",), (), _qemu),
    Driver("hypervisor", "xen", GUEST_HOSTS, ("virsh",), (), _xen),
    Driver("network", "vlan", GUEST_HOSTS, (), ("8021q",), _parent),
    Driver("network", "vxlan", GUEST_HOSTS),
    Driver("volume", "file", ("storage",)),
    Driver("volume", "lvm", ("storage",), ("lvs",), ("dm_thin_pool",), _pool),
    Driver("volume", "lvm_thick", ("storage",), ("lvs",), ("dm_mod",), _group),
    Driver("export", "tgt", ("storage",), ("tgtadm",)),
    Driver(
        "export",
        "lio",
        ("storage",),
        ("targetctl",),
        ("target_core_mod", "target_core_iblock", "iscsi_target_mod"),
    ),
    Driver("portal", "own network", GUEST_HOSTS, ("nft",), ("nf_tables",)),
    Driver("portal", "own network", ("storage",), ("nft",), ("8021q", "nf_tables"), _parent),
    Driver("attach", "qemu", GUEST_HOSTS),
    Driver("attach", "open_iscsi", GUEST_HOSTS, ("iscsiadm",), ("iscsi_tcp",), initiator),
)


def fitting(roles: Iterable[str], settings: Settings) -> list[tuple[Driver, bool]]:
    """The drivers that concern a host of these roles, each with whether the site has chosen it."""
    chosen = {
        "hypervisor": settings.hypervisor,
        "network": settings.network.driver,
        "volume": settings.storage.volume,
        "export": settings.storage.export,
        "attach": settings.storage.attach,
        "portal": "own network" if settings.portals else "data address",
    }
    held = set(roles)
    # Without disks there is nothing to keep, to export or to attach; the null hypervisor attaches none itself.
    kinds = {"network"} if (settings.hypervisor, settings.storage.attach) == ("null", "qemu") else set(chosen)
    return [
        (driver, driver.kind in kinds and chosen[driver.kind] == driver.name)
        for driver in DRIVERS
        if held & set(driver.roles)
    ]
