# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reservations, their nodes and users, and every query that decides who may see which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVarTuple

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Row,
    Select,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, selectinload

from app.db.account import Account
from app.db.base import Base, Utc, rows
from app.domain.lifecycle import LIVE, STATES

# Written out, not bound: only so can SQLite tell that a query asks for no more than the partial index holds.
IS_LIVE = text(f"state IN {LIVE!r}")


class Reservation(Base):
    """One request for one virtual cluster in one slot. Only a decision and the schedule pass write `state`."""

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint(f"state IN {STATES!r}", name="state"),
        CheckConstraint("start_at < end_at", name="slot"),
        CheckConstraint("home_gib > 0", name="home"),
        CheckConstraint("shared_disk_gib >= 0", name="shared_disk"),
        UniqueConstraint("owner_id", "request_key"),
        Index(
            "uq_reservation_live_name",
            "name",
            unique=True,
            sqlite_where=IS_LIVE,
            postgresql_where=IS_LIVE,
        ),
        # The disks of a saved cluster are one cluster's at a time.
        Index(
            "uq_reservation_live_saved_id",
            "saved_id",
            unique=True,
            sqlite_where=IS_LIVE,
            postgresql_where=IS_LIVE,
        ),
        CheckConstraint("saved_id IS NULL OR keep_until IS NULL", name="one_keeps"),
        Index("ix_reservation_series_id", "series_id"),
        Index("ix_reservation_state_start_at", "state", "start_at"),
        Index("ix_reservation_owner_id_start_at", "owner_id", "start_at"),
        Index("ix_reservation_live_project", "project_id", sqlite_where=IS_LIVE, postgresql_where=IS_LIVE),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    owner_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    # The owner's when it was booked or given: under its ceilings, and in its line of the accounts.
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    state: Mapped[str] = mapped_column(String(16), default="requested")
    version: Mapped[int] = mapped_column(default=1)
    start_at: Mapped[datetime] = mapped_column(Utc)
    end_at: Mapped[datetime] = mapped_column(Utc)
    home_gib: Mapped[int]
    # The volume that every node may write; 0: none.
    shared_disk_gib: Mapped[int] = mapped_column(default=0)
    rolls: Mapped[list[str]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(String(2000), default="")
    requested_at: Mapped[datetime] = mapped_column(Utc)
    hold_until: Mapped[datetime] = mapped_column(Utc)
    decided_at: Mapped[datetime | None] = mapped_column(Utc)
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    reason: Mapped[str | None] = mapped_column(String(2000))
    cancel_requested_at: Mapped[datetime | None] = mapped_column(Utc)
    # Since when it is to be suspended; None: it is to run.
    suspend_requested_at: Mapped[datetime | None] = mapped_column(Utc)
    # Until when its disks are kept after its slot, or were; None: they go with it.
    keep_until: Mapped[datetime | None] = mapped_column(Utc)
    # The saved cluster that this one is: it stands on its disks, under its names.
    saved_id: Mapped[int | None] = mapped_column(ForeignKey("reservation.id"))
    building_at: Mapped[datetime | None] = mapped_column(Utc)
    ready_at: Mapped[datetime | None] = mapped_column(Utc)
    ending_at: Mapped[datetime | None] = mapped_column(Utc)
    ended_at: Mapped[datetime | None] = mapped_column(Utc)
    # Where its people log in, and the frontend's public SSH host key; written when building begins.
    public_address: Mapped[str | None] = mapped_column(String(64))
    host_public_key: Mapped[str | None] = mapped_column(String(200))
    # What the client named its request by: the same request sent twice makes one reservation.
    request_key: Mapped[str | None] = mapped_column(String(64))
    # The recurring booking that it is one of.
    series_id: Mapped[int | None] = mapped_column(ForeignKey("series.id"))
    # Why it is not further yet: one sentence, written by every schedule pass that looks at it.
    why: Mapped[str | None] = mapped_column(String(2000))
    # Not looked at before, after the schedule pass could not take it further.
    retry_at: Mapped[datetime | None] = mapped_column(Utc)

    owner: Mapped[Account] = relationship(foreign_keys=owner_id, lazy="joined")
    saved: Mapped[Reservation | None] = relationship(remote_side=id)
    groups: Mapped[list[NodeGroup]] = relationship(
        cascade="all, delete-orphan", order_by="NodeGroup.position"
    )
    nodes: Mapped[list[Node]] = relationship(cascade="all, delete-orphan", order_by="Node.position")
    users: Mapped[list[ClusterUser]] = relationship(cascade="all, delete-orphan", order_by="ClusterUser.uid")


class NodeGroup(Base):
    """Like compute nodes as they were asked for: `least` to `most` of them, and how to place them, now and anew.

    How many were granted is how many nodes it has.
    """

    __tablename__ = "node_group"
    __table_args__ = (
        UniqueConstraint("reservation_id", "name"),
        UniqueConstraint("reservation_id", "position"),
        CheckConstraint("least BETWEEN 1 AND most", name="least"),
        CheckConstraint("vcpus > 0 AND memory_mib > 0 AND disk_gib > 0", name="size"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(63))
    appliance: Mapped[str] = mapped_column(String(31))
    least: Mapped[int]
    most: Mapped[int]
    vcpus: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[int]
    policy: Mapped[str] = mapped_column(String(16))
    tags: Mapped[list[str]] = mapped_column(JSON)
    # Names of hosts: those its nodes may be on (none: any), and those they may not.
    pin: Mapped[list[str]] = mapped_column(JSON)
    avoid: Mapped[list[str]] = mapped_column(JSON)


class Node(Base):
    """One virtual machine of the cluster; position 0 is the frontend."""

    __tablename__ = "node"
    __table_args__ = (
        UniqueConstraint("reservation_id", "name"),
        UniqueConstraint("reservation_id", "position"),
        CheckConstraint("kind IN ('frontend', 'compute')", name="kind"),
        CheckConstraint("(kind = 'frontend') = (position = 0)", name="frontend_first"),
        CheckConstraint("vcpus > 0 AND memory_mib > 0 AND disk_gib > 0", name="size"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    # None for the frontend alone.
    group_id: Mapped[int | None] = mapped_column(ForeignKey("node_group.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(63))
    kind: Mapped[str] = mapped_column(String(16))
    vcpus: Mapped[int]
    memory_mib: Mapped[int]
    disk_gib: Mapped[int]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    storage_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    # Since when it is to go; it stands, and holds its room, until the last thing of it is gone.
    leaving_at: Mapped[datetime | None] = mapped_column(Utc)

    group: Mapped[NodeGroup | None] = relationship()


class ClusterUser(Base):
    """A user of one virtual cluster, with the same uid on all its nodes."""

    __tablename__ = "cluster_user"
    __table_args__ = (UniqueConstraint("reservation_id", "name"), UniqueConstraint("reservation_id", "uid"))

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(32))
    uid: Mapped[int]
    keys: Mapped[list[str]] = mapped_column(JSON)


# Made once: making them costs more than running them.
ALL = select(Reservation)
LIVE_OF_NAME = select(Reservation.id).where(Reservation.name == bindparam("name"), IS_LIVE).limit(1)
IS_COUNTED = and_(Node.kind == "compute", Node.leaving_at.is_(None))
COMPUTES = (
    select(func.count())
    .where(Node.reservation_id == Reservation.id, IS_COUNTED)
    .correlate(Reservation)
    .scalar_subquery()
    .label("node_count")
)
LINES = (
    select(
        Reservation.id,
        Reservation.name,
        Account.name.label("owner"),
        Reservation.state,
        Reservation.version,
        Reservation.start_at,
        Reservation.end_at,
        Reservation.requested_at,
        Reservation.hold_until,
        Reservation.cancel_requested_at,
        Reservation.why,
    )
    .join(Account, Account.id == Reservation.owner_id)
    .order_by(Reservation.start_at.desc(), Reservation.id.desc())
)
LINE = LINES.add_columns(COMPUTES).where(Reservation.id == bindparam("reservation_id"))
OWN_LINE = LINE.where(Reservation.owner_id == bindparam("account_id"))
# What a query selects.
Columns = TypeVarTuple("Columns")


def sees_all(account: Account) -> bool:
    """Whether this account may see all reservations, as providers of the cluster do, or else its own alone.

    Every query for a page or an API answer asks here, most by `visible`, so that ownership is decided in one place.
    """
    return account.role != "service_provider"


def visible(account: Account) -> Select[Reservation]:
    """The reservations this account may see."""
    return seen_by(account, ALL)


def seen_by(account: Account, query: Select[*Columns]) -> Select[*Columns]:
    """Those of the reservations in `query` that this account may see."""
    return query if sees_all(account) else query.where(Reservation.owner_id == account.id)


def get(session: Session, account: Account, reservation_id: int) -> Reservation | None:
    """The reservation if this account may see it."""
    return session.scalar(visible(account).where(Reservation.id == reservation_id))


def listing(
    session: Session, account: Account, *, states: Sequence[str] = (), limit: int = 100, offset: int = 0
) -> Sequence[Reservation]:
    """The reservations this account may see, the latest start first."""
    query = visible(account).order_by(Reservation.start_at.desc(), Reservation.id.desc())
    if states:
        query = query.where(Reservation.state.in_(states))
    return session.scalars(query.limit(limit).offset(offset)).all()


def summaries(
    session: Session, account: Account, *, states: Sequence[str] = (), limit: int = 100, offset: int = 0
) -> Sequence[tuple[Reservation, int]]:
    """As `listing`, each with its number of compute nodes, in one statement."""
    query = visible(account).add_columns(COMPUTES)
    query = query.order_by(Reservation.start_at.desc(), Reservation.id.desc())
    if states:
        query = query.where(Reservation.state.in_(states))
    return [(row, count) for row, count in session.execute(query.limit(limit).offset(offset))]


def page(
    session: Session,
    account: Account,
    *,
    states: Sequence[str] = (),
    series_id: int | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """As `summaries`, as plain rows with the owner's name, for answers that hold thousands: those that come `after`
    a reservation in the list's order, or those of one series.
    """
    r = Reservation
    query = seen_by(account, LINES).limit(limit)
    if states:
        query = query.where(r.state.in_(states))
    if series_id is not None:
        query = query.where(r.series_id == series_id)
    if after is not None:
        place = select(r.start_at).where(r.id == after).scalar_subquery()
        query = query.where(or_(r.start_at < place, and_(r.start_at == place, r.id < after)))
    # Nodes are counted for the rows that are answered alone: in the query itself PostgreSQL would count first.
    found = query.subquery("found")
    nodes = select(func.count()).where(Node.reservation_id == found.c.id, IS_COUNTED).scalar_subquery()
    lines = select(*found.c, nodes.label("node_count"))
    return rows(session, lines.order_by(found.c.start_at.desc(), found.c.id.desc()))


def line(session: Session, account: Account, reservation_id: int) -> Row[*tuple[Any, ...]]:
    """One row of `page`, of a reservation that this account may see."""
    query = LINE if sees_all(account) else OWN_LINE
    (found,) = rows(session, query, {"reservation_id": reservation_id, "account_id": account.id})
    return found


def is_undecided(now: datetime) -> ColumnElement[bool]:
    """The condition for a request that may be decided on."""
    r = Reservation
    return and_(r.state == "requested", r.cancel_requested_at.is_(None), r.hold_until > now)


def open_requests(session: Session, now: datetime, limit: int = 100) -> Sequence[Reservation]:
    """The requests that may be decided on, the oldest first, with their nodes and users."""
    r = Reservation
    query = select(r).where(is_undecided(now))
    return session.scalars(
        query.options(selectinload(r.groups), selectinload(r.nodes), selectinload(r.users))
        .order_by(r.requested_at, r.id)
        .limit(limit)
    ).all()


def last_decision(session: Session) -> Reservation | None:
    """The reservation that was approved or rejected last."""
    query = select(Reservation).where(Reservation.decided_at.is_not(None))
    return session.scalar(query.order_by(Reservation.decided_at.desc()).limit(1))


def live_of(
    session: Session, project_id: int, without: int | None = None
) -> Sequence[tuple[datetime, datetime, int]]:
    """Start, end and number of compute nodes of what this project has and is not over, but for `without`."""
    r = Reservation
    query = (
        select(r.start_at, r.end_at, func.count(Node.id))
        .join(Node, and_(Node.reservation_id == r.id, IS_COUNTED))
        .where(r.project_id == project_id, IS_LIVE, r.id != (without or 0))
        .group_by(r.id)
    )
    return [(start, end, count) for start, end, count in session.execute(query)]


def made_under(session: Session, owner_id: int, key_name: str) -> tuple[int, int | None, str] | None:
    """The reservation this account made under a key that begins with `key_name`: its id, its series, and the whole
    key."""
    r = Reservation
    # Digits and letters up to f follow: so an index answers on both databases.
    named = (r.request_key >= key_name, r.request_key < f"{key_name}g")
    query = select(r.id, r.series_id, r.request_key).where(r.owner_id == owner_id, *named)
    found = session.execute(query).first()
    return (found[0], found[1], str(found[2])) if found else None


def named(session: Session, ids: Collection[int]) -> Sequence[Reservation]:
    """These reservations with their owners, by start: for the site's staff."""
    query = select(Reservation).where(Reservation.id.in_(ids))
    return session.scalars(query.order_by(Reservation.start_at, Reservation.id)).all()


def names_visible(session: Session, account: Account, ids: Collection[int]) -> dict[int, str]:
    """The names of those of these reservations that the account may see."""
    query = (
        visible(account).with_only_columns(Reservation.id, Reservation.name).where(Reservation.id.in_(ids))
    )
    return {number: name for number, name in session.execute(query)}  # noqa: C416


def live_name_exists(session: Session, name: str) -> bool:
    """Whether a reservation that is not over bears this name."""
    return bool(rows(session, LIVE_OF_NAME, {"name": name}))


def columns(row: Any) -> dict[str, Any]:
    """The row's columns as a dict, for events and exports."""
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}
