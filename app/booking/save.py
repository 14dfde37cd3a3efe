# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep a cluster's disks after its slot, and book it again: in another slot, on whichever hosts have room then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import availability, change, quota, room, version
from app.booking.request import check_name, write_groups, write_row
from app.db import event, kept, ledger, resource, site
from app.db.account import Account
from app.db.base import Database, insert_all
from app.db.reservation import ClusterUser, Node, Reservation
from app.domain.capacity import free
from app.domain.errors import Conflict, InvalidRequest, NoRoom
from app.domain.placement import Group, Placement
from app.domain.request import Request, User, validate_slot
from app.domain.shape import Shape
from app.domain.slot import Slot, utc
from app.settings import Settings

# In these states there is something to keep, and it is known what.
HAVE_DISKS = ("ready", "suspended", "saved")


def keep(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    until: datetime | None,
    *,
    now: datetime,
) -> None:
    """Keep the cluster's disks after its slot until `until`, or no longer (None); by its owner or a cluster provider.

    Until then the ledger holds their room. A cluster that is saved already is kept so long instead, and goes at once
    with None. InvalidRequest names the date where it cannot be; NoRoom says what is short; Conflict where there are no
    disks to keep, its nodes come or go, its disks are another cluster's longer than that, or it was changed since
    version `seen`. In each case nothing is changed.
    """
    until = None if until is None else utc(until)
    with database.writing(ledger=True) as session:
        row = change.owned(session, account, reservation_id)
        version.check(session, row, seen)
        _check_keeps(session, row)
        if until is None:
            let_go(session, account, row, now)
            return
        _check_until(session, settings, row, until, now)
        is_saved, gap = row.state == "saved", room.gap(settings)
        slot = Slot(now if is_saved else row.end_at + gap, until + gap)
        _check_room(session, settings, account, row, slot, now)
        before, row.keep_until = row.keep_until, until
        if is_saved:
            ledger.set_end(session, row.id, slot.end)
            row.retry_at = until
        else:
            ledger.keep_nothing(session, row.id, row.end_at)
            ledger.take(session, row.id, room.of_disks(row), slot)
        message = f"{account.name} has its disks kept until {until:%Y-%m-%d %H:%M} UTC."
        version.change(session, account.name, row, "keep", message, {"keep_until": (before, until)}, now)


def let_go(session: Session, account: Account, row: Reservation, now: datetime) -> None:
    """Let its disks go with its slot, or now where that is over. Under the ledger lock; Conflict while they are another
    cluster's."""
    if row.keep_until is None:
        raise Conflict("Its disks are not kept: they go with its slot.")
    if row.state == "saved":
        if other := kept.restored(session, row.id):
            raise Conflict(f"The cluster {other.name} stands on its disks, or is to: cancel that first.")
        after, row.retry_at = now, None
    else:
        ledger.keep_nothing(session, row.id, row.end_at)
        after = None
    before, row.keep_until = row.keep_until, after
    message = f"{account.name} has its disks kept no longer."
    version.change(session, account.name, row, "keep", message, {"keep_until": (before, after)}, now)


def saved(session: Session, settings: Settings, row: Reservation, now: datetime) -> None:
    """Nothing stands of the cluster but its disks: give back all the rest. Under the ledger lock."""
    assert row.keep_until is not None
    # Of a node that was about to leave nothing was kept.
    row.nodes = [node for node in row.nodes if node.leaving_at is None]
    session.flush()
    ledger.keep_nothing(session, row.id, row.end_at)
    ledger.release(session, row.id, now)
    until = row.keep_until + room.gap(settings)
    if until > now:
        ledger.take(session, row.id, room.of_disks(row), Slot(now, until))


def restore(
    database: Database,
    settings: Settings,
    account: Account,
    saved_id: int,
    seen: int,
    raw: Mapping[str, object],
    *,
    now: datetime,
) -> int:
    """Book a saved cluster for another slot, by its owner or a cluster provider; the id of the new reservation.

    `raw` holds name, start, end and note, as `domain.request.validate` reads them; the name is the reservation's, the
    cluster within keeps its own, as it keeps its nodes, users, addresses, and what is on its disks. It is placed on
    whichever hosts have room; its disks stay where they are. It is approved like any other request. InvalidRequest
    names the fields to mend, the slot's end where the disks are not kept for so long; NoRoom says what is short;
    Conflict where it is not saved, somebody has it, or it was changed since version `seen`. In each case nothing is
    changed.
    """
    with database.writing(ledger=True) as session:
        row = change.owned(session, account, saved_id)
        version.check(session, row, seen)
        if row.state != "saved" or row.keep_until is None or row.keep_until <= now:
            state = "kept no longer" if row.state == "saved" else row.state
            raise Conflict(f"It is {state}: only a saved cluster is restored.")
        name, slot, note = validate_slot(raw, now=now, limits=availability.limits(settings))
        if other := kept.restored(session, row.id):
            raise Conflict(f"It is booked already, as {other.name}: one cluster at a time has its disks.")
        if slot.end > row.keep_until:
            until = f"{row.keep_until:%Y-%m-%d %H:%M} UTC"
            raise InvalidRequest({"end": f"Its disks are kept until {until}: keep them longer first."})
        check_name(session, name)
        shape = room.shape_of(row)
        quota.within(session, settings, account, shape, slot, now)
        groups = room.without_disks(room.groups(shape, settings))
        placed = _place(session, settings, account, row, groups, room.occupied(settings, slot), now)
        users = tuple(User(user.name, tuple(user.keys)) for user in row.users)
        wanted, told = Request(name, slot, shape, users, note), f"{account.name} asked for {row.name} again."
        amounts, more = room.amounts(groups, placed), {"saved_id": row.id}
        number = write_row(session, settings, account, wanted, shape.most, amounts, told, more, now)
        _write_nodes(session, settings, row, number, shape, placed)
        values = [
            {"reservation_id": number, "name": one.name, "uid": one.uid, "keys": one.keys}
            for one in row.users
        ]
        insert_all(session, ClusterUser, values)
        told = f"{account.name} asked for it again, as {name}."
        event.record(session, now, account.name, "restore", told, reservation_id=row.id)
        return number


def _check_keeps(session: Session, row: Reservation) -> None:
    """Conflict where there is nothing of this reservation to keep, or it is not settled what."""
    if row.saved is not None:
        raise Conflict(f"Its disks are those of {row.saved.name}: keep that one longer.")
    is_called_off = row.cancel_requested_at is not None and row.state != "saved"
    if row.state not in HAVE_DISKS or is_called_off:
        state = "cancelled" if is_called_off else row.state
        raise Conflict(f"It is {state}: the disks of a cluster that is ready can be kept.")
    if resource.is_behind(session, row.id) and row.state != "saved":
        raise Conflict("Its nodes come or go: keep its disks when that is done.")


def _check_until(
    session: Session, settings: Settings, row: Reservation, until: datetime, now: datetime
) -> None:
    """InvalidRequest, or Conflict, where its disks cannot be kept until exactly then."""
    longest = availability.limits(settings).length
    if until <= max(row.end_at, now) or until > row.end_at + longest:
        message = f"Its disks are kept until a time after the slot's end, and {longest.days} days after that at most."
        raise InvalidRequest({"until": message})
    other = kept.restored(session, row.id)
    if other is not None and until < other.end_at:
        raise Conflict(
            f"The cluster {other.name} stands on its disks until {other.end_at:%Y-%m-%d %H:%M} UTC."
        )


def _check_room(
    session: Session, settings: Settings, account: Account, row: Reservation, slot: Slot, now: datetime
) -> None:
    """NoRoom where others are to have the room of its disks at some moment of `slot`."""
    stock = room.read(session, settings, slot, now, without=row.id)
    left = free(stock.have, stock.taken, slot)
    short = {key: amount for key, amount in room.of_disks(row).items() if left.get(key, 0) < amount}
    if short:
        hosts = [int(holder) for holder, _ in short]
        names = {host.id: host.name for host in site.by_id(session, hosts).values()}
        reasons = [
            f"{names[int(key[0])]}: {left.get(key, 0):,} of {amount:,} MiB of disk free for so long."
            for key, amount in short.items()
        ]
        in_the_way = availability.in_the_way(session, account, slot, tuple(hosts), now, without=row.id)
        raise NoRoom(reasons, hosts, in_the_way)


def _place(
    session: Session,
    settings: Settings,
    account: Account,
    row: Reservation,
    groups: list[Group],
    slot: Slot,
    now: datetime,
) -> Placement:
    """Where its machines are in `slot`; NoRoom also where the host of its disks cannot be used then."""
    stock = room.read(session, settings, slot, now)
    usable = {host.id for host in stock.candidates} - {host for host, *_ in site.maintenance(session, slot)}
    disks = sorted({node.storage_id for node in row.nodes})
    try:
        if out := [host for host in site.by_id(session, disks).values() if host.id not in usable]:
            why = f"{out[0].name}, which has its disks, cannot be used: it is drained, in repair, or does not answer."
            raise NoRoom([why], [host.id for host in out])
        return stock.fit(groups, slot)
    except NoRoom as why:
        in_the_way = availability.in_the_way(session, account, slot, why.hosts, now)
        raise NoRoom(why.reasons, why.hosts, in_the_way) from why


def _write_nodes(
    session: Session, settings: Settings, row: Reservation, number: int, shape: Shape, placed: Placement
) -> None:
    """Its groups and nodes again, each at its position: addresses are made of these."""
    groups = dict(zip([group.id for group in row.groups], write_groups(session, number, shape), strict=True))
    front = settings.booking
    values = [
        {
            "reservation_id": number,
            "group_id": None if node.group_id is None else groups[node.group_id],
            "position": node.position,
            "name": node.name,
            "kind": node.kind,
            "vcpus": front.frontend_vcpus if node.kind == "frontend" else node.vcpus,
            "memory_mib": front.frontend_memory_mib if node.kind == "frontend" else node.memory_mib,
            "disk_gib": node.disk_gib,
            "host_id": placed.hosts[node.name],
            "storage_id": node.storage_id,
        }
        for node in row.nodes
    ]
    insert_all(session, Node, values)
