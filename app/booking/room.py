# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cluster takes, and what the site has and holds of that: rows in, the domain's plain data out."""

from __future__ import annotations

import ipaddress
import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.db import ledger, reservation, site
from app.db.ledger import SITE
from app.db.reservation import Node, Reservation
from app.domain import opening
from app.domain.capacity import Taken
from app.domain.demand import of_site
from app.domain.errors import NoRoom
from app.domain.opening import SEAT, Stock
from app.domain.placement import Candidate, Group, Placement
from app.domain.shape import NodeGroup, Shape
from app.domain.slot import Slot
from app.settings import Settings

# What a guest costs its host beyond the memory it sees: QEMU's own, measured on guests of 512 and 1024 MiB.
GUEST_OVERHEAD_MIB = 96
# Of each role this many hosts, or four times the number of things to place there if that is more, are looked at
# before all of them: so that booking costs the same on a hundred hosts and on a thousand.
FIRST_LOOK = 8
# More than any host has: for what is not declared and so not counted.
NOT_COUNTED = 1 << 40
# No node can be called so: a node's name has no space in it.
DISKS = "the disks"


def occupied(settings: Settings, slot: Slot) -> Slot:
    """The time a cluster in this slot keeps others away: the slot and the cleaning gap after it."""
    return Slot(slot.start, slot.end + gap(settings))


def gap(settings: Settings) -> timedelta:
    """What is kept free between one tenant and the next."""
    return timedelta(seconds=settings.booking.gap_s)


def groups(shape: Shape, settings: Settings) -> list[Group]:
    """What is taken of the site as a whole, and what has to find a place: the frontend, all compute nodes, and all
    their disks on one storage host."""
    front = settings.booking
    frontend = {"vcpu": front.frontend_vcpus, "memory_mib": front.frontend_memory_mib + GUEST_OVERHEAD_MIB}
    if front.frontend_bandwidth_mbit:
        frontend["bandwidth_mbit"] = front.frontend_bandwidth_mbit
    gib = frontend_disk_gib(shape, settings) + shape.home_gib + shape.shared_disk_gib
    gib += sum(group.disk_gib * group.most for group in shape.groups)
    return [
        _site(shape, settings),
        Group("gateway", ("frontend",), frontend),
        *(compute(group, group.node_names) for group in shape.groups),
        Group("storage", (DISKS,), {"disk_mib": gib * 1024}),
    ]


def _site(shape: Shape, settings: Settings) -> Group:
    needs = {"network_id": 1, "public_address": 1}
    numbers: Counter[str] = Counter()
    for group in shape.groups:
        numbers[group.appliance] += group.most
    return Group(SITE, (), needs | of_number(numbers, shape.rolls, settings))


def of_number(nodes: Mapping[str, int], rolls: Collection[str], settings: Settings) -> dict[str, int]:
    """What compute nodes, so many of each appliance, with these rolls take of the site as a whole: licence seats, and
    their count. A roll has seats for all nodes, an appliance for those that are made of it."""
    total = sum(nodes.values())
    seats = {
        SEAT + one.roll: one.taken_by(carriers)
        for one in settings.booking.seats
        if (carriers := total if one.roll in rolls else nodes.get(one.roll, 0))
    }
    return {ledger.NODE: total, **seats}


def of_guest(vcpus: int, memory_mib: int) -> dict[str, int]:
    """What a guest of this size takes of its host."""
    return {"vcpu": vcpus, "memory_mib": memory_mib + GUEST_OVERHEAD_MIB}


def of_nodes(nodes: Iterable[Node]) -> dict[tuple[int | str, str], int]:
    """What these compute nodes take of their hosts and storage hosts, by (host id, resource)."""
    total: Counter[tuple[int | str, str]] = Counter()
    for node in nodes:
        for resource, amount in of_guest(node.vcpus, node.memory_mib).items():
            total[node.host_id, resource] += amount
        total[node.storage_id, "disk_mib"] += node.disk_gib * 1024
    return dict(total)


def of_disks(row: Reservation) -> dict[tuple[int | str, str], int]:
    """What the reservation's disks take of their storage hosts, by (host id, resource)."""
    total: Counter[tuple[int | str, str]] = Counter()
    for node in row.nodes:
        gib = node.disk_gib + (row.home_gib + row.shared_disk_gib if node.kind == "frontend" else 0)
        total[node.storage_id, "disk_mib"] += gib * 1024
    return dict(total)


def groups_of(row: Reservation, settings: Settings) -> list[Group]:
    """As `groups`, of a reservation as it was granted: the disks of one that was saved have their place."""
    found = groups(shape_of(row), settings)
    return found if row.saved_id is None else without_disks(found)


def without_disks(wanted: Iterable[Group]) -> list[Group]:
    """All but what needs a storage host."""
    return [group for group in wanted if group.role != "storage"]


def compute(group: NodeGroup | reservation.NodeGroup, members: tuple[str, ...]) -> Group:
    """What has to find a place for these members of the group: each with its size, where the group may be."""
    return Group(
        "compute",
        members,
        of_guest(group.vcpus, group.memory_mib),
        policy=group.policy,
        tags=frozenset(group.tags),
        pin=frozenset(group.pin),
        avoid=frozenset(group.avoid),
    )


def frontend_disk_gib(shape: Shape, settings: Settings) -> int:
    """The frontend's disk: as large as a node's at least."""
    return max(settings.booking.frontend_disk_gib, *(group.disk_gib for group in shape.groups))


def amounts(wanted: Sequence[Group], placement: Placement) -> dict[tuple[int | str, str], int]:
    """What a placed cluster takes of each holder, the site's pools included."""
    pools: dict[tuple[int | str, str], int] = {
        (SITE, resource): amount for resource, amount in of_site(wanted).items()
    }
    return {**pools, **on_hosts(wanted, placement.hosts)}


def on_hosts(wanted: Sequence[Group], hosts: Mapping[str, int]) -> dict[tuple[int | str, str], int]:
    """What the groups take of each host, by (host id, resource), where `hosts` says which has which member."""
    total: dict[tuple[int | str, str], int] = {}
    for group in wanted:
        for member in group.members:
            for resource, amount in group.needs.items():
                key = (hosts[member], resource)
                total[key] = total.get(key, 0) + amount
    return total


def shape_of(row: Reservation) -> Shape:
    """The shape of a reservation as it was granted: each group with the nodes it has, and no fewer."""
    names: dict[int | None, list[str]] = {}
    for node in row.nodes:
        names.setdefault(node.group_id, []).append(node.name)
    groups = [
        NodeGroup(
            name=group.name,
            node_names=tuple(names.get(group.id, ())),
            least=len(names.get(group.id, ())),
            vcpus=group.vcpus,
            memory_mib=group.memory_mib,
            disk_gib=group.disk_gib,
            appliance=group.appliance,
            policy=group.policy,
            tags=tuple(group.tags),
            pin=tuple(group.pin),
            avoid=tuple(group.avoid),
        )
        for group in row.groups
    ]
    return Shape(tuple(groups), row.home_gib, tuple(row.rolls), row.shared_disk_gib)


def asked_of(row: Reservation) -> Shape:
    """The shape of a reservation as it was asked for: each group from its least to its most, with the names of the
    nodes it has, and then of those it might have."""
    granted = shape_of(row)
    taken = set(granted.node_names)
    groups = []
    for asked, group in zip(row.groups, granted.groups, strict=True):
        whole = replace(group.of(asked.most, taken), least=asked.least)
        taken.update(whole.node_names)
        groups.append(whole)
    return replace(granted, groups=tuple(groups))


def find(
    session: Session,
    settings: Settings,
    shape: Shape,
    slot: Slot,
    now: datetime,
    *,
    name: str,
    beside: Sequence[Taken] = (),
) -> tuple[Shape, Placement]:
    """As much of the shape as fits throughout the occupied `slot`, its least at the least, and where; or NoRoom.

    Only some hosts are looked at first, from a point in their ring that `name` decides, so that clusters spread over
    the site, and first as if all that overlaps the slot were there at once; all of them before the answer is less
    than the whole, or when few hosts are asked for. `beside` counts as taken, too.
    """
    wanted = groups(shape, settings)
    if all(group.policy != "pack" for group in wanted):
        look: Counter[str] = Counter()
        for group in wanted:
            look[group.role] += 4 * len(group.members)
        look_at = {role: max(FIRST_LOOK, number) for role, number in look.items()}
        rows = site.some_in_service(session, look_at, zlib.crc32(name.encode()), slot)
        some, have = _hosts(settings, rows)
        holders: list[int | str] = [SITE, *(host.id for host in some)]
        for read_taken in (ledger.sums, ledger.taken):
            taken = read_taken(session, slot, now, holders)
            try:
                return shape, Stock(some, have, [*taken, *beside]).fit(wanted, slot)
            except NoRoom:
                continue
    stock = read(session, settings, slot, now)
    return grant(Stock(stock.candidates, stock.have, [*stock.taken, *beside]), settings, shape, slot)


def grant(stock: Stock, settings: Settings, shape: Shape, slot: Slot) -> tuple[Shape, Placement]:
    """As much of the shape as fits into the stock throughout `slot`, its least at the least, and where; or NoRoom.

    Every group gets what it must have, then each in turn as many more as the hosts have room for. Where the disks of
    so many do not fit, the group with the most nodes gives first (`Shape.of`).
    """
    try:
        return shape, stock.fit(groups(shape, settings), slot)
    except NoRoom:
        if shape.least == shape.most:
            raise
    pools, frontend, *_, disks_of_least = groups(shape.smallest, settings)
    nodes = [replace(compute(group, group.node_names), least=group.least) for group in shape.groups]
    elastic = [pools, frontend, *nodes, disks_of_least]
    most = shape.only(stock.fit(elastic, slot).hosts)
    number = opening.largest(stock, lambda n: groups(most.of(n), settings), shape.least, most.most, slot)
    granted = most.of(number)
    return granted, stock.fit(groups(granted, settings), slot)


def read(
    session: Session, settings: Settings, slot: Slot, now: datetime, without: int | None = None
) -> Stock:
    """What the site has, and what is taken of it in the occupied `slot`, but for the reservation `without`."""
    candidates, have = _hosts(settings, site.in_service(session))
    taken = ledger.taken(session, slot, now, None, without)
    return Stock(candidates, have, [*taken, *_maintenance(session, slot, have)])


def _hosts(
    settings: Settings, rows: Sequence[Row[*tuple[Any, ...]]]
) -> tuple[list[Candidate], dict[tuple[int | str, str], int]]:
    """The hosts in these rows of `site.in_service`, with their roles; and what they and the site have."""
    roles: dict[tuple[int, str, str, str], list[str]] = {}
    for number, name, *_, tags, capabilities, role in rows:
        roles.setdefault((number, name, tags, capabilities), []).append(role)
    candidates = [
        Candidate(number, name, frozenset(mine), _tags(tags, capabilities))
        for (number, name, tags, capabilities), mine in roles.items()
    ]
    return candidates, totals(settings, rows)


@lru_cache(maxsize=256)
def _tags(tags: str, capabilities: str) -> frozenset[str]:
    """What may be asked of the host: what people say of it, and what it says itself, where that counts alone."""
    return frozenset(json.loads(tags)) - site.CAPABILITIES | frozenset(json.loads(capabilities))


@dataclass(frozen=True)
class Ledger:
    """What is taken of a site, read from the ledger as `Search` asks for it; `kept` is taken by maintenance."""

    session: Session
    now: datetime
    kept: Sequence[Taken]

    def highest(self, moments: Sequence[datetime], resource: str) -> dict[int | str, int]:
        """The most that is taken of each holder at any of these moments, but for what is overdue."""
        highest = ledger.highest(self.session, moments, resource, self.now)
        for one in self.kept:
            if one.resource == resource and any(one.start <= moment < one.end for moment in moments):
                highest[one.holder] = max(one.amount, highest.get(one.holder, 0))
        return highest

    def pools(self, slot: Slot) -> dict[tuple[int | str, str], int]:
        """As much of the site's pools as if all that overlaps `slot` were there at once."""
        sums = ledger.sums(self.session, slot, self.now, [SITE])
        return {(one.holder, one.resource): one.amount for one in sums}

    def taken(self, slot: Slot, holders: Collection[int | str]) -> list[Taken]:
        """Whatever is taken of these holders at some moment of `slot`, and all maintenance."""
        return [*ledger.taken(self.session, slot, self.now, holders), *self.kept]


def open_ledger(session: Session, settings: Settings, slot: Slot, now: datetime) -> tuple[Stock, Ledger]:
    """What the site has, with nothing taken of it, and what says what is, for searches within `slot`."""
    candidates, have = _hosts(settings, site.in_service(session))
    return Stock(candidates, have, ()), Ledger(session, now, _maintenance(session, slot, have))


def capacity(session: Session, settings: Settings) -> dict[tuple[int | str, str], int]:
    """All that the site lends, by (host id or SITE, resource)."""
    return totals(settings, site.in_service(session))


def totals(settings: Settings, hosts: Sequence[Row[*tuple[Any, ...]]]) -> dict[tuple[int | str, str], int]:
    """What these hosts, as `site.capacities` has them, and the site lend, by (host id or SITE, resource)."""
    have = _pools(settings)
    ratios = settings.booking
    for number, _name, vcpus, memory_mib, disk_mib, bandwidth_mbit, *_ in hosts:
        have[number, "vcpu"] = int(vcpus * ratios.vcpu_ratio)
        have[number, "memory_mib"] = int(memory_mib * ratios.memory_ratio)
        have[number, "disk_mib"] = disk_mib
        have[number, "bandwidth_mbit"] = NOT_COUNTED if bandwidth_mbit is None else bandwidth_mbit
    return have


def _pools(settings: Settings) -> dict[tuple[int | str, str], int]:
    net = settings.network
    first, last = (int(ipaddress.IPv4Address(end)) for end in (net.public_first, net.public_last))
    network_ids = net.last_id - net.first_id + 1 - len(set(net.exclude_ids))
    numbers = {"network_id": network_ids, "public_address": last - first + 1}
    seats = {SEAT + seats.roll: seats.number for seats in settings.booking.seats}
    return {
        (SITE, resource): amount
        for resource, amount in (numbers | seats | {ledger.NODE: NOT_COUNTED}).items()
    }


def _maintenance(session: Session, slot: Slot, have: Mapping[tuple[int | str, str], int]) -> list[Taken]:
    """Maintenance takes all its host has."""
    resources = ("vcpu", "memory_mib", "disk_mib", "bandwidth_mbit")
    return [
        Taken(host_id, resource, have[host_id, resource], start, end)
        for host_id, start, end in site.maintenance(session, slot)
        for resource in resources
        if have.get((host_id, resource))
    ]
