# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a lab consists of: its hosts, names, addresses and folders. Pure: nothing is asked or done here."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

STATE = Path("/var/lib/leasehold-lab")
IMAGE_CACHE = Path("/var/cache/leasehold/images")
HOST_DIR = Path("/var/lib/leasehold")
PUBLIC_BRIDGE = "br-public"
# Of the lab's switch. The trunk carries the tagged frames of machine hosts; this machine has no cable to it.
BRIDGES = ("underlay", "public", "trunk")


@dataclass(frozen=True)
class Host:
    """One host of the lab: `number` is the last byte of its address, `daemons` what must answer on it.

    A "namespace" host shares this machine's kernel and file system; a "machine" is one in QEMU, with Debian's
    kernel. With "xen" among its daemons a machine boots Xen, and its Debian is dom0.
    """

    name: str
    number: int
    roles: tuple[str, ...]
    daemons: tuple[str, ...]
    kind: Literal["namespace", "machine"] = "namespace"


NAMESPACES = (
    Host("gw1", 11, ("gateway",), ("sshd", "libvirtd")),
    Host("c1", 12, ("compute",), ("sshd", "libvirtd")),
    Host("c2", 13, ("compute",), ("sshd", "libvirtd")),
    Host("st1", 14, ("storage", "builder"), ("sshd", "tgtd")),
)
MACHINES = (
    Host("x1", 21, ("gateway", "compute"), ("sshd", "xen"), "machine"),
    Host("x2", 22, ("compute",), ("sshd", "xen"), "machine"),
    Host("st1", 24, ("storage", "builder"), ("sshd",), "machine"),
)
MIXED = (NAMESPACES[0], NAMESPACES[1], NAMESPACES[3], MACHINES[1])

# Name of a lab -> its number and its hosts. The number is the third byte of both networks, so that labs stand
# side by side. A name has seven letters at most: with the mark before it, it must fit a link name (15).
LABS = {
    "demo": (0, NAMESPACES),
    "test": (1, NAMESPACES),
    "bench": (2, NAMESPACES),
    **{f"dev{number}": (number, NAMESPACES) for number in range(3, 10)},
    "machine": (10, MACHINES),
    **{f"mach{number}": (number, MACHINES) for number in range(11, 15)},
    "mixed": (15, MIXED),
    "test2": (16, NAMESPACES),
}


@dataclass(frozen=True)
class Lab:
    """One lab by its name. Everything it makes is called `mark`-something or lies below `state`."""

    name: str
    number: int
    hosts: tuple[Host, ...]

    @property
    def mark(self) -> str:
        return f"lhlab-{self.name}"

    @property
    def state(self) -> Path:
        return STATE / self.name

    @property
    def switch(self) -> str:
        """The network namespace with the bridges."""
        return f"{self.mark}-sw"

    @property
    def underlay(self) -> str:
        return f"198.18.{self.number}"

    @property
    def public(self) -> str:
        return f"198.19.{self.number}"

    @property
    def machine_links(self) -> dict[str, str]:
        """The machine's own ends of its cables to the switch: link name -> its address with prefix."""
        return {f"{self.mark}-u": f"{self.underlay}.1/24", f"{self.mark}-p": f"{self.public}.1/24"}

    @property
    def operator_key(self) -> Path:
        return self.state / "operator_key"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    def netns(self, host: Host) -> str:
        return f"{self.mark}-{host.name}"

    def address(self, host: Host) -> str:
        return f"{self.underlay}.{host.number}"

    @property
    def hosts_file(self) -> str:
        """/etc/hosts of every host."""
        everybody = "".join(f"{self.address(host)} {host.name}\n" for host in self.hosts)
        return f"127.0.0.1 localhost\n::1 localhost\n{everybody}"

    def mac(self, host: Host, bridge: str) -> str:
        """The address of the host's network card on that bridge: the same after each start, or its neighbours
        would look for the old one for a minute."""
        return f"02:00:5e:{self.number:02x}:{BRIDGES.index(bridge):02x}:{host.number:02x}"

    def uuid(self, host: Host) -> uuid.UUID:
        """By which libvirt and systemd tell hosts apart."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.{self.mark}")

    def folder(self, host: Host) -> Path:
        """What the host keeps over a restart, on the machine's file system."""
        return self.state / "hosts" / host.name

    def host(self, name: str) -> Host:
        """The host called `name`; ValueError names those there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise ValueError(f"no host {name!r} in the lab; there are {', '.join(it.name for it in self.hosts)}")


def lab(name: str) -> Lab:
    """The lab called `name`; ValueError names the allowed ones."""
    if name not in LABS:
        raise ValueError(f"no lab {name!r}; there are {', '.join(LABS)}")
    return Lab(name, *LABS[name])


def description(lab: Lab, host_keys: dict[str, str], nameservers: list[str]) -> dict[str, Any]:
    """The content of lab.json: what a manager needs to know of the lab's site.

    `host_keys`: host name -> public key line; `nameservers`: those that hosts and guests can reach.
    """
    return {
        "name": lab.name,
        "state_dir": str(lab.state),
        "operator_key": str(lab.operator_key),
        "known_hosts": str(lab.known_hosts),
        "underlay": {"network": f"{lab.underlay}.0/24", "gateway": f"{lab.underlay}.1", "mtu": 1500},
        "public": {
            "network": f"{lab.public}.0/24",
            "gateway": f"{lab.public}.1",
            "first": f"{lab.public}.101",
            "last": f"{lab.public}.199",
            "bridge": PUBLIC_BRIDGE,
        },
        "dns": nameservers,
        "hosts": [
            {
                "name": host.name,
                "address": lab.address(host),
                "port": 22,
                "roles": list(host.roles),
                "host_key": host_keys[host.name],
                "dir": str(HOST_DIR),
            }
            for host in lab.hosts
        ],
    }
