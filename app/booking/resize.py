# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Give a cluster more nodes or fewer, before its slot or during it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import availability, change, quota, room, version
from app.db import event, ledger, site
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Node, NodeGroup, Reservation
from app.domain import opening
from app.domain.capacity import SITE
from app.domain.errors import Conflict, InvalidRequest, NoRoom
from app.domain.lifecycle import UP
from app.domain.placement import Group
from app.domain.quota import Holding
from app.domain.slot import Slot
from app.settings import Settings


@dataclass(frozen=True)
class Resizing:
    """What a resize comes to: the names that are new, by group, and the nodes that go."""

    new: Mapping[str, tuple[str, ...]]
    going: tuple[Node, ...]


def field(group: str) -> str:
    """The name of the field that holds the number of nodes of this group."""
    return f"count_{group}"


def review(
    settings: Settings, row: Reservation, counts: Mapping[str, int], leave: Collection[str] = ()
) -> Resizing:
    """What `resize` would do: `counts` nodes in the groups named, the others as they are.

    The highest-numbered go, or those in `leave`. InvalidRequest, by field, where that cannot be asked for.
    """
    wrong: dict[str, str] = {}
    groups = {group.name: group for group in row.groups}
    for name in counts.keys() - groups.keys():
        wrong[field(name)] = f"The cluster has no group {name[:40]!r}: it has {', '.join(groups)}."
    staying = {name: _staying(row, group) for name, group in groups.items()}
    wanted = {name: len(nodes) for name, nodes in staying.items()} | {
        n: counts[n] for n in counts if n in groups
    }
    most = availability.limits(settings).nodes
    for name, number in wanted.items():
        if not 1 <= number <= most or sum(wanted.values()) > most:
            wrong[field(name)] = f"A group has at least 1 node, and a cluster at most {most:,}."
    going = [node for name, nodes in staying.items() for node in _going(nodes, wanted[name], leave)]
    unknown = sorted(set(leave) - {node.name for node in going})
    if unknown and not wrong:
        wrong["leave"] = f"{unknown[0][:40]!r} does not go: name as many nodes of a group as it is to lose."
    new = {}
    taken = {node.name for node in row.nodes}
    for name, nodes in staying.items():
        fresh = (f"{name}{i}" for i in itertools.count(1))
        new[name] = tuple(
            itertools.islice(
                (n for n in fresh if n not in taken), max(0, min(most, wanted[name]) - len(nodes))
            )
        )
        taken |= set(new[name])
    if not wrong and not going and not any(new.values()):
        wrong[field(next(iter(groups)))] = "That is as many as there are. Nothing was changed."
    if wrong:
        raise InvalidRequest(wrong)
    return Resizing({name: names for name, names in new.items() if names}, tuple(going))


def resize(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    counts: Mapping[str, int],
    *,
    leave: Collection[str] = (),
    now: datetime,
) -> None:
    """Let each group named in `counts` have that many nodes, for what is left of the slot.

    What is new is placed and held in this one transaction. A node that goes from a cluster that stands holds its room
    until nothing of it is left on any host. The owner may always let nodes go, and have more where it may extend.
    InvalidRequest, NoRoom, NotAllowed and Conflict change nothing.
    """
    try:
        _resize(database, settings, account, reservation_id, seen, counts, leave, now)
    except NoRoom as why:
        with database.reading() as session:
            row = change.changeable(session, account, reservation_id, seen)
            raise _explain(session, settings, account, row, counts, why, now) from why


def _resize(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    counts: Mapping[str, int],
    leave: Collection[str],
    now: datetime,
) -> None:
    with database.writing(ledger=True) as session:
        row = change.changeable(session, account, reservation_id, seen)
        if row.end_at <= now:
            raise Conflict("Its slot is over: there is nothing left to resize.")
        if row.suspend_requested_at is not None or row.state == "suspended":
            raise Conflict("It is suspended: resume it, and resize it when it is ready.")
        if row.keep_until is not None or row.saved_id is not None:
            raise Conflict("Its disks are kept after its slot: its nodes stay those that it has.")
        # What is held for an offer is in nobody's way.
        version.withdraw_offer(session, row, account.name, now)
        before = _names(row)
        found = review(settings, row, counts, leave)
        for group in row.groups:
            if group.name in counts:
                group.least = group.most = counts[group.name]
        if found.new:
            change.may_extend(settings, account, row)
            number = sum(node.kind == "compute" and node.leaving_at is None for node in row.nodes)
            number += sum(map(len, found.new.values())) - len(found.going)
            wanted = Holding(number, Slot(row.start_at, row.end_at))
            quota.check(
                session,
                settings,
                account,
                row.project_id,
                wanted,
                now,
                replaces=row.id,
                count_field=field(next(iter(found.new))),
            )
        added = _add(session, settings, row, found.new, now)
        for node in found.going:
            if row.state in UP:
                node.leaving_at = now
            else:
                _give_back(session, settings, row, node, now)
        if row.state in UP:
            row.retry_at = now  # for the schedule pass to look at it
        said = [f"{_list(node.name for node in added)} added"] if added else []
        said += [f"{_list(node.name for node in found.going)} to go"] if found.going else []
        message = f"{account.name} resized it: {'; '.join(said)}."
        version.change(session, account.name, row, "resized", message, {"nodes": (before, _names(row))}, now)


def left(session: Session, settings: Settings, row: Reservation, node: Node, now: datetime) -> None:
    """Nothing of the node is left on any host: forget it and give its room back. Under the ledger lock."""
    message = f"{node.name} is gone from every host."
    event.record(session, now, "pass:schedule", "node_left", message, reservation_id=row.id)
    _give_back(session, settings, row, node, now)


def _names(row: Reservation) -> str:
    return _list(node.name for node in row.nodes if node.kind == "compute" and node.leaving_at is None)


def _staying(row: Reservation, group: NodeGroup) -> list[Node]:
    return [node for node in row.nodes if node.group_id == group.id and node.leaving_at is None]


def _going(nodes: Sequence[Node], wanted: int, leave: Collection[str]) -> Sequence[Node]:
    """Those of the group's nodes that go so that `wanted` stay: the ones named, or else the last."""
    number = max(0, len(nodes) - wanted)
    named = [node for node in nodes if node.name in leave]
    if named:
        return named if len(named) == number else []
    return nodes[len(nodes) - number :]


def _add(
    session: Session, settings: Settings, row: Reservation, new: Mapping[str, Sequence[str]], now: datetime
) -> list[Node]:
    """Place the new nodes beside all that is there, and write them with what they take."""
    if not new:
        return []
    slot = _slot(settings, row, now)
    stock = room.read(session, settings, slot, now)
    more = {name: len(names) for name, names in new.items()}
    hosts = stock.fit(_wanted(session, settings, row, more), slot).hosts
    used = {node.position for node in row.nodes}
    positions = (position for position in itertools.count(1) if position not in used)
    nodes = [
        Node(
            group_id=group.id,
            position=next(positions),
            name=name,
            kind="compute",
            vcpus=group.vcpus,
            memory_mib=group.memory_mib,
            disk_gib=group.disk_gib,
            host_id=hosts[_member(group.name, number)],
            storage_id=row.nodes[0].storage_id,
        )
        for group in row.groups
        for number, name in enumerate(new.get(group.name, ()))
    ]
    taken = room.of_nodes(nodes) | _of_site(settings, row, more)
    row.nodes += nodes
    session.flush()
    ledger.shift(session, row.id, taken, slot, now)
    return nodes


def _wanted(session: Session, settings: Settings, row: Reservation, more: Mapping[str, int]) -> list[Group]:
    """What has to find a place for so many more nodes of each group, their disks beside the cluster's others."""
    groups = {group.name: group for group in row.groups}
    storage = session.get_one(site.Host, row.nodes[0].storage_id)
    disk_mib = sum(groups[name].disk_gib * number for name, number in more.items()) * 1024
    of_site = {resource: amount for (_, resource), amount in _of_site(settings, row, more).items()}
    return [
        Group(SITE, (), of_site),
        *(
            room.compute(groups[name], tuple(_member(name, i) for i in range(number)))
            for name, number in more.items()
        ),
        Group("storage", (room.DISKS,), {"disk_mib": disk_mib}, pin=frozenset({storage.name})),
    ]


def _member(group: str, number: int) -> str:
    """What a new node is called while it is placed: no other is, as no name has a space in it."""
    return f"{group} {number}"


def _explain(
    session: Session,
    settings: Settings,
    account: Account,
    row: Reservation,
    counts: Mapping[str, int],
    refusal: NoRoom,
    now: datetime,
) -> NoRoom:
    """The refusal with who is in the way, and how many more nodes there is room for."""
    slot = _slot(settings, row, now)
    stock = room.read(session, settings, slot, now)
    there = Counter(node.group_id for node in row.nodes if node.leaving_at is None)
    more = {
        group.name: counts[group.name] - there[group.id]
        for group in row.groups
        if counts.get(group.name, 0) > there[group.id]
    }
    good = opening.largest(
        stock,
        lambda number: _wanted(session, settings, row, _fewer(more, number)),
        1,
        sum(more.values()) - 1,
        slot,
    )
    more = _fewer(more, good)
    fits = {g.name: there[g.id] + more.get(g.name, 0) for g in row.groups if g.name in counts}
    words = ", ".join(f"{number:,} in {name}" for name, number in fits.items())
    reasons = [*refusal.reasons, f"There is room for {words}."]
    in_the_way = availability.in_the_way(session, account, slot, refusal.hosts, now)
    return NoRoom(reasons, refusal.hosts, in_the_way)


def _fewer(more: Mapping[str, int], number: int) -> dict[str, int]:
    """So many in all, the group that is to get the most giving first; groups that get none are left out."""
    left = dict(more)
    while sum(left.values()) > number:
        left[max(left, key=lambda name: left[name])] -= 1
    return {name: count for name, count in left.items() if count}


def _give_back(session: Session, settings: Settings, row: Reservation, node: Node, now: datetime) -> None:
    less = {key: -amount for key, amount in room.of_nodes([node]).items()}
    if node.group is not None:
        less |= _of_site(settings, row, {node.group.name: -1})
    ledger.shift(session, row.id, less, _slot(settings, row, now), now)
    row.nodes.remove(node)
    session.flush()


def _of_site(
    settings: Settings, row: Reservation, more: Mapping[str, int]
) -> dict[tuple[int | str, str], int]:
    """What so many more nodes of each group, or fewer, take of the site as a whole beyond what the cluster holds."""
    there = Counter(node.group.appliance for node in row.nodes if node.group)
    then = there.copy()
    for group in row.groups:
        then[group.appliance] += more.get(group.name, 0)
    before, after = (room.of_number(numbers, row.rolls, settings) for numbers in (there, then))
    return {(SITE, key): after.get(key, 0) - before.get(key, 0) for key in before | after}


def _slot(settings: Settings, row: Reservation, now: datetime) -> Slot:
    """What is left of its slot, with the cleaning gap."""
    whole = room.occupied(settings, Slot(row.start_at, row.end_at))
    return Slot(max(whole.start, now), whole.end)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
