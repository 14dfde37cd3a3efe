# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which host takes which part of a cluster: a pure, deterministic choice that explains every refusal."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.domain.errors import NoRoom

# Free amounts by (host id, resource); what a host does not list it does not have.
Free = Mapping[tuple[int | str, str], int]
Left = dict[tuple[int | str, str], int]

POLICIES = ("spread", "pack")
UNITS = {
    "vcpu": "vCPU",
    "memory_mib": "MiB of memory",
    "disk_mib": "MiB of disk",
    "bandwidth_mbit": "Mbit/s of bandwidth",
}
MOST_REASONS = 12
# Emptying one host after another costs a placement each: worth it for clusters of this many hosts, not beyond.
MOST_TO_EMPTY = 16


@dataclass(frozen=True)
class Candidate:
    """A host that may be chosen, what for, and what it has besides amounts (`tags`: an architecture, a GPU)."""

    id: int
    name: str
    roles: frozenset[str]
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Group:
    """Like things to place: each of `members` on a host of `role`, taking `needs` (resource -> amount) there.

    `least` of them must find a place (all, when it is None). The host must have all `tags`, be one of `pin` (host
    names; empty: any) and none of `avoid`. `policy` is spread (the emptiest host first) or pack (few hosts).
    """

    role: str
    members: tuple[str, ...]
    needs: Mapping[str, int]
    least: int | None = None
    policy: str = "spread"
    tags: frozenset[str] = frozenset()
    pin: frozenset[str] = frozenset()
    avoid: frozenset[str] = frozenset()

    @property
    def must(self) -> int:
        """How many members have to find a place."""
        return len(self.members) if self.least is None else self.least


@dataclass(frozen=True)
class Placement:
    """Member name -> host id. Members beyond a group's `least` may be missing."""

    hosts: Mapping[str, int] = field(default_factory=dict)


class _Short(Exception):
    """Only `found` members of this group found a place, after `placed` parts of the whole."""

    def __init__(self, group: Group, left: Left, placed: int, found: int) -> None:
        super().__init__()
        self.group, self.left, self.placed, self.found = group, left, placed, found


def place(groups: Sequence[Group], candidates: Sequence[Candidate], free: Free) -> Placement:
    """Put at least what must be put of every group on hosts with room, or raise NoRoom with a reason per host.

    The same input always gives the same answer: equal hosts are taken in order of their names. Groups are placed in
    their order; when one finds no room it is tried again before the others.
    """
    order, placed = _any_order(groups, candidates, free)
    if any(group.policy == "pack" for group in groups):
        placed = _fewest(order, candidates, free, placed)
    return Placement({name: placed[name] for group in groups for name in group.members if name in placed})


def _any_order(
    groups: Sequence[Group], candidates: Sequence[Candidate], free: Free
) -> tuple[list[Group], dict[str, int]]:
    """The order in which all groups found their places, and these; a group that finds none is tried first next."""
    order = list(groups)
    refusal: _Short | None = None
    for _ in range(max(1, len(groups))):
        try:
            return order, _in_order(order, candidates, free)
        except _Short as short:
            refusal = refusal or short
            if short.group is order[0]:
                break
            order.remove(short.group)
            order.insert(0, short.group)
    assert refusal is not None
    raise _refusal(refusal, candidates)


def able(group: Group, candidates: Iterable[Candidate]) -> list[Candidate]:
    """The hosts that may take members of `group`, were there room, by name."""
    return sorted((host for host in candidates if _barred(group, host) is None), key=lambda host: host.name)


def fits(holder: int | str, needs: Mapping[str, int], left: Free) -> int:
    """How many things that each take `needs` this host or pool has room for."""
    counts = [left.get((holder, resource), 0) // amount for resource, amount in needs.items() if amount]
    return min(counts) if counts else 0


def _barred(group: Group, host: Candidate) -> str | None:
    """Why this host may not take the group at all; None where only room counts."""
    if group.role not in host.roles:
        return f"it is no {group.role} host"
    if group.pin and host.name not in group.pin:
        return "the request names other hosts"
    if host.name in group.avoid:
        return "the request avoids it"
    missing = group.tags - host.tags
    return f"it is not marked {', '.join(sorted(missing))}" if missing else None


def _in_order(groups: Sequence[Group], candidates: Sequence[Candidate], free: Free) -> dict[str, int]:
    left, placed = dict(free), dict[str, int]()
    hosts = [able(group, candidates) for group in groups]
    for group, mine in zip(groups, hosts, strict=True):
        found = _fill(group, group.members[: group.must], mine, left, placed)
        if found < group.must:
            raise _Short(group, left, len(placed), found)
    for group, mine in zip(groups, hosts, strict=True):
        _fill(group, group.members[group.must :], mine, left, placed)
    return placed


def _fill(
    group: Group, members: Sequence[str], hosts: Sequence[Candidate], left: Left, placed: dict[str, int]
) -> int:
    """Place as many of `members` as there is room for, into `left` and `placed`; return how many."""
    if not members:
        return 0
    room = [(fits(host.id, group.needs, left), host) for host in hosts]
    spots = [(count, host.name, host.id) for count, host in room if count]
    chosen = (
        _pack(len(members), spots, set(placed.values()))
        if group.policy == "pack"
        else _spread(len(members), spots)
    )
    for member, host_id in zip(members, chosen, strict=False):
        placed[member] = host_id
    for host_id, count in Counter(chosen).items():
        for resource, amount in group.needs.items():
            if amount:
                left[host_id, resource] -= amount * count
    return len(chosen)


def _spread(number: int, spots: Sequence[tuple[int, str, int]]) -> list[int]:
    """Host ids for `number` members, each on the host that would fit the most more."""
    heap = [(-count, name, host_id) for count, name, host_id in spots]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < number:
        count, name, host_id = heap[0]
        chosen.append(host_id)
        if count == -1:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (count + 1, name, host_id))
    return chosen


def _pack(number: int, spots: Sequence[tuple[int, str, int]], in_use: set[int]) -> list[int]:
    """Host ids for `number` members on few hosts: those in use first, then the roomiest, the last one just enough."""
    chosen: list[int] = []
    order = sorted(spots, key=lambda spot: (spot[2] not in in_use, -spot[0], spot[1]))
    while order and len(chosen) < number:
        rest = number - len(chosen)
        best = order[0]
        if best[2] not in in_use and best[0] >= rest:
            best = min((spot for spot in order if spot[0] >= rest), key=lambda spot: (spot[0], spot[1]))
        order.remove(best)
        chosen += [best[2]] * min(rest, best[0])
    return chosen


def _fewest(
    groups: Sequence[Group], candidates: Sequence[Candidate], free: Free, placed: dict[str, int]
) -> dict[str, int]:
    """The placement on fewer hosts, if leaving one of its hosts out, the least used first, still fits the same."""
    by_id = {host.id: host for host in candidates}
    # What was placed beyond the least is kept: fewer hosts must not mean fewer nodes.
    whole = [replace(g, members=tuple(m for m in g.members if m in placed), least=None) for g in groups]
    orders = [whole, sorted(whole, key=lambda group: -max(group.needs.values(), default=0))]
    for order in orders:
        placed = _fewer(order, [host for host in candidates if able_for_any(host, order)], free, placed)
    used = Counter(placed.values())
    if len(used) > MOST_TO_EMPTY:
        return placed
    for host_id, _ in sorted(used.items(), key=lambda item: (item[1], by_id[item[0]].name)):
        kept = [by_id[other] for other in set(placed.values()) - {host_id}]
        placed = _fewer(orders[1], kept, free, placed)
    return placed


def able_for_any(host: Candidate, groups: Iterable[Group]) -> bool:
    """Whether the host may take members of one of the groups."""
    return any(_barred(group, host) is None for group in groups)


def _fewer(
    groups: Sequence[Group], candidates: Sequence[Candidate], free: Free, placed: dict[str, int]
) -> dict[str, int]:
    try:
        other = _in_order(groups, candidates, free)
    except _Short:
        return placed
    return other if len(set(other.values())) < len(set(placed.values())) else placed


def _refusal(short: _Short, candidates: Sequence[Candidate]) -> NoRoom:
    """NoRoom for the group that fell short, host by host; hosts of other roles are left out."""
    group, left, part = short.group, short.left, short.group.members[short.found]
    mine = sorted((host for host in candidates if group.role in host.roles), key=lambda host: host.name)
    if not mine:
        return NoRoom([f"No {group.role} host is in service for {part}."])
    reasons = [
        f"No {group.role} host has room for {part} in this slot ({short.placed} parts before it found a place)."
    ]
    for host in mine:
        lacks = [
            f"{max(0, left.get((host.id, r), 0)):,} of {n:,} {UNITS.get(r, r)} free"
            for r, n in group.needs.items()
            if left.get((host.id, r), 0) < n
        ]
        reasons.append(f"{host.name}: {_barred(group, host) or ', '.join(lacks)}.")
    more = len(reasons) - MOST_REASONS
    if more > 0:
        reasons[MOST_REASONS - 1 :] = [f"So with {more + 1} more hosts."]
    return NoRoom(reasons, [host.id for host in mine if _barred(group, host) is None])
