# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What was used of the site in a time, summed up by the database: one query, however many reservations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, and_, case, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from app.db.account import Account
from app.db.base import Utc
from app.db.ledger import NODE, Allocation
from app.db.project import Project
from app.db.reservation import Reservation, visible

# What was approved once; the others never had more than the place held for them.
RENTED = ("approved", "building", "ready", "suspended", "ending", "saved", "ended")
MIB_A_GIB = 1024
HOUR_S = 3600


@dataclass(frozen=True)
class Use:
    """What one project, or one reservation of it, used: hours times nodes, GiB of memory and of disk, addresses.

    Of a project `reservations` are counted; of a reservation the rest is told as well.
    """

    project: str
    reservations: int
    node_hours: float
    memory_gib_hours: float
    disk_gib_hours: float
    address_hours: float
    number: int | None = None
    name: str | None = None
    owner: str | None = None
    state: str | None = None
    start: datetime | None = None
    end: datetime | None = None


def of_projects(
    session: Session, account: Account | None, since: datetime, until: datetime, longest: timedelta
) -> list[Use]:
    """As `of_reservations`, summed up by project, by its name."""
    query = select(Project.name, func.count(Reservation.id.distinct()), *_hours(session, since, until))
    query = _within(query, account, since, until, longest).group_by(Project.id).order_by(Project.name)
    return [Use(project, count, *hours) for project, count, *hours in session.execute(query)]


def of_reservations(
    session: Session,
    account: Account | None,
    since: datetime,
    until: datetime,
    longest: timedelta,
    limit: int | None = None,
) -> list[Use]:
    """What each reservation that `account` may see (None: each there is) used in [since, until), by start.

    Use begins with the slot and ends with it, or when it was given back before; that of disks when they are kept no
    longer. What lies ahead counts as booked. From the start of a slot to there it is never longer than `longest`, which
    keeps the query from reading all that ever was.
    """
    r = Reservation
    about = (r.id, r.name, Account.name, r.state, r.start_at, r.end_at)
    query = select(Project.name, literal(1), *_hours(session, since, until), *about)
    query = _within(query, account, since, until, longest).group_by(r.id, Project.id, Account.id)
    return [Use(*row) for row in session.execute(query.order_by(r.start_at, r.id).limit(limit))]


def _within(query: Any, account: Account | None, since: datetime, until: datetime, longest: timedelta) -> Any:
    r, a = Reservation, Allocation
    query = query.select_from(r).join(a, a.reservation_id == r.id)
    query = query.join(Project, Project.id == r.project_id).join(Account, Account.id == r.owner_id)
    query = query.where(
        r.state.in_(RENTED),
        r.start_at < until,
        r.start_at > since - longest,
        or_(r.end_at > since, r.keep_until > since),
    )
    query = query.where(a.resource.in_(("memory_mib", "disk_mib", "public_address", NODE)))
    begin, end = _span(since, until)
    query = query.where(begin < end)
    return query if account is None else query.where(r.id.in_(visible(account).with_only_columns(r.id)))


def _span(since: datetime, until: datetime) -> tuple[ColumnElement[datetime], ColumnElement[datetime]]:
    """From when to when an allocation was used within [since, until)."""
    r, a = Reservation, Allocation
    first, last = literal(since, Utc), literal(until, Utc)
    # What building takes before the slot is nobody's use; nor is the gap kept free after it, nor what taking down takes
    # beyond it. Disks that are kept are used for as long as they are.
    begun = case((a.start_at < r.start_at, r.start_at), else_=a.start_at)
    is_kept = and_(a.resource == "disk_mib", r.keep_until.is_not(None))
    until_then = case(
        (and_(is_kept, r.keep_until < a.end_at), r.keep_until), (is_kept, a.end_at), else_=r.end_at
    )
    over = case((a.released_at < until_then, a.released_at), else_=until_then)
    return case((begun > first, begun), else_=first), case((over < last, over), else_=last)


def _hours(session: Session, since: datetime, until: datetime) -> Sequence[ColumnElement[Any]]:
    """The columns node_hours to address_hours of `Use`."""
    begin, end = _span(since, until)
    # Both count seconds, each in its own way.
    if session.get_bind().dialect.name == "sqlite":
        seconds = (func.julianday(end) - func.julianday(begin)) * 86_400
    else:
        seconds = func.extract("epoch", end - begin)

    def hours(resource: str, unit: int = 1) -> ColumnElement[Any]:
        amount = case((Allocation.resource == resource, Allocation.amount * seconds), else_=0.0)
        return cast(func.sum(amount), Float) / float(HOUR_S * unit)

    return [
        hours(NODE),
        hours("memory_mib", MIB_A_GIB),
        hours("disk_mib", MIB_A_GIB),
        hours("public_address"),
    ]
