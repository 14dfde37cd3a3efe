# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A cluster's network by VXLAN: a link to the other hosts (static flood list, UDP 4789) and a bridge on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workers.node import names
from workers.node.ops import bridged
from workers.node.ops.bridged import Seen
from workers.node.protocol import Remit
from workers.node.steps import Ask, Command, Flood, FloodAdd, FloodDel, LinkAdd

UDP_PORT = 4789  # RFC 7348
MAX_PEERS = 4096


@dataclass(frozen=True)
class Args:
    """`local` is this host's address on the underlay, `peers` those of the cluster's other hosts."""

    link: LinkAdd
    bridge: str
    alias: str
    peers: tuple[str, ...]


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"link","bridge","vni","local","peers","mtu","alias"}."""
    link, bridge, vni, local, peers, mtu, alias = names.take(
        raw, link=str, bridge=str, vni=int, local=str, peers=list, mtu=int, alias=str
    )
    names.marked(link, remit, "link", names.MAX_LINK)
    names.marked(bridge, remit, "bridge", names.MAX_LINK)
    key = names.same_key(link, bridge)
    names.within(len(peers), 0, MAX_PEERS, "the number of peers")
    local = names.address(local, "local")
    others = sorted({names.address(peer, "a peer") for peer in peers} - {local})
    add = LinkAdd(
        link,
        "vxlan",
        names.within(mtu, 576, 65535, "mtu"),
        vni=names.within(vni, 1, (1 << 24) - 1, "vni"),
        local=local,
        port=UDP_PORT,
    )
    return Args(add, bridge, names.alias_for(alias, key), tuple(others))


def lock(args: Args) -> str:
    """One bridge, one lock."""
    return f"link-{args.bridge}"


def observe(args: Args, ask: Ask) -> Seen:
    """Both links and the flood list."""
    seen = bridged.observe(args.link.name, args.bridge, ask)
    return replace(seen, flood=ask(Flood(args.link.name))) if seen.link else seen


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Link, flood list, bridge; the other way round at the end, and never under plugged-in guests."""
    if want == "absent":
        return bridged.plan_absent(args.link, args.bridge, args.alias, seen)
    make, join = bridged.plan_present(args.link, args.bridge, args.alias, seen)
    there = set() if args.link in make else set(seen.flood)
    flood: list[Command] = [FloodAdd(args.link.name, peer) for peer in args.peers if peer not in there]
    flood += [FloodDel(args.link.name, peer) for peer in sorted(there - set(args.peers))]
    return make + flood + join


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""
