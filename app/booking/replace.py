# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Place anew what is booked on hosts that are out (drained, lost, under maintenance) and not built yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.booking import availability, room, version
from app.db import event, ledger, trouble
from app.db.base import Database
from app.db.reservation import Reservation
from app.db.site import Host
from app.domain.capacity import Taken
from app.domain.errors import NoRoom
from app.domain.opening import Stock
from app.domain.placement import Group
from app.domain.slot import Slot
from app.settings import Settings

# So many reservations are placed anew in one go, and one that found no room is left alone for so long.
MOST = 50
AGAIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Replaced:
    """What became of one reservation: `moves` in words; none, where there is no room elsewhere, for `why`."""

    reservation_id: int
    name: str
    moves: tuple[str, ...]
    why: str | None = None


def move_off(
    database: Database,
    settings: Settings,
    *,
    now: datetime,
    actor: str,
    host_id: int | None = None,
    most: int = MOST,
) -> list[Replaced]:
    """Place anew the earliest `most` reservations ahead that are booked on a host which is out, each in its slot.

    Of the host `host_id`, or of all hosts. Each is a transaction of its own under the ledger lock, with an event in
    its history. What finds no room elsewhere keeps its slot and its place, and its history says why and what would
    fit instead; it is tried again by the schedule pass. A counter-offer that would stand on such a host, or that was
    made to a request that moves, is withdrawn. May be repeated at any time.
    """
    with database.reading() as session:
        found = trouble.misplaced(session, now, most, host_id=host_id)
    done = [_replace(database, settings, number, now, actor) for number, _ in found]
    return [one for one in done if one is not None]


def _replace(
    database: Database, settings: Settings, reservation_id: int, now: datetime, actor: str
) -> Replaced | None:
    with database.writing(ledger=True) as session:
        row = session.get_one(Reservation, reservation_id)
        if trouble.hosts_out(session, row.id, of_offer=True):
            version.withdraw_offer(session, row, actor, now)
            row.version += 1
        out = trouble.hosts_out(session, row.id)
        if not out:
            return None
        try:
            moves = _place_anew(session, settings, row, out, now)
        except NoRoom as refusal:
            row.retry_at = now + AGAIN
            names = " and ".join(sorted(host.name for host in out.values()))
            why = f"It is booked on {names}, which cannot be used, and no other place is free: {refusal.reasons[0]}"
            if (row.why or "").startswith(why):
                return Replaced(row.id, row.name, (), row.why)
            short = refusal
        else:
            row.why = "Building begins in time for the slot." if row.state == "approved" else None
            row.retry_at = None
            words = [f"{what} moved from {before} to {after}" for what, before, after in moves]
            changed = (
                ", ".join(f"{what} on {before}" for what, before, _ in moves),
                ", ".join(f"{what} on {after}" for what, _, after in moves),
            )
            version.change(session, actor, row, "moved", f"{'; '.join(words)}.", {"hosts": changed}, now)
            return Replaced(row.id, row.name, tuple(words))
    return _tell(database, settings, row, short, why, now, actor)


def _tell(
    database: Database,
    settings: Settings,
    row: Reservation,
    short: NoRoom,
    why: str,
    now: datetime,
    actor: str,
) -> Replaced:
    """Write down, once for each cause, why it has to stay and what would fit instead; that is worked out unlocked."""
    slot = Slot(max(row.start_at, now), row.end_at) if row.end_at > now else Slot(row.start_at, row.end_at)
    with database.reading() as session:
        shape = room.shape_of(session.get_one(Reservation, row.id))
        # What else there is room for has disks of its own.
        is_new = row.saved_id is None
        instead = availability.instead(session, settings, None, shape, slot, now, row.id) if is_new else []
    offers = [
        f"{one.kind}, {one.shape.most} nodes from {one.slot.start:%Y-%m-%d %H:%M} to {one.slot.end:%Y-%m-%d %H:%M} UTC"
        for one in instead
    ]
    why += f" What would fit: {'; '.join(offers)}." if offers else " Nothing near by would fit."
    with database.writing() as session:
        session.get_one(Reservation, row.id).why = why[:2000]
        event.record(
            session, now, actor, "unplaced", why, reservation_id=row.id, data={"reasons": list(short.reasons)}
        )
    return Replaced(row.id, row.name, (), why)


def _place_anew(
    session: Session, settings: Settings, row: Reservation, out: Mapping[int, Host], now: datetime
) -> list[tuple[str, str, str]]:
    """Move what is on hosts that are out, and where that does not fit, whatever it takes: what moved, from which host,
    to which."""
    groups = room.groups_of(row, settings)
    slot = room.occupied(settings, Slot(row.start_at, row.end_at))
    held = {node.name: node.host_id for node in row.nodes}
    if row.saved_id is None:
        held[room.DISKS] = row.nodes[0].storage_id
    stock = room.read(session, settings, slot, now, without=row.id)
    placed = _fewest_moves(groups, held, out, stock, slot)
    names = {host.id: host.name for host in stock.candidates} | {host.id: host.name for host in out.values()}
    for node in row.nodes:
        node.host_id, node.storage_id = placed[node.name], placed.get(room.DISKS, node.storage_id)
    ledger.move(session, row.id, room.on_hosts(groups, placed), slot)
    return [(what, names[held[what]], names[placed[what]]) for what in held if held[what] != placed[what]]


def _fewest_moves(
    groups: Sequence[Group], held: Mapping[str, int], out: Collection[int], stock: Stock, slot: Slot
) -> dict[str, int]:
    """Where everything is then: what is on sound hosts stays if that can be, else all of it is placed afresh."""
    stays = {what: host_id for what, host_id in held.items() if host_id not in out}
    left = [
        dataclasses.replace(g, members=tuple(m for m in g.members if m not in stays), least=None)
        for g in groups
    ]
    kept = [
        dataclasses.replace(g, members=tuple(m for m in g.members if m in stays), least=None) for g in groups
    ]
    mine = [
        Taken(host_id, resource, amount, slot.start, slot.end)
        for (host_id, resource), amount in room.on_hosts(kept, stays).items()
    ]
    with_mine = Stock(stock.candidates, stock.have, [*stock.taken, *mine])
    try:
        return stays | dict(with_mine.fit([group for group in left if group.members], slot).hosts)
    except NoRoom:
        return dict(stock.fit(groups, slot).hosts)
