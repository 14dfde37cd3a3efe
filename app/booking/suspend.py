# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Suspend a whole cluster to the disks of its hosts, and resume it where its hosts have room again."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import availability, change, room, version
from app.db import ledger, resource, site
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.capacity import SITE, Key, free
from app.domain.errors import Conflict, NoRoom
from app.domain.opening import free_since
from app.domain.placement import UNITS
from app.domain.slot import Slot
from app.settings import Settings


def suspend(
    database: Database, settings: Settings, account: Account, reservation_id: int, seen: int, *, now: datetime
) -> None:
    """Ask for the cluster's machines to be saved to disk, by its owner or a cluster provider.

    The passes save them; what the machines take of their hosts is given back when all are saved. Conflict where it is
    not ready, its nodes come or go, the site's hypervisor does not save machines, or it was changed since version
    `seen`.
    """
    with database.writing(ledger=True) as session:
        row = change.changeable(session, account, reservation_id, seen)
        if settings.hypervisor == "xen":
            raise Conflict("Machines under Xen cannot be saved to disk here. Nothing was changed.")
        if row.suspend_requested_at is not None:
            raise Conflict("It is suspended already, or about to be.")
        if row.state != "ready":
            state = "being resumed" if row.state == "suspended" else row.state
            raise Conflict(f"It is {state}: only a cluster that is ready can be suspended.")
        if resource.is_behind(session, row.id):
            raise Conflict("Its nodes come or go: suspend it when that is done.")
        row.suspend_requested_at = row.retry_at = now
        message = f"{account.name} suspended it."
        version.change(session, account.name, row, "suspend", message, {"suspended": (None, now)}, now)


def resume(
    database: Database, settings: Settings, account: Account, reservation_id: int, seen: int, *, now: datetime
) -> None:
    """Ask for the cluster's machines to run again, on the hosts that have their memory, by its owner or a cluster
    provider.

    What was given back is taken again in this one transaction. NoRoom says what is short, who is in the way and from
    when it fits; Conflict where it is not suspended, or was changed since version `seen`. In each case nothing is
    changed.
    """
    try:
        with database.writing(ledger=True) as session:
            row = change.changeable(session, account, reservation_id, seen)
            if row.suspend_requested_at is None:
                raise Conflict("It is not suspended, or about to be resumed.")
            if row.end_at <= now:
                raise Conflict("Its slot is over: there is nothing left to resume.")
            if row.state == "suspended":
                _take(session, settings, row, now)
            before, row.suspend_requested_at, row.retry_at = row.suspend_requested_at, None, now
            message = f"{account.name} resumed it."
            version.change(session, account.name, row, "resume", message, {"suspended": (before, None)}, now)
    except NoRoom as why:
        with database.reading() as session:
            row = change.changeable(session, account, reservation_id, seen)
            raise _explain(session, settings, account, row, why, now) from why


def saved(session: Session, settings: Settings, row: Reservation, now: datetime) -> None:
    """The cluster's machines are all on disk: give back what they took of their hosts. Under the ledger lock."""
    less = {key: -amount for key, amount in _of_machines(row).items()}
    ledger.shift(session, row.id, less, _occupied(settings, row), now)


def _take(session: Session, settings: Settings, row: Reservation, now: datetime) -> None:
    slot, wanted = _left(settings, row, now), _of_machines(row)
    stock = room.read(session, settings, slot, now)
    left = free(stock.have, stock.taken, slot)
    names = {host.id: host.name for host in site.hosts(session)}
    usable = {host.id for host in stock.candidates}
    reasons, hosts = [], []
    for (holder, resource_name), amount in wanted.items():
        if holder == SITE or left.get((holder, resource_name), 0) >= amount:
            continue
        hosts.append(int(holder))
        if holder not in usable:
            reasons.append(f"{names[int(holder)]} cannot be used: it is drained, or does not answer.")
        else:
            found, unit = left[holder, resource_name], UNITS[resource_name]
            reasons.append(
                f"{names[int(holder)]}: {found:,} of {amount:,} {unit} free in what is left of the slot."
            )
    if reasons:
        raise NoRoom(list(dict.fromkeys(reasons)), list(dict.fromkeys(hosts)))
    ledger.shift(session, row.id, wanted, _occupied(settings, row), now)


def _explain(
    session: Session, settings: Settings, account: Account, row: Reservation, refusal: NoRoom, now: datetime
) -> NoRoom:
    """The refusal with who is in the way, and from when there is room."""
    slot = _left(settings, row, now)
    stock = room.read(session, settings, slot, now)
    since = free_since(stock.have, stock.taken, _of_machines(row), slot)
    fits = (
        "There is no room for it before its slot ends."
        if since is None or since >= row.end_at
        else f"As things stand now there is room for it from {since:%Y-%m-%d %H:%M} UTC."
    )
    in_the_way = availability.in_the_way(session, account, slot, refusal.hosts, now, without=row.id)
    return NoRoom([*refusal.reasons, fits], refusal.hosts, in_the_way)


def _of_machines(row: Reservation) -> dict[Key, int]:
    """What its machines take while they run, by (host id, resource), and their number for the accounts."""
    total: Counter[Key] = Counter()
    for node in row.nodes:
        for resource_name, amount in room.of_guest(node.vcpus, node.memory_mib).items():
            total[node.host_id, resource_name] += amount
        total[SITE, ledger.NODE] += node.kind == "compute"
    return dict(total)


def _occupied(settings: Settings, row: Reservation) -> Slot:
    return room.occupied(settings, Slot(row.start_at, row.end_at))


def _left(settings: Settings, row: Reservation, now: datetime) -> Slot:
    """What is left of its slot, with the cleaning gap."""
    whole = _occupied(settings, row)
    return Slot(max(whole.start, now), whole.end)
