# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Every name we make on a host, chosen from the reservation's number before any host is called.

All begin with the site's mark and that number, so a repeat meets its own work, an orphan leads back to its row, and
whatever lacks the mark is left alone.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

# VLAN IDs have 12 bits (IEEE 802.1Q).
VIDS = 4096
# IFNAMSIZ is 16 with the final NUL (linux/if.h).
LINK_NAME_MAX = 15
# What the volume that all nodes may write is called, and its disk's serial number in each of them.
SHARED = "shared"
NAMESPACE = uuid.UUID("5f1d5d6e-6c1c-5b0e-9c39-7c1f0f2b8a11")


@dataclass(frozen=True)
class Names:
    """The names of one reservation's things."""

    mark: str
    reservation: int
    iqn_base: str

    @property
    def key(self) -> str:
        """The stem of all names, like `lh7`."""
        return f"{self.mark}{self.reservation}"

    @property
    def alias(self) -> str:
        """The ifalias that marks a link as ours."""
        return f"leasehold:{self.key}"

    @property
    def bridge(self) -> str:
        """The bridge of the cluster's private network on a host."""
        return self._link("br")

    def uplink(self, driver: str) -> str:
        """The tagged or tunnel link behind the bridge."""
        return self._link({"vxlan": "vx", "vlan": "vl"}[driver])

    def tap(self, position: int) -> str:
        """The private tap of the node at this position."""
        return self._link(f"t{position}")

    @property
    def public_tap(self) -> str:
        """The frontend's tap on the public bridge."""
        return self._link("p0")

    def domain(self, node: str) -> str:
        """A guest; its report and serial log are called the same."""
        return f"{self.key}-{node}"

    def iso(self, node: str, edition: str) -> str:
        """The ISO with one edition of the site roll."""
        return f"{self.domain(node)}-{edition}"

    def uuid(self, node: str) -> str:
        """The guest's UUID."""
        return str(uuid.uuid5(NAMESPACE, self.domain(node)))

    def volume(self, node: str, what: str) -> str:
        """A volume of a node's own, `what` is `root` or `home`; or a node's way into the one that it shares."""
        return f"{self.key}-{node}-{what}"

    @property
    def shared_volume(self) -> str:
        """The volume that all nodes may write."""
        return f"{self.key}-{SHARED}"

    def target(self, volume: str) -> str:
        """The iSCSI name of a volume's target (RFC 3720 section 3.2.6.3.1)."""
        return f"{self.iqn_base}:{volume}"

    def storage_address(self, block: IPv4Network, network_id: int, host: int) -> IPv4Interface:
        """A host's address in the cluster's own network: each VLAN ID has one of 4096 subnets of `block`, in which a
        host has the number of its row. ValueError where that is too large."""
        subnet = IPv4Network(
            (int(block[0]) + network_id * (block.num_addresses // VIDS), block.prefixlen + 12)
        )
        if not 0 < host < subnet.num_addresses - 1:
            raise ValueError(
                f"host {host} has no address in {subnet}: choose a larger block as storage.portals"
            )
        return IPv4Interface((subnet[host], subnet.prefixlen))

    def mac(self, position: int, interface: int) -> str:
        """A locally administered unicast address: 02, 24 bits of reservation, 4 of interface, 12 of position."""
        if position > 0xFFF or interface > 0xF or self.reservation > 0xFFFFFF:
            raise ValueError("too many nodes or reservations for this scheme of MAC addresses")
        number = self.reservation << 16 | interface << 12 | position
        return ":".join(["02", *re.findall("..", f"{number:010x}")])

    def _link(self, suffix: str) -> str:
        name = f"{self.key}-{suffix}"
        if len(name) > LINK_NAME_MAX:
            raise ValueError(f"{name} is too long for a link's name")
        return name
