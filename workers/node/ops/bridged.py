# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the network operations share: a link with our mark as a port of a bridge with our mark.

A link is told to be ours by its alias. The kernel takes an alias only after a link was made, so one that is down,
bare (no alias, no master, no ports) and named as ours is one that a killed helper had just made: it is completed.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.node.protocol import Refused
from workers.node.steps import Ask, Command, GetLink, LinkAdd, LinkDel, LinkSeen, LinkSet, Ports


@dataclass(frozen=True)
class Seen:
    """The link, the bridge and the bridge's ports; (VXLAN) where the link sends broadcasts to; (802.1Q) the host's
    own link below it, and which link has the tag there."""

    link: LinkSeen | None
    bridge: LinkSeen | None
    ports: tuple[str, ...] = ()
    flood: tuple[str, ...] = ()
    parent: LinkSeen | None = None
    tagged: LinkSeen | None = None


def observe(link: str, bridge: str, ask: Ask) -> Seen:
    """Both links as they are now."""
    return Seen(ask(GetLink(link)), ask(GetLink(bridge)), ask(Ports(bridge)))


def plan_present(add: LinkAdd, bridge: str, alias: str, seen: Seen) -> tuple[list[Command], list[Command]]:
    """(what makes the link and the bridge, what joins them and brings them up).

    What belongs to one kind of link goes between the two, while the link is not yet up.
    """
    _check_ours(add, bridge, alias, seen)
    make: list[Command] = []
    link, port_of = seen.link, seen.link.master if seen.link else None
    if link is not None and not _matches(link, add):
        make.append(LinkDel(add.name))
        link, port_of = None, None
    make += _make(add, alias, link)
    make += _make(LinkAdd(bridge, "bridge", add.mtu), alias, seen.bridge)
    join: list[Command] = []
    if port_of != bridge or link is None or not link.up:
        join.append(LinkSet(add.name, master=bridge, up=True))
    if seen.bridge is None or not seen.bridge.up:
        join.append(LinkSet(bridge, up=True))
    return make, join


def plan_absent(link: LinkAdd, bridge: str, alias: str, seen: Seen) -> list[Command]:
    """Remove both; busy while anything but the link itself is still plugged into the bridge."""
    _check_ours(link, bridge, alias, seen)
    guests = sorted(set(seen.ports) - {link.name})
    if guests:
        raise Refused(
            "busy", f"bridge {bridge} still has the ports {', '.join(guests[:5])}: remove these first"
        )
    there: list[Command] = []
    if seen.link is not None:
        there.append(LinkDel(link.name))
    if seen.bridge is not None:
        there.append(LinkDel(bridge))
    return there


def _check_ours(add: LinkAdd, bridge: str, alias: str, seen: Seen) -> None:
    for name, kind, there in ((add.name, add.kind, seen.link), (bridge, "bridge", seen.bridge)):
        if there is None or (there.kind == kind and there.alias == alias):
            continue
        bare = there.kind == kind and not there.alias and not there.up and there.master is None
        if bare and not (there is seen.bridge and seen.ports):
            continue
        raise Refused(
            "not_ours",
            f"link {name} is there (kind {there.kind}, alias {there.alias!r}) without our alias {alias!r}: "
            "it was left alone; rename or remove it by hand",
        )


def _matches(link: LinkSeen, add: LinkAdd) -> bool:
    """Whether what cannot be changed in a link is as wanted."""
    wanted = (add.vni, add.local, add.port, add.vid, add.parent)
    return (link.vni, link.local, link.port, link.vid, link.parent) == wanted


def _make(add: LinkAdd, alias: str, there: LinkSeen | None) -> list[Command]:
    """The host takes no part in a cluster's network, so its links get no addresses, not even IPv6's own."""
    if there is None:
        return [add, LinkSet(add.name, alias=alias, own_addresses=False)]
    change = LinkSet(
        add.name,
        alias=None if there.alias == alias else alias,
        mtu=None if there.mtu == add.mtu else add.mtu,
        own_addresses=False if there.own_addresses else None,
    )
    return [] if change == LinkSet(add.name) else [change]
