# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The netlink half of the door: network links, their ports and their flood addresses, by pyroute2."""

from __future__ import annotations

from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from workers.node.steps import (
    AddressAdd,
    AddressDel,
    FloodAdd,
    FloodDel,
    LinkAdd,
    LinkCommand,
    LinkDel,
    LinkSeen,
    LinkSet,
)

ADDR_GEN_EUI64, ADDR_GEN_NONE = 0, 1  # enum in6_addr_gen_mode, linux/if_link.h
_EVERYBODY = "00:00:00:00:00:00"  # the FDB entry for frames whose destination is not known
_NTF_SELF, _NUD_PERMANENT, _NUD_NOARP = 0x02, 0x80, 0x40  # linux/neighbour.h


class Links:
    """One netlink socket in the network namespace that the helper was started in."""

    def __init__(self) -> None:
        self._ip = IPRoute()

    def close(self) -> None:
        """Close the socket."""
        self._ip.close()

    def get(self, name: str) -> LinkSeen | None:
        """The link of that name, or None."""
        message = self._find(name)
        return None if message is None else self._seen(message)

    def all(self) -> list[LinkSeen]:
        """Every link of the host."""
        return [self._seen(message) for message in self._ip.get_links()]

    def tagged(self, parent: str, vid: int) -> LinkSeen | None:
        """The link with that VLAN ID on that parent; the kernel lets there be one at most."""
        return next((link for link in self.all() if (link.parent, link.vid) == (parent, vid)), None)

    def addresses(self) -> tuple[tuple[str, str], ...]:
        """(link, address with prefix length) of the host, but for loopback and link-local ones; sorted."""
        links = {message["index"]: message.get_attr("IFLA_IFNAME") for message in self._ip.get_links()}
        found = []
        for message in self._ip.get_addr(scope=0):
            # IFA_ADDRESS is the other end's where there is one, and IPv6 has it alone (linux/if_addr.h).
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.append((links[message["index"]], f"{address}/{message['prefixlen']}"))
        return tuple(sorted(found))

    def ports(self, bridge: str) -> tuple[str, ...]:
        """The names of the bridge's ports, sorted; none when there is no such bridge."""
        message = self._find(bridge)
        if message is None:
            return ()
        ports = self._ip.link("dump", master=message["index"])
        # A kernel that does not know the filter sends every link.
        return tuple(
            sorted(p.get_attr("IFLA_IFNAME") for p in ports if p.get_attr("IFLA_MASTER") == message["index"])
        )

    def flood(self, link: str) -> tuple[str, ...]:
        """The addresses the VXLAN link sends broadcasts to, sorted; none when there is no such link."""
        message = self._find(link)
        if message is None:
            return ()
        entries = self._ip.fdb("dump", ifindex=message["index"])
        found = {
            entry.get_attr("NDA_DST")
            for entry in entries
            if entry["ifindex"] == message["index"] and entry.get_attr("NDA_LLADDR") == _EVERYBODY
        }
        return tuple(sorted(address for address in found if address))

    def change(self, command: LinkCommand) -> None:
        """Carry out one command; OSError with the kernel's reason when it refuses."""
        try:
            if isinstance(command, LinkAdd):
                self._add(command)
            elif isinstance(command, LinkSet):
                self._set(command)
            elif isinstance(command, AddressAdd | AddressDel):
                self._address(command)
            elif isinstance(command, LinkDel):
                if (message := self._find(command.name)) is not None:
                    self._ip.link("del", index=message["index"])
            else:
                verb = "append" if isinstance(command, FloodAdd) else "del"
                self._flood(verb, command)
        except NetlinkError as error:
            raise OSError(error.code, _reason(error)) from None

    def _add(self, command: LinkAdd) -> None:
        wanted: dict[str, Any] = {"ifname": command.name, "kind": command.kind, "mtu": command.mtu}
        if command.kind == "vxlan":
            wanted |= {"vxlan_id": command.vni, "vxlan_local": command.local, "vxlan_port": command.port}
        if command.kind == "vlan":
            wanted |= {"vlan_id": command.vid, "link": self._index(str(command.parent))}
        self._ip.link("add", **wanted)

    def _set(self, command: LinkSet) -> None:
        wanted: dict[str, Any] = {"index": self._index(command.name)}
        if command.alias is not None:
            wanted["ifalias"] = command.alias
        if command.mtu is not None:
            wanted["mtu"] = command.mtu
        if command.master is not None:
            wanted["master"] = self._index(command.master)
        if command.own_addresses is not None:
            mode = ADDR_GEN_EUI64 if command.own_addresses else ADDR_GEN_NONE
            inet6 = ["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", mode]]}]
            wanted["IFLA_AF_SPEC"] = {"attrs": [inet6]}
        if command.up is not None:
            wanted["state"] = "up" if command.up else "down"
        self._ip.link("set", **wanted)

    def _address(self, command: AddressAdd | AddressDel) -> None:
        verb, done = ("add", 17) if isinstance(command, AddressAdd) else ("del", 99)  # EEXIST, EADDRNOTAVAIL
        address, _, length = command.address.partition("/")
        try:
            self._ip.addr(verb, index=self._index(command.link), address=address, prefixlen=int(length))
        except NetlinkError as error:
            if error.code != done:
                raise

    def _flood(self, verb: str, command: FloodAdd | FloodDel) -> None:
        self._ip.fdb(
            verb,
            ifindex=self._index(command.link),
            lladdr=_EVERYBODY,
            dst=command.address,
            flags=_NTF_SELF,
            state=_NUD_PERMANENT | _NUD_NOARP,
        )

    def _find(self, name: str) -> Any | None:
        try:
            return next(iter(self._ip.link("get", ifname=name)), None)
        except NetlinkError as error:
            if error.code == 19:  # ENODEV
                return None
            raise OSError(error.code, _reason(error)) from None

    def _index(self, name: str) -> int:
        message = self._find(name)
        if message is None:
            raise OSError(19, f"there is no link {name} on this host")
        return int(message["index"])

    def _name(self, index: int | None) -> str | None:
        if not index:
            return None
        try:
            found = next(iter(self._ip.link("get", index=index)), None)
        except NetlinkError:
            return None  # gone between two questions, or in another namespace
        return None if found is None else str(found.get_attr("IFLA_IFNAME"))

    def _seen(self, message: Any) -> LinkSeen:
        kind = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
        data = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA") if kind in ("vxlan", "vlan") else None
        inet6 = message.get_nested("IFLA_AF_SPEC", "AF_INET6")
        mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 is not None else ADDR_GEN_NONE
        seen: dict[str, Any] = {
            "name": message.get_attr("IFLA_IFNAME"),
            "kind": kind,
            "alias": message.get_attr("IFLA_IFALIAS"),
            "mtu": message.get_attr("IFLA_MTU"),
            "up": message["state"] == "up",
            "master": self._name(message.get_attr("IFLA_MASTER")),
            "own_addresses": mode != ADDR_GEN_NONE,
        }
        if kind == "vxlan" and data is not None:
            seen |= {
                "vni": data.get_attr("IFLA_VXLAN_ID"),
                "local": data.get_attr("IFLA_VXLAN_LOCAL"),
                "port": data.get_attr("IFLA_VXLAN_PORT"),
            }
        if kind == "vlan" and data is not None:
            seen |= {
                "vid": data.get_attr("IFLA_VLAN_ID"),
                "parent": self._name(message.get_attr("IFLA_LINK")),
            }
        return LinkSeen(**seen)


def _reason(error: NetlinkError) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)
