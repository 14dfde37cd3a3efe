# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What came of a simulated time: who was late, how full the site was, what hosts did, and what was left standing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.booking import room
from app.db import ledger, site
from app.db.ledger import Allocation
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Assignment, Host
from app.domain.capacity import Taken, peaks
from app.domain.lifecycle import FINAL
from app.domain.slot import Slot
from app.settings import Settings
from workers.simulator.hosts import SimulatedHosts
from workers.simulator.wishes import Refusal

# A golden image stays for the next cluster.
STAYS = "image"


@dataclass(frozen=True)
class Fate:
    """What became of one reservation; `late_s` is READY less the slot's start, None where it never was ready."""

    name: str
    state: str
    late_s: float | None


@dataclass(frozen=True)
class Peak:
    """The most that was booked at once of one resource, of all hosts with these roles or of the site's pools."""

    holder: str
    resource: str
    most: int
    have: int


@dataclass(frozen=True)
class Work:
    """What one host did: operations carried out, and requests that failed there."""

    host: str
    did: dict[str, int]
    failed: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """The whole answer."""

    begin: datetime
    end: datetime
    booked: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def late_s(self) -> dict[str, float]:
        """Median and longest lateness of those that became ready, in seconds; below zero is early."""
        known = [fate.late_s for fate in self.fates if fate.late_s is not None]
        return {"median": statistics.median(known), "most": max(known)} if known else {}


def sum_up(
    session: Session,
    settings: Settings,
    hosts: SimulatedHosts,
    slot: Slot,
    booked: Sequence[str],
    refused: Sequence[Refusal],
) -> Outcome:
    """Everything that can be told of the time in `slot`, from the rows and the hosts as they are at its end."""
    rows = session.scalars(select(Reservation).order_by(Reservation.start_at, Reservation.id)).all()
    return Outcome(
        slot.start,
        slot.end,
        list(booked),
        list(refused),
        [Fate(row.name, row.state, _late_s(row)) for row in rows],
        _peaks(session, settings, slot),
        [
            Work(name, dict(host.did), dict(host.failed))
            for name, host in sorted(hosts.by_name.items())
            if host.asked
        ],
        _left(session, hosts),
    )


def _late_s(row: Reservation) -> float | None:
    return (row.ready_at - row.start_at).total_seconds() if row.ready_at else None


def _peaks(session: Session, settings: Settings, slot: Slot) -> list[Peak]:
    kind = {
        host.id: " + ".join(sorted(host.role_names - {"builder"})) or "no role"
        for host in site.hosts(session)
    }
    a = Allocation
    rows = session.execute(select(a.host_id, a.resource, a.amount, a.start_at, a.end_at, a.released_at))
    taken = []
    for host_id, resource, amount, start, end, released in rows:
        # What was given back early was free from then on; what stood longer was held longer.
        until = released or end
        if until > start:
            holder = ledger.SITE if host_id is None else kind[host_id]
            taken.append(Taken(holder, resource, amount, start, until))
    have: dict[tuple[int | str, str], int] = {}
    for (owner, resource), amount in room.capacity(session, settings).items():
        key = (kind[owner] if isinstance(owner, int) else owner, resource)
        have[key] = have.get(key, 0) + amount
    most = peaks(taken, slot)
    return [
        Peak(str(holder), resource, most[holder, resource], have.get((holder, resource), 0))
        for holder, resource in sorted(most, key=str)
    ]


def _left(session: Session, hosts: SimulatedHosts) -> list[str]:
    """What ought to be gone and is not: things on hosts, rows, numbers and amounts of reservations that are over."""
    live = set(session.scalars(select(Reservation.id).where(Reservation.state.not_in(FINAL))))
    names = {(host.id): host.name for host in session.scalars(select(Host))}
    own = session.scalars(select(Resource).where(Resource.reservation_id.is_not(None))).all()
    wanted = {(names[row.host_id], row.op, row.name) for row in own if row.reservation_id in live}
    left = [
        f"{host.name}: {op} {name}"
        for host in hosts.by_name.values()
        for op, name in host.there
        if op != STAYS and (host.name, op, name) not in wanted
    ]
    left += [
        f"row of {row.op} {row.name}: {row.have}"
        for row in own
        if row.have != "absent" and row.reservation_id not in live
    ]
    left += [
        f"{one.kind} {one.value}"
        for one in session.scalars(select(Assignment))
        if one.reservation_id not in live
    ]
    held = session.scalars(select(Allocation).where(Allocation.released_at.is_(None)))
    left += [f"{one.amount} {one.resource}" for one in held if one.reservation_id not in live]
    return left
