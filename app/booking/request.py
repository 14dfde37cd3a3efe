# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask for a virtual cluster: place it and write it, or say what is short and write nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.booking import availability, quota, room
from app.db import event, ledger, project, reservation
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import ClusterUser, Node, Reservation
from app.domain.approval import AutoApprove, rule_for
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.placement import Placement
from app.domain.quota import Holding
from app.domain.request import Request, validate
from app.settings import Settings

# Cluster users get uids from here on: above what Debian gives to accounts made by hand on a fresh system.
FIRST_UID = 2001


def request(
    database: Database,
    settings: Settings,
    account: Account,
    raw: Mapping[str, object],
    *,
    rolls: Collection[str],
    now: datetime,
    key: str | None = None,
) -> int:
    """Validate, place and store what `account` asks for; return the new reservation's id.

    One transaction under the ledger lock. InvalidRequest names the fields to mend; NoRoom says what is short, who is
    in the way, and what would fit. In both cases nothing is written. A `key` (at most 64 characters) names the
    request: sent again, it answers with the reservation that was made the first time.
    """
    if key is not None:
        with database.reading() as session:
            made = reservation.id_by_key(session, account.id, key)
        if made is not None:
            return made
    wanted = validate(raw, now=now, rolls=rolls, limits=availability.limits(settings))
    try:
        return _book(database, settings, account, wanted, now, key)
    except NoRoom as why:
        # Outside the lock: whoever books meanwhile does not wait for good advice.
        raise availability.explain(database, settings, account, wanted, why, now=now) from why


def _book(
    database: Database, settings: Settings, account: Account, wanted: Request, now: datetime, key: str | None
) -> int:
    with database.writing(ledger=True) as session:
        # Looked for again under the lock: the first of two sent at once may have been written meanwhile.
        if key is not None and (made := reservation.id_by_key(session, account.id, key)) is not None:
            return made
        if reservation.live_name_exists(session, wanted.name):
            raise InvalidRequest(
                {"name": f"There is a cluster called {wanted.name!r} already. Choose another name."}
            )
        holding = Holding(len(wanted.node_names), wanted.slot)
        quota.check(session, settings, account, account.project_id, holding, now)
        groups = room.groups(wanted.shape, settings)
        slot = room.occupied(settings, wanted.slot)
        placement = room.find(session, settings, groups, slot, now, name=wanted.name)
        row = _row(wanted, settings, account, now)
        row.request_key = key
        session.add(row)
        session.flush()
        connection = session.connection()
        connection.execute(insert(Node), _nodes(wanted, settings, placement, row.id))
        connection.execute(insert(ClusterUser), _users(wanted, row.id))
        ledger.take(session, row.id, room.amounts(groups, placement), slot)
        event.record(
            session,
            now,
            account.name,
            "requested",
            f"{account.name} asked for {len(wanted.node_names)} compute nodes.",
            reservation_id=row.id,
        )
        name = project.name_of(session, row.project_id)
        if (rule := rule_for(settings.booking.auto_approve, name, holding, now)) is not None:
            _approve(session, row, rule, now)
        return row.id


def _approve(session: Session, row: Reservation, rule: AutoApprove, now: datetime) -> None:
    """Approve what was just written, by a rule of the site."""
    row.state, row.decided_at = "approved", now
    row.why = "Building begins in time for the slot."
    message = f"Approved by the site's rule {rule.name!r}."
    event.record(session, now, f"rule:{rule.name}", "approved", message, reservation_id=row.id)


def _row(wanted: Request, settings: Settings, account: Account, now: datetime) -> Reservation:
    return Reservation(
        name=wanted.name,
        owner_id=account.id,
        project_id=account.project_id,
        state="requested",
        start_at=wanted.slot.start,
        end_at=wanted.slot.end,
        home_gib=wanted.home_gib,
        rolls=list(wanted.rolls),
        note=wanted.note,
        policy=wanted.policy,
        tags=list(wanted.tags),
        requested_at=now,
        # An answer that comes after the start still counts for an hour: the slot may have been asked for at once.
        hold_until=min(
            now + settings.hold, max(wanted.slot.start, now + timedelta(hours=1)), wanted.slot.end
        ),
        why="Waits for approval by a cluster provider.",
    )


def _nodes(
    wanted: Request, settings: Settings, placement: Placement, reservation_id: int
) -> list[dict[str, object]]:
    front, hosts = settings.booking, placement.hosts
    frontend = (
        front.frontend_vcpus,
        front.frontend_memory_mib,
        room.frontend_disk_gib(wanted.shape, settings),
    )
    compute = (wanted.vcpus, wanted.memory_mib, wanted.disk_gib)
    return [
        {
            "reservation_id": reservation_id,
            "position": position,
            "name": name,
            "kind": "compute" if position else "frontend",
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "disk_gib": disk_gib,
            "host_id": hosts[name],
            "storage_id": hosts["disks"],
        }
        for position, name in enumerate(("frontend", *wanted.node_names))
        for vcpus, memory_mib, disk_gib in [compute if position else frontend]
    ]


def _users(wanted: Request, reservation_id: int) -> list[dict[str, object]]:
    return [
        {"reservation_id": reservation_id, "name": user.name, "uid": uid, "keys": list(user.keys)}
        for uid, user in enumerate(wanted.users, start=FIRST_UID)
    ]
