# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The host's own address in a cluster's network, for the cluster's disks and nothing else.

By it a storage host is reached in that network alone, and a host with guests logs in there. A filter on what the
bridge hands up to the host comes before the address and goes after it: guests share that network, and would else
have the host's other services, and its addresses in other clusters' networks, before them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names
from workers.node.node_record import PORT
from workers.node.protocol import Refused, Remit
from workers.node.steps import (
    AddressAdd,
    AddressDel,
    Addresses,
    Ask,
    Command,
    Exec,
    GetLink,
    LinkSeen,
    Output,
    Show,
)


@dataclass(frozen=True)
class Args:
    """`serves`: volumes are exported at this address; `logs_in`: the host logs in from it."""

    bridge: str
    address: ipaddress.IPv4Interface
    alias: str
    serves: bool
    logs_in: bool

    @property
    def table(self) -> str:
        """The name of the filter's table."""
        return names.key_of(self.bridge)


@dataclass(frozen=True)
class Seen:
    """The bridge, (link, address with prefix length) of the whole host, and the marks of the filter's rules, in
    order; None where there is no filter."""

    bridge: LinkSeen | None
    addresses: tuple[tuple[str, str], ...]
    filter: tuple[str, ...] | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"bridge","address","alias","serves","logs_in"}; the address is like 100.64.4.3/22."""
    bridge, address, alias, serves, logs_in = names.take(
        raw, bridge=str, address=str, alias=str, serves=bool, logs_in=bool
    )
    names.marked(bridge, remit, "bridge", names.MAX_LINK)
    names.alias_for(alias, names.key_of(bridge))
    return Args(bridge, names.interface(address, "address"), alias, serves, logs_in)


def lock(args: Args) -> str:
    """The bridge's, as for the network itself."""
    return f"link-{args.bridge}"


def observe(args: Args, ask: Ask) -> Seen:
    """The bridge, all addresses of the host, the filter."""
    shown = ask(Show(("nft", "--json", "list", "table", "netdev", args.table)))
    return Seen(ask(GetLink(args.bridge)), ask(Addresses()), parse_filter(shown))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """The filter, then the address; the other way round at the end."""
    _check_ours(args, seen)
    here = [address for link, address in seen.addresses if link == args.bridge]
    wanted = [str(args.address)] if want == "present" else []
    wrong: list[Command] = [AddressDel(args.bridge, address) for address in here if address not in wanted]
    if want == "absent":
        if seen.filter is not None:
            wrong.append(Exec(("nft", "delete", "table", "netdev", args.table)))
        return wrong
    if seen.bridge is None:
        raise Refused("busy", f"there is no bridge {args.bridge}: the network must be made first")
    for link, address in seen.addresses:
        other = ipaddress.ip_interface(address)
        is_near = other.version == 4 and args.address.network.overlaps(other.network)
        if link != args.bridge and is_near:
            raise Refused(
                "not_ours",
                f"link {link} has the address {address}, within {args.address.network}: the host would not know where "
                "to look for disks; choose another block as storage.portals",
            )
    out: list[Command] = []
    if seen.filter != tuple(_mark(args, rule) for rule in _rules(args)):
        out.append(Exec(("nft", "--file", "-"), _ruleset(args)))
    out += wrong
    if not set(wanted) <= set(here):
        out.append(AddressAdd(args.bridge, str(args.address)))
    return out


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def parse_filter(shown: Output) -> tuple[str, ...] | None:
    """The comments of the rules in what `nft --json list table` prints; None when there is no such table."""
    if shown.rc != 0:
        if "No such file or directory" in shown.stderr:
            return None
        raise Refused("tool_failed", f"nft does not tell of its tables: {shown.stderr.strip()[-500:]}")
    items = json.loads(shown.stdout)["nftables"]
    return tuple(item["rule"].get("comment", "") for item in items if "rule" in item)


def _rules(args: Args) -> list[str]:
    """What comes in. A packet with SYN alone would open a connection to the host."""
    ip, network = args.address.ip, args.address.network
    here = f"ip saddr {network} ip daddr {ip} tcp"
    rules = [f"arp daddr ip {ip} accept"]
    if args.serves:
        rules.append(f"{here} dport {PORT} accept")
    if args.logs_in:
        rules.append(f"{here} sport {PORT} tcp flags & (syn | ack) != syn accept")
    return rules


def _mark(args: Args, rule: str) -> str:
    """By its comment a rule is ours, and tells which it is: nft's versions show the same rule in different words."""
    return f"{args.alias} {hashlib.sha256(rule.encode()).hexdigest()[:12]}"


def _ruleset(args: Args) -> str:
    """In one transaction: the old table goes, the new one comes."""
    rules = "".join(f'    {rule} comment "{_mark(args, rule)}"\n' for rule in _rules(args))
    return (
        f"table netdev {args.table}\n"
        f"delete table netdev {args.table}\n"
        f"table netdev {args.table} {{\n"
        "  chain up {\n"
        f'    type filter hook ingress device "{args.bridge}" priority 0; policy drop;\n'
        f"{rules}"
        "  }\n"
        "}\n"
    )


def _check_ours(args: Args, seen: Seen) -> None:
    there = seen.bridge
    if there is not None and (there.kind, there.alias) != ("bridge", args.alias):
        raise Refused(
            "not_ours",
            f"link {args.bridge} is there (kind {there.kind}, alias {there.alias!r}) without our alias "
            f"{args.alias!r}: it was left alone; rename or remove it by hand",
        )
    foreign = [mark for mark in seen.filter or () if not mark.startswith(f"{args.alias} ")]
    if foreign:
        raise Refused(
            "not_ours",
            f"nft's table netdev {args.table} has rules without our mark ({foreign[0] or 'no comment'}): it was left "
            "alone; rename or remove it by hand",
        )
