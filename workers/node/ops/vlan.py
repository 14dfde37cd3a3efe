# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A cluster's network by 802.1Q: a tagged link on one of the host's own links, and a bridge on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workers.node import names
from workers.node.ops import bridged
from workers.node.ops.bridged import Seen
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, GetLink, LinkAdd, Tagged


@dataclass(frozen=True)
class Args:
    """The tagged link (its parent is the host's own and is never changed), the bridge, and their mark."""

    link: LinkAdd
    bridge: str
    alias: str


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"link","bridge","vid","parent","mtu","alias"}."""
    link, bridge, vid, parent, mtu, alias = names.take(
        raw, link=str, bridge=str, vid=int, parent=str, mtu=int, alias=str
    )
    names.marked(link, remit, "link", names.MAX_LINK)
    names.marked(bridge, remit, "bridge", names.MAX_LINK)
    key = names.same_key(link, bridge)
    add = LinkAdd(
        link,
        "vlan",
        names.within(mtu, 576, 65535, "mtu"),
        vid=names.within(vid, 1, 4094, "vid"),
        parent=names.foreign_link(parent, remit),
    )
    return Args(add, bridge, names.alias_for(alias, key))


def lock(args: Args) -> str:
    """One bridge, one lock."""
    return f"link-{args.bridge}"


def observe(args: Args, ask: Ask) -> Seen:
    """Both links, the parent, and who has the tag on it."""
    seen = bridged.observe(args.link.name, args.bridge, ask)
    parent, vid = str(args.link.parent), int(args.link.vid or 0)
    return replace(seen, parent=ask(GetLink(parent)), tagged=ask(Tagged(parent, vid)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Link and bridge; the other way round at the end, and never under plugged-in guests."""
    if want == "absent":
        return bridged.plan_absent(args.link, args.bridge, args.alias, seen)
    make, join = bridged.plan_present(args.link, args.bridge, args.alias, seen)
    _check_parent(args, seen)
    return make + join


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def _check_parent(args: Args, seen: Seen) -> None:
    """Whether the host's own link can carry the tag; the kernel's words for that tell little."""
    add, parent, rival = args.link, seen.parent, seen.tagged
    if parent is None:
        raise Refused(
            "tool_failed",
            f"this host has no link {add.parent} to put VLAN {add.vid} on: name the one that leads to the trunk "
            "in network.parent",
        )
    if parent.mtu < add.mtu:
        raise Refused(
            "tool_failed",
            f"link {add.parent} has an MTU of {parent.mtu} and VLAN {add.vid} on it is to have {add.mtu}: raise "
            "the one or lower network.mtu",
        )
    if rival is None or rival.name == add.name:
        return
    if (rival.alias or "").startswith("leasehold:"):
        raise Refused(
            "busy",
            f"VLAN {add.vid} on {add.parent} is still {rival.name}'s ({rival.alias}): that must be removed first",
        )
    raise Refused(
        "not_ours",
        f"VLAN {add.vid} is on {add.parent} already, as link {rival.name} without our mark: it was left alone; "
        "put the number into network.exclude_ids, or remove the link by hand",
    )
