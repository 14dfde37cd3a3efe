# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Wanted and observed: one row for each thing on a host, and the claims by which passes share the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, Session, aliased, defer, mapped_column, raiseload

from app.db.account import Account
from app.db.base import Base, Utc
from app.db.reservation import Node, Reservation
from app.db.site import Host

# Which pass works on which operations; the crontab has a line for each pass.
PASS_OF_OP = {
    "vlan": "network",
    "vxlan": "network",
    "address": "network",
    "file": "storage",
    "lvm": "storage",
    "lvm_thick": "storage",
    "golden": "image",
    "tgt": "storage",
    "lio": "storage",
    "open_iscsi": "storage",
    "iso": "image",
    "image": "image",
    "domain": "machine",
    "xen": "machine",
    "null": "machine",
    "report": "machine",
}
HAVES = ("absent", "unknown", "pending", "present")
# With a new wish a row starts like this: no back-off is left over from the old one.
AFRESH = (("retry_at", None), ("failures", 0))
# What holds data. Once it stood, it is never made a second time: that would be an empty disk in place of a lost one.
VOLUMES = ("file", "lvm", "lvm_thick")
# How many rows of one host go into one batch: all must be done within the call's deadline.
BATCH = {"network": 32, "storage": 6, "image": 4, "machine": 12}
# Copying a disk takes seconds, and a batch is answered as a whole: such a row goes alone, so that none waits for it.
ALONE = ("file",)
# Rows of reservations that are as wanted. Literally the same in the queries, or SQLite would not use the index.
STANDING = "want = 'present' AND have = 'present' AND reservation_id IS NOT NULL"


class Resource(Base):
    """One thing on one host: what is wanted, what was last observed, and who is at work on it.

    `have` is `unknown` from the moment a pass first claims the row until a reply says otherwise, so a crash in
    between is never taken for absence. `pending` means begun and healthy, not there yet; `why` says what it waits for.
    """

    __tablename__ = "resource"
    __table_args__ = (
        CheckConstraint("want IN ('present', 'absent')", name="want"),
        CheckConstraint(f"have IN {HAVES!r}", name="have"),
        CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease"),
        UniqueConstraint("host_id", "op", "name"),
        Index("ix_resource_reservation_id", "reservation_id"),
        Index(
            "ix_resource_due",
            "pass_name",
            "retry_at",
            sqlite_where=text("want <> have"),
            postgresql_where=text("want <> have"),
        ),
        Index(
            "ix_resource_standing", "host_id", sqlite_where=text(STANDING), postgresql_where=text(STANDING)
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int | None] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    node_id: Mapped[int | None] = mapped_column(ForeignKey("node.id", ondelete="SET NULL"))
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    pass_name: Mapped[str] = mapped_column(String(16))
    op: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(200))
    # The step in words, for pages and logs.
    label: Mapped[str] = mapped_column(String(200))
    args: Mapped[dict[str, Any]] = mapped_column(JSON)
    want: Mapped[str] = mapped_column(String(8), default="present")
    have: Mapped[str] = mapped_column(String(8), default="absent")
    seen: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    why: Mapped[str | None] = mapped_column(String(2000))
    error_code: Mapped[str | None] = mapped_column(String(32))
    error_message: Mapped[str | None] = mapped_column(String(4000))
    failures: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None] = mapped_column(Utc)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(Utc)
    started_at: Mapped[datetime | None] = mapped_column(Utc)
    present_at: Mapped[datetime | None] = mapped_column(Utc)
    removal_at: Mapped[datetime | None] = mapped_column(Utc)
    absent_at: Mapped[datetime | None] = mapped_column(Utc)


class Need(Base):
    """An edge: `resource_id` may be made only while `needs_id` is present, and `needs_id` removed only after it."""

    __tablename__ = "need"
    __table_args__ = (Index("ix_need_needs_id", "needs_id"),)

    resource_id: Mapped[int] = mapped_column(ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True)
    needs_id: Mapped[int] = mapped_column(ForeignKey("resource.id", ondelete="CASCADE"), primary_key=True)


def _due() -> Select[int]:
    """The ids of the rows a pass may work on: a difference, no lease, due, needs met, host sound and not busy."""
    r, other = Resource, aliased(Resource)
    now = bindparam("now", type_=Utc)
    unmet = exists().where(Need.resource_id == r.id, Need.needs_id == other.id, other.have != "present")
    still_used = exists().where(Need.needs_id == r.id, Need.resource_id == other.id, other.have != "absent")
    return (
        select(r.id)
        .join(Host, Host.id == r.host_id)
        .where(
            r.pass_name == bindparam("pass_name"),
            r.want != r.have,
            or_(r.retry_at.is_(None), r.retry_at <= now),
            or_(r.lease_until.is_(None), r.lease_until <= now),
            or_(Host.suspect_until.is_(None), Host.suspect_until <= now),
            or_(and_(r.want == "present", ~unmet), and_(r.want == "absent", ~still_used)),
            r.host_id.not_in(bindparam("busy", type_=Integer, expanding=True)),
        )
        .order_by(r.host_id, r.id)
        .with_for_update(skip_locked=True, of=r)
    )


def _unheard() -> Select[int]:
    """One row that stands on each sound host from which nothing was heard since `silent_since`: the first of all."""
    r, now = Resource, bindparam("now", type_=Utc)
    first = select(func.min(r.id)).where(r.host_id == Host.id, text(STANDING)).correlate(Host)
    return (
        select(r.id)
        .join(Host, Host.id == r.host_id)
        .where(
            r.id == first.scalar_subquery(),
            r.pass_name == bindparam("pass_name"),
            Host.last_seen_at <= bindparam("silent_since", type_=Utc),
            or_(r.lease_until.is_(None), r.lease_until <= now),
            or_(Host.suspect_until.is_(None), Host.suspect_until <= now),
            r.host_id.not_in(bindparam("busy", type_=Integer, expanding=True)),
        )
        .with_for_update(skip_locked=True, of=r)
    )


# Made once: making it costs more than running it, and every pass asks it all the time.
DUE, UNHEARD = _due(), _unheard()


def claim(
    session: Session,
    pass_name: str,
    owner: str,
    now: datetime,
    lease: timedelta,
    busy_hosts: Sequence[int] = (),
    look: timedelta | None = None,
) -> list[Resource]:
    """Lease the rows that are due to `owner` until `now + lease` and return them, at most a batch for each host.

    Rows of `busy_hosts`, which the caller is talking to already, are left for later. Of a host from which nobody has
    heard for `look` one row that stands is among them, so that a reboot or a loss is noticed where nothing is due.

    Two passes at once never get the same row: PostgreSQL skips rows another transaction has locked, SQLite lets one
    writer in at a time.
    """
    values = {"pass_name": pass_name, "now": now, "busy": list(busy_hosts)}
    ids = [*session.scalars(DUE, values)]
    if look is not None:
        ids += session.scalars(UNHEARD, {**values, "silent_since": now - look})
    if not ids:
        return []
    r = Resource
    room: dict[int, int] = {}
    chosen = []
    for row_id, host_id, op in session.execute(
        select(r.id, r.host_id, r.op).where(r.id.in_(ids)).order_by(r.host_id, r.id)
    ):
        is_first, is_alone = host_id not in room, op in ALONE
        left = room.get(host_id, BATCH.get(pass_name, 8))
        if left and (is_first or not is_alone):
            chosen.append(row_id)
        room[host_id] = 0 if is_alone else max(0, left - 1)
    claimed = session.scalars(CLAIM, {"chosen": chosen, "owner": owner, "until": now + lease, "now": now})
    return sorted(claimed, key=lambda row: (row.host_id, row.id))


CLAIM = (
    update(Resource)
    .where(Resource.id.in_(bindparam("chosen", type_=Integer, expanding=True)))
    .values(
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until", type_=Utc),
        have=case((Resource.have == "absent", "unknown"), else_=Resource.have),
        started_at=case(
            (and_(Resource.want == "present", Resource.started_at.is_(None)), bindparam("now", type_=Utc)),
            else_=Resource.started_at,
        ),
        removal_at=case(
            (and_(Resource.want == "absent", Resource.removal_at.is_(None)), bindparam("now", type_=Utc)),
            else_=Resource.removal_at,
        ),
    )
    .returning(Resource)
    .execution_options(synchronize_session=False, populate_existing=True)
)


def settle(session: Session, resource_id: int, owner: str, want: str, values: Mapping[str, Any]) -> bool:
    """Write the outcome and give the lease back, only if it is still `owner`'s; False means it was lost.

    `want` is what was asked of the host: where something else is wanted by now, the new wish waits for nothing.
    """
    fresh = {
        name: case((Resource.want == want, values[name]), else_=start)
        for name, start in AFRESH
        if values.get(name, start) != start
    }
    done = session.execute(
        update(Resource)
        .where(Resource.id == resource_id, Resource.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, **{**values, **fresh})
        .returning(Resource.id)
        .execution_options(synchronize_session=False)
    )
    return done.first() is not None


def forget(session: Session, host_id: int) -> None:
    """The host was rebooted: what was seen there before is not known any more and has to be looked at again."""
    session.execute(
        update(Resource)
        .where(Resource.host_id == host_id, Resource.have.in_(("present", "pending")))
        .values(have="unknown", retry_at=None)
        .execution_options(synchronize_session=False)
    )


def want_absent(session: Session, reservation_id: int, only: Sequence[int] | None = None) -> None:
    """From now on nothing of this reservation is wanted, or not the rows `only`; removal starts afresh, with no
    back-off left over."""
    mine = [Resource.reservation_id == reservation_id]
    mine += [] if only is None else [Resource.id.in_(only)]
    session.execute(
        update(Resource)
        .where(*mine)
        .values(want="absent", error_code=None, error_message=None, why=None, **dict(AFRESH))
        .execution_options(synchronize_session=False)
    )


def drop_unneeded(session: Session) -> None:
    """Want no more of the shared things that nobody needs and that never came to be, or fail now.

    Those that are there stay: a golden image is kept for the next cluster, however long that takes.
    """
    user = aliased(Resource)
    is_needed = exists().where(
        Need.needs_id == Resource.id, Need.resource_id == user.id, user.want == "present"
    )
    session.execute(
        update(Resource)
        .where(
            Resource.reservation_id.is_(None),
            Resource.want == "present",
            Resource.have != "present",
            or_(Resource.present_at.is_(None), Resource.failures > 0),
            ~is_needed,
        )
        .values(want="absent", error_code=None, error_message=None, why=None, **dict(AFRESH))
        .execution_options(synchronize_session=False)
    )


def is_behind(session: Session, reservation_id: int) -> bool:
    """Whether the reservation's rows are not yet those of its nodes: a node leaves, or one has none, or some go."""
    of_node = exists().where(Resource.node_id == Node.id)
    node = exists().where(Node.reservation_id == reservation_id, or_(Node.leaving_at.is_not(None), ~of_node))
    going = exists().where(Resource.reservation_id == reservation_id, Resource.want == "absent")
    return session.scalar(select(or_(node, going))) is True


def by_key(session: Session, reservation_id: int) -> dict[tuple[str, str, str], Resource]:
    """The reservation's own rows by host's name, operation and name."""
    query = (
        select(Resource, Host.name)
        .join(Host, Host.id == Resource.host_id)
        .where(Resource.reservation_id == reservation_id)
        .order_by(Resource.id)
    )
    return {(host, row.op, row.name): row for row, host in session.execute(query)}


def set_args(session: Session, row: Resource, args: Mapping[str, Any], needs: Sequence[int]) -> None:
    """Let the row be made of something else and need other rows."""
    ask_anew(row, args)
    session.execute(delete(Need).where(Need.resource_id == row.id))
    session.add_all(Need(resource_id=row.id, needs_id=needed) for needed in needs)


def ask_anew(row: Resource, args: Mapping[str, Any]) -> None:
    """Let the row be made of something else. Whoever works on it now loses the lease: what it brings back is about
    what was."""
    row.args, row.lease_owner, row.lease_until = dict(args), None, None
    row.have = "unknown" if row.have in ("present", "pending") else row.have
    row.failures, row.retry_at, row.error_code, row.error_message, row.why = 0, None, None, None, None


def of_reservation(session: Session, reservation_id: int) -> Sequence[Resource]:
    """All rows of one reservation in the order they were laid out."""
    return session.scalars(
        select(Resource).where(Resource.reservation_id == reservation_id).order_by(Resource.id)
    ).all()


def find(session: Session, host_id: int, op: str, name: str) -> Resource | None:
    """The row for this thing on this host."""
    return session.scalar(
        select(Resource).where(Resource.host_id == host_id, Resource.op == op, Resource.name == name)
    )


def is_on_host(session: Session, host_id: int) -> bool:
    """Whether anything of ours may stand on this host."""
    return (
        session.scalar(
            select(Resource.id).where(Resource.host_id == host_id, Resource.have != "absent").limit(1)
        )
        is not None
    )


def is_of_clusters(session: Session, host_id: int) -> bool:
    """Whether anything of a cluster stands on this host, or is to."""
    r = Resource
    is_there = or_(r.want == "present", r.have != "absent")
    query = select(r.id).where(r.host_id == host_id, r.reservation_id.is_not(None), is_there)
    return session.scalar(query.limit(1)) is not None


def steps_of(session: Session, reservation_id: int) -> Sequence[tuple[Resource, Host]]:
    """The reservation's rows and the shared ones they need, each with its host, in the order they were laid out.

    Without `args`, which are for the passes alone.
    """
    mine = aliased(Resource)
    shared = (
        select(Need.needs_id)
        .join(mine, mine.id == Need.resource_id)
        .where(mine.reservation_id == reservation_id)
    )
    r = Resource
    query = (
        select(r, Host)
        .join(Host, Host.id == r.host_id)
        .where(or_(r.reservation_id == reservation_id, and_(r.reservation_id.is_(None), r.id.in_(shared))))
        .order_by(r.id)
        .options(defer(r.args, raiseload=True), raiseload(Host.roles))
    )
    return [(row, host) for row, host in session.execute(query)]


def needs_of(session: Session, reservation_id: int) -> dict[int, list[int]]:
    """Row id -> ids of the rows it needs, for the reservation's own rows."""
    query = (
        select(Need.resource_id, Need.needs_id)
        .join(Resource, Resource.id == Need.resource_id)
        .where(Resource.reservation_id == reservation_id)
        .order_by(Need.needs_id)
    )
    edges: dict[int, list[int]] = {}
    for row, needed in session.execute(query):
        edges.setdefault(row, []).append(needed)
    return edges


@dataclass(frozen=True)
class Stored:
    """A row of the storage pass with whose it is: the storage host, the cluster, its owner, and the node's host."""

    row: Resource
    storage: str
    reservation_id: int | None
    reservation: str | None
    owner: str | None
    node_host: str | None


def of_storage(session: Session) -> list[Stored]:
    """All volumes and exports that are wanted or may still stand, by cluster and name."""
    r, node_host = Resource, aliased(Host)
    query = (
        select(r, Host.name, Reservation.id, Reservation.name, Account.name, node_host.name)
        .join(Host, Host.id == r.host_id)
        .outerjoin(Reservation, Reservation.id == r.reservation_id)
        .outerjoin(Account, Account.id == Reservation.owner_id)
        .outerjoin(Node, Node.id == r.node_id)
        .outerjoin(node_host, node_host.id == Node.host_id)
        .where(r.pass_name == "storage", or_(r.want == "present", r.have != "absent"))
        .order_by(r.reservation_id, r.id)
    )
    return [Stored(*found) for found in session.execute(query)]


@dataclass(frozen=True)
class Backlog:
    """What one pass has before it: rows that differ, those that failed last time, those in work now."""

    open: int
    failing: int
    leased: int


def backlog(session: Session, now: datetime) -> dict[str, Backlog]:
    """Pass name -> what is left for it to do."""
    r = Resource
    query = (
        select(
            r.pass_name,
            func.count(),
            func.sum(case((r.error_code.is_not(None), 1), else_=0)),
            func.sum(case((r.lease_until > now, 1), else_=0)),
        )
        .where(r.want != r.have)
        .group_by(r.pass_name)
    )
    return {name: Backlog(total, failing, leased) for name, total, failing, leased in session.execute(query)}


@dataclass(frozen=True)
class Waiting:
    """A step that is not done yet, and since when it could have been worked on."""

    label: str
    host: str
    reservation_id: int | None
    since: datetime


def oldest_waiting(session: Session) -> dict[str, Waiting]:
    """Pass name -> the step that has waited longest to be made or removed; repairs are not among them.

    It waits from its first claim, or, where nobody has claimed it yet, from when its cluster began to be built or
    ended.
    """
    r, v = Resource, Reservation
    since = case(
        (r.want == "absent", func.coalesce(r.removal_at, v.ending_at)),
        (r.present_at.is_(None), func.coalesce(r.started_at, v.building_at)),
    ).label("since")
    open_ones = (
        select(r.pass_name, r.label, Host.name.label("host"), r.reservation_id, since, r.id)
        .join(Host, Host.id == r.host_id)
        .outerjoin(v, v.id == r.reservation_id)
        .where(r.want != r.have)
        .subquery()
    )
    c = open_ones.c
    rank = func.row_number().over(partition_by=c.pass_name, order_by=(c.since, c.id)).label("rank")
    ranked = select(c.pass_name, c.label, c.host, c.reservation_id, c.since, rank).where(c.since.is_not(None))
    numbered = ranked.subquery()
    query = select(*list(numbered.c)[:5]).where(numbered.c.rank == 1)
    return {found[0]: Waiting(*found[1:]) for found in session.execute(query)}
