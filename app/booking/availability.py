# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The three questions: what is free at a time, when is the earliest slot, how large a cluster fits in a slot.

Answers are what is true while they are computed; nothing is held by asking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.booking import quota, room
from app.db import ledger, reservation, site
from app.db.account import Account
from app.db.base import Database
from app.domain import opening
from app.domain.capacity import SITE, free
from app.domain.errors import NoRoom
from app.domain.opening import Stock
from app.domain.placement import Group
from app.domain.refusal import Alternative, InTheWay
from app.domain.search import Search
from app.domain.shape import Shape
from app.domain.shape_input import Limits
from app.domain.slot import Slot
from app.settings import Settings

# Offered instead only if it is worth while.
SHORTEST = timedelta(minutes=10)
MOST_IN_THE_WAY = 5
# The site and the project by turns are asked for a later slot so often.
MOST_TURNS = 5


@dataclass(frozen=True)
class Share:
    """How much of one resource of the hosts of one role, or of one of the site's pools, is free throughout a slot.

    `largest` is the most that is free on one host.
    """

    role: str
    resource: str
    free: int
    total: int
    largest: int


def limits(settings: Settings) -> Limits:
    """What `settings` lets one request ask for."""
    booking = settings.booking
    known = Limits(nodes=booking.max_nodes, length=timedelta(days=booking.max_days))
    # libxl gives a device to one guest of a host alone: it has no mode "w!", and libvirt's <shareable/> none either.
    return replace(known, shared_disk_gib=0) if settings.hypervisor == "xen" else known


def shares(database: Database, settings: Settings, slot: Slot, *, now: datetime) -> list[Share]:
    """How much is free throughout `slot`: what is taken for a part of it counts as taken."""
    with database.reading() as session:
        stock = room.read(session, settings, room.occupied(settings, slot), now)
    left = free(stock.have, stock.taken, room.occupied(settings, slot))
    wanted = (
        ("gateway", "vcpu"),
        ("gateway", "memory_mib"),
        ("compute", "vcpu"),
        ("compute", "memory_mib"),
        ("storage", "disk_mib"),
    )
    found = []
    for role, resource in wanted:
        keys = [(host.id, resource) for host in stock.candidates if role in host.roles]
        amounts = [left[key] for key in keys]
        total = sum(stock.have[key] for key in keys)
        found.append(Share(role, resource, sum(amounts), total, max(amounts, default=0)))
    pools = [key for key in stock.have if key[0] == SITE and key[1] != ledger.NODE]
    return found + [Share("site", key[1], left[key], stock.have[key], left[key]) for key in pools]


def earliest(
    database: Database,
    settings: Settings,
    shape: Shape,
    length: timedelta,
    since: datetime,
    until: datetime | None = None,
    *,
    now: datetime,
) -> Slot | None:
    """The earliest slot of this length that begins in [since, until] and has room for the shape, its least at the
    least; None: none has.

    To the whole minute where that fits. `until` is at most as far ahead as one may book, and that if None.
    """
    with database.reading() as session:
        return _earliest(session, settings, shape, length, since, until, now)


def largest(database: Database, settings: Settings, shape: Shape, slot: Slot, *, now: datetime) -> int:
    """How many compute nodes like those of `shape` one cluster may have in `slot`; 0 when there is no room at all.

    With fewer or more of the largest group, see `Shape.of`; of each group there is one at least, or its least.
    """
    with database.reading() as session:
        stock = room.read(session, settings, room.occupied(settings, slot), now)
    return _largest(stock, settings, shape.yielding, settings.booking.max_nodes, slot)


def explain(
    database: Database,
    settings: Settings,
    account: Account,
    shape: Shape,
    slot: Slot,
    refusal: NoRoom,
    *,
    now: datetime,
) -> NoRoom:
    """The refusal with who is in the way of the shape in `slot`, as far as `account` may know, and what would fit
    instead."""
    with database.reading() as session:
        return NoRoom(
            refusal.reasons,
            refusal.hosts,
            in_the_way(session, account, room.occupied(settings, slot), refusal.hosts, now),
            instead(session, settings, account, shape, slot, now),
        )


def instead(
    session: Session,
    settings: Settings,
    account: Account | None,
    shape: Shape,
    slot: Slot,
    now: datetime,
    without: int | None = None,
) -> list[Alternative]:
    """What fits in place of this shape in this slot and of what `without` holds there: later, smaller, shorter.

    Later, the project of `account` may have it then, too; None: no ceilings count.
    """
    found = []
    later = _later(session, settings, account, shape, slot, now)
    if later is not None:
        found.append(Alternative("later", later, shape))
    stock = room.read(session, settings, room.occupied(settings, slot), now, without)
    number = _largest(stock, settings, shape.yielding, shape.least - 1, slot)
    if number:
        found.append(Alternative("smaller", slot, shape.yielding.of(number)))
    shorter = opening.latest_end(stock, room.groups(shape.smallest, settings), room.occupied(settings, slot))
    if shorter is not None:
        end = shorter - room.gap(settings)
        if end - slot.start >= SHORTEST:
            end = end.replace(second=0, microsecond=0)
            found.append(Alternative("shorter", Slot(slot.start, end), shape))
    return found


def _later(
    session: Session, settings: Settings, account: Account | None, shape: Shape, slot: Slot, now: datetime
) -> Slot | None:
    """The earliest slot as long as this one, not before it, for which both the site and the project have room."""
    since = slot.start
    for _ in range(MOST_TURNS):
        found = _earliest(session, settings, shape, slot.length, since, None, now)
        if found is None:
            break
        start = quota.first_start(session, settings, account, shape.least, found, now)
        if start is None:
            break
        if start == found.start:
            return found
        since = start
    return None


def _earliest(
    session: Session,
    settings: Settings,
    shape: Shape,
    length: timedelta,
    since: datetime,
    until: datetime | None,
    now: datetime,
) -> Slot | None:
    furthest = now + limits(settings).ahead
    until = furthest if until is None else min(until, furthest)
    if until < since:
        return None
    taken_for = length + room.gap(settings)
    # A minute more than the slots, for the answer may be moved to the whole minute.
    within = Slot(since, until + taken_for + timedelta(minutes=1))
    hosts, read = room.open_ledger(session, settings, within, now)
    groups = room.groups(shape.smallest, settings)
    start = Search(hosts, read, groups, taken_for).earliest(since, until)
    return None if start is None else Slot(start, start + length)


def _largest(stock: Stock, settings: Settings, shape: Shape, most: int, slot: Slot) -> int:
    def groups_of(number: int) -> list[Group]:
        return room.groups(shape.of(number), settings)

    return opening.largest(stock, groups_of, shape.least, most, room.occupied(settings, slot))


def in_the_way(
    session: Session,
    account: Account,
    slot: Slot,
    hosts: tuple[int, ...],
    now: datetime,
    without: int | None = None,
) -> list[InTheWay]:
    """Who has something of these hosts (none: of the site's pools) in `slot`, as far as `account` may know, but for
    the reservation `without`."""
    until = ledger.holders(session, slot, now, hosts)
    until.pop(without or 0, None)
    names = reservation.names_visible(session, account, until)
    clusters = [
        InTheWay(
            f"the cluster {names[number]}" if number in names else "another project", names.get(number), end
        )
        for number, end in until.items()
    ]
    # Many clusters of others that end together are one line.
    found = sorted(set(clusters), key=lambda one: (one.until, one.what))
    kept = {host_id: end for host_id, _, end in site.maintenance(session, slot) if host_id in hosts}
    repairs = [
        InTheWay(f"maintenance of {row.name}", None, kept[row.id]) for row in site.capacities(session, kept)
    ]
    return (repairs + found)[:MOST_IN_THE_WAY]
