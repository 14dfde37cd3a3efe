# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a lab consists of: its hosts, names, addresses and folders. Pure: nothing is asked or done here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/leasehold-lab")
IMAGE_CACHE = Path("/var/cache/leasehold/images")
HOST_DIR = Path("/var/lib/leasehold")
PUBLIC_BRIDGE = "br-public"

# The number is the third byte of both networks, so that labs stand side by side. A name has seven letters
# at most: with the mark before it, it must fit a link name (15).
NUMBERS = {"demo": 0, "test": 1, "bench": 2} | {f"dev{number}": number for number in range(3, 10)}


@dataclass(frozen=True)
class Host:
    """One host of the lab: `number` is the last byte of its address, `daemons` what runs beside sshd."""

    name: str
    number: int
    roles: tuple[str, ...]
    daemons: tuple[str, ...]


HOSTS = (
    Host("gw1", 11, ("gateway",), ("sshd", "libvirtd")),
    Host("c1", 12, ("compute",), ("sshd", "libvirtd")),
    Host("c2", 13, ("compute",), ("sshd", "libvirtd")),
    Host("st1", 14, ("storage", "builder"), ("sshd", "tgtd")),
)


@dataclass(frozen=True)
class Lab:
    """One lab by its name. Everything it makes is called `mark`-something or lies below `state`."""

    name: str
    number: int

    @property
    def mark(self) -> str:
        return f"lhlab-{self.name}"

    @property
    def state(self) -> Path:
        return STATE / self.name

    @property
    def switch(self) -> str:
        """The network namespace with the two bridges."""
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

    def folder(self, host: Host) -> Path:
        """What the host keeps over a restart, on the machine's file system."""
        return self.state / "hosts" / host.name

    def host(self, name: str) -> Host:
        """The host called `name`; ValueError names those there are."""
        for host in HOSTS:
            if host.name == name:
                return host
        raise ValueError(f"no host {name!r} in the lab; there are {', '.join(host.name for host in HOSTS)}")


def lab(name: str) -> Lab:
    """The lab called `name`; ValueError names the allowed ones."""
    if name not in NUMBERS:
        raise ValueError(f"no lab {name!r}; there are {', '.join(NUMBERS)}")
    return Lab(name, NUMBERS[name])


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
            for host in HOSTS
        ],
    }
