# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The ledger: what is taken of each host and pool, from when to when."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    CheckConstraint,
    ColumnElement,
    CompoundSelect,
    ForeignKey,
    Index,
    Integer,
    Row,
    Select,
    SmallInteger,
    String,
    and_,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc, insert_all, rows
from app.domain.capacity import SITE, TICK, Taken
from app.domain.slot import Slot

# A cluster whose end has passed but which still stands on hosts is taken to need this much longer.
OVERDUE = timedelta(hours=1)
# Classes of length. Whatever overlaps a slot and is at most SPANS[n] long began at most SPANS[n] before the slot, so
# that one index range for each class finds it, and neither the past nor the far future is read.
SPANS = tuple(timedelta(hours=hours) for hours in (1, 4, 24, 7 * 24, 31 * 24, 124 * 24, 400 * 24))
# Beyond so many hosts all are read: naming them costs more.
MOST_NAMED = 400
# Counted for the accounts, and never short.
NODE = "node"
# What of a host is free again when this pass has taken down all that the cluster has there.
TAKEN_DOWN_BY = {
    "vcpu": "machine",
    "memory_mib": "machine",
    "bandwidth_mbit": "machine",
    "disk_mib": "storage",
}
HELD = text("released_at IS NULL")
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def span_of(start: datetime, end: datetime) -> int:
    """The number of the shortest class of length that [start, end) fits into."""
    return bisect_left(SPANS, end - start)


def _span(context: Any) -> int:
    row = context.get_current_parameters()
    return span_of(row["start_at"], row["end_at"])


class Allocation(Base):
    """`amount` of one resource of a host (or, where host_id is null, of the site's pool) bound for a slot.

    Kept after its release for the accounts; only rows with no `released_at` count as taken.
    """

    __tablename__ = "allocation"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("start_at < end_at", name="slot"),
        Index("ix_allocation_held", "end_at", "start_at", sqlite_where=HELD, postgresql_where=HELD),
        Index("ix_allocation_span", "span", "start_at", sqlite_where=HELD, postgresql_where=HELD),
        Index(
            "ix_allocation_host_span",
            "host_id",
            "span",
            "start_at",
            sqlite_where=HELD,
            postgresql_where=HELD,
        ),
        Index("ix_allocation_reservation_id", "reservation_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    # Held besides for an open offer, and not kept when that is over; null: what the reservation itself holds.
    offer_id: Mapped[int | None] = mapped_column(ForeignKey("offer.id"))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id"))
    resource: Mapped[str] = mapped_column(String(48))
    amount: Mapped[int]
    start_at: Mapped[datetime] = mapped_column(Utc)
    end_at: Mapped[datetime] = mapped_column(Utc)
    # The class of its length, see SPANS; who changes a time by an UPDATE writes it anew.
    span: Mapped[int] = mapped_column(SmallInteger, default=_span)
    released_at: Mapped[datetime | None] = mapped_column(Utc)


def taken(
    session: Session,
    slot: Slot,
    now: datetime,
    holders: Collection[int | str] | None = None,
    without: int | None = None,
) -> list[Taken]:
    """Everything that is taken at some moment of `slot`, of these hosts and, with SITE, of the pools; None: of all.

    What is overdue is stretched to OVERDUE from now; the reservation `without` is left out.
    """
    return [
        Taken(SITE if host is None else host, resource, amount, start, end if end > now else now + OVERDUE)
        for host, resource, amount, start, end, by in _overlapping(session, slot, now, holders)
        if by != without
    ]


def sums(session: Session, slot: Slot, now: datetime, holders: Collection[int | str]) -> list[Taken]:
    """As much of these hosts and, with SITE, of the pools as if all that overlaps `slot` were there at once: quickly
    read, and never too little."""
    asked, values, queries = set(holders), _parameters(slot, now), QUERIES[_dialect(session)]
    hosts = asked - {SITE}
    if len(hosts) > MOST_NAMED:
        found = rows(session, queries.sums_of_all, values)
    else:
        found = rows(session, queries.sums, values | {"hosts": list(hosts)})
    return [
        Taken(holder, resource, int(amount), slot.start, slot.end)
        for host, resource, amount in found
        if (holder := SITE if host is None else host) in asked
    ]


def highest(
    session: Session, moments: Sequence[datetime], resource: str, now: datetime
) -> dict[int | str, int]:
    """How much of this resource is taken at that of the moments at which it is the most, by host id or SITE; what is
    overdue is left out."""
    values = _parameters(Slot(min(moments), max(moments) + TICK), now) | {"resource": resource}
    values |= {f"moment_{number}": moment for number, moment in enumerate(moments)}
    return {
        SITE if host is None else host: int(max(filter(None, sums), default=0))
        for host, *sums in rows(session, _sums_at(len(moments), _dialect(session)), values)
    }


def holders(session: Session, slot: Slot, now: datetime, hosts: Collection[int]) -> dict[int, datetime]:
    """Who holds something of these hosts (none: of the pools) in `slot`: reservation id -> until when."""
    found: dict[int, datetime] = {}
    for host, _, _, _, end, reservation_id in _overlapping(session, slot, now, hosts or None):
        if (host is None) is not bool(hosts):
            until = end if end > now else now + OVERDUE
            found[reservation_id] = max(until, found.get(reservation_id, until))
    return found


def _overlapping(
    session: Session, slot: Slot, now: datetime, holders: Collection[int | str] | None
) -> list[Row[*tuple[Any, ...]]]:
    """host_id, resource, amount, start_at, end_at and reservation_id of what `taken` returns."""
    values, queries = _parameters(slot, now), QUERIES[_dialect(session)]
    if holders is None:
        return list(rows(session, queries.of_all, values))
    hosts = [holder for holder in holders if holder != SITE]
    if len(hosts) > MOST_NAMED:
        asked = set(holders)
        return [
            row
            for row in rows(session, queries.of_all, values)
            if (SITE if row.host_id is None else row.host_id) in asked
        ]
    found = list(rows(session, queries.of_hosts, values | {"hosts": hosts}))
    if SITE in holders:
        found += rows(session, queries.of_pools, values)
    return found


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name


def _parameters(slot: Slot, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {f"since_{number}": slot.start - span for number, span in enumerate(SPANS)}
    # What is over already and still stands counts for slots that begin before it can be expected to be gone.
    overdue = min(now, slot.start) if slot.start < now + OVERDUE else LONG_AGO
    longest = {f"since_{len(SPANS)}": LONG_AGO}
    return values | longest | {"start": slot.start, "end": slot.end, "overdue": overdue}


START, END = bindparam("start", type_=Utc), bindparam("end", type_=Utc)
SINCE = [bindparam(f"since_{number}", type_=Utc) for number in range(len(SPANS) + 1)]
REACH = union_all(
    *[
        select(literal_column(str(span)).label("span"), since.label("since"))
        for span, since in enumerate(SINCE)
    ]
).cte("reach")
COLUMNS = select(
    Allocation.host_id,
    Allocation.resource,
    Allocation.amount,
    Allocation.start_at,
    Allocation.end_at,
    Allocation.reservation_id,
).where(Allocation.released_at.is_(None))


def overlapping(dialect: str, *of: Callable[[Any], ColumnElement[bool]]) -> CompoundSelect[*tuple[Any, ...]]:
    """The query for what is taken; each `of` says whose, from a host id (0: none's), and no two of them the same.

    For each it has a part for what is overdue and one for whatever else overlaps the slot, which a range of an index
    finds for each class. Parameters: start, end, overdue, and since_0, since_1, ...: the slot's start less the longest
    length of each class.
    """
    return union_all(*[part for one in of for part in _parts(one, dialect)])


def _parts(of: Callable[[Any], ColumnElement[bool]], dialect: str) -> tuple[Select[*tuple[Any, ...]], ...]:
    """What is overdue, and whatever else overlaps the slot."""
    a = Allocation
    # The coalesce keeps the planner from reading all that a host holds, now and ever: what is overdue is little.
    # For an offer nothing stands on any host.
    overdue = and_(a.end_at <= bindparam("overdue", type_=Utc), a.offer_id.is_(None))
    there = COLUMNS.where(of(a.host_id), a.start_at < END, a.end_at > START)
    if dialect == "sqlite":
        # A choice of ranges it would take for a reason to read all that a host holds.
        there = there.join(REACH, and_(a.span == REACH.c.span, a.start_at > REACH.c.since))
    else:
        # PostgreSQL's planner knows of each range how little lies in it; of a join it would think that it is much.
        classes = enumerate(SINCE)
        ranges = [and_(a.span == literal_column(str(span)), a.start_at > since) for span, since in classes]
        there = there.where(or_(*ranges))
    return COLUMNS.where(overdue, of(func.coalesce(a.host_id, 0))), there


@dataclass(frozen=True)
class Queries:
    """What is taken, as one kind of database reads it best: of all, of the parameter `hosts`, and of the pools; and the
    sums of hosts and pools together."""

    of_all: CompoundSelect[*tuple[Any, ...]]
    of_hosts: CompoundSelect[*tuple[Any, ...]]
    of_pools: CompoundSelect[*tuple[Any, ...]]
    sums: Select[*tuple[Any, ...]]
    sums_of_all: Select[*tuple[Any, ...]]


def _queries(dialect: str) -> Queries:
    # All hosts as one value, and so the same statement for any number of them.
    def is_named(host: Any) -> ColumnElement[bool]:
        if dialect == "sqlite":
            named = func.json_each(bindparam("hosts", type_=JSON)).table_valued("value")
            return cast(ColumnElement[bool], host.in_(select(named.c.value)))
        return cast(ColumnElement[bool], host == any_(bindparam("hosts", type_=ARRAY(Integer))))

    def is_pool(host: Any) -> ColumnElement[bool]:
        return cast(ColumnElement[bool], host.is_(None) if host is Allocation.host_id else host == 0)

    def is_any(_: Any) -> ColumnElement[bool]:
        return true()

    def read(*of: Callable[[Any], ColumnElement[bool]]) -> CompoundSelect[*tuple[Any, ...]]:
        return overlapping(dialect, *of)

    def summed(found: CompoundSelect[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
        one = found.subquery().c
        return select(one.host_id, one.resource, func.sum(one.amount)).group_by(one.host_id, one.resource)

    sums, sums_of_all = summed(read(is_named, is_pool)), summed(read(is_any))
    return Queries(read(is_any), read(is_named), read(is_pool), sums, sums_of_all)


# Made once: making them costs more than running them.
QUERIES = {dialect: _queries(dialect) for dialect in ("sqlite", "postgresql")}


@cache
def _sums_at(number: int, dialect: str) -> Select[*tuple[Any, ...]]:
    """The query for the sums of `resource` at each of so many moments within the slot: moment_0, moment_1, ..."""
    one = overlapping(dialect, lambda _: Allocation.resource == bindparam("resource")).subquery().c
    moments = [bindparam(f"moment_{index}", type_=Utc) for index in range(number)]
    sums = [func.sum(one.amount).filter(one.start_at <= moment, one.end_at > moment) for moment in moments]
    return select(one.host_id, *sums).group_by(one.host_id)


def take(
    session: Session, reservation_id: int, amounts: Mapping[tuple[int | str, str], int], slot: Slot
) -> None:
    """Write that the reservation, which is written itself, holds these amounts throughout `slot`.

    `amounts` is by (host id or SITE, resource).
    """
    _write(session, reservation_id, None, in_slot(amounts, slot))


def in_slot(amounts: Mapping[tuple[int | str, str], int], slot: Slot) -> list[Taken]:
    """These amounts, by (host id or SITE, resource), taken throughout `slot`."""
    return [
        Taken(holder, resource, amount, slot.start, slot.end)
        for (holder, resource), amount in amounts.items()
    ]


def take_for_offer(session: Session, reservation_id: int, offer_id: int, more: Sequence[Taken]) -> None:
    """Write that this is held for an offer to the reservation, besides what that holds itself."""
    if more:
        _write(session, reservation_id, offer_id, more)


def _write(session: Session, reservation_id: int, offer_id: int | None, taken: Iterable[Taken]) -> None:
    values = [
        {
            "reservation_id": reservation_id,
            "offer_id": offer_id,
            "host_id": None if one.holder == SITE else one.holder,
            "resource": one.resource,
            "amount": one.amount,
            "start_at": one.start,
            "end_at": one.end,
            "span": span_of(one.start, one.end),
        }
        for one in taken
    ]
    insert_all(session, Allocation, values)


def move(
    session: Session, reservation_id: int, amounts: Mapping[tuple[int | str, str], int], slot: Slot
) -> None:
    """Let the reservation, nothing of which was built, hold these amounts of hosts in place of those it held.

    What it holds of the site's pools stays.
    """
    a = Allocation
    mine = (a.reservation_id == reservation_id, a.released_at.is_(None), a.host_id.is_not(None))
    session.execute(delete(a).where(*mine).execution_options(synchronize_session=False))
    take(session, reservation_id, amounts, slot)


def shift(
    session: Session,
    reservation_id: int,
    by: Mapping[tuple[int | str, str], int],
    slot: Slot,
    now: datetime,
) -> None:
    """Let the reservation hold so much more from now on throughout `slot`, or less where `by` is negative.

    Never less than nothing. What was held until now is kept as such for the accounts, unless the slot has not begun.
    """
    held: dict[tuple[int | str, str], int] = {}
    for one in of_reservation(session, reservation_id):
        key = (SITE if one.host_id is None else one.host_id, one.resource)
        if one.released_at is not None or not by.get(key):
            continue
        held[key] = held.get(key, 0) + one.amount
        if one.start_at < now:
            one.released_at = now
        else:
            session.delete(one)
    left = {key: held.get(key, 0) + amount for key, amount in by.items() if amount}
    if left := {key: amount for key, amount in left.items() if amount > 0}:
        take(session, reservation_id, left, Slot(max(slot.start, now), slot.end))


def replace(
    session: Session, reservation_id: int, amounts: Mapping[tuple[int | str, str], int], slot: Slot
) -> None:
    """Let the reservation, nothing of which was built, hold these amounts throughout `slot` in place of all it held."""
    a = Allocation
    mine = (a.reservation_id == reservation_id, a.released_at.is_(None))
    session.execute(delete(a).where(*mine).execution_options(synchronize_session=False))
    take(session, reservation_id, amounts, slot)


def of_reservation(session: Session, reservation_id: int) -> Sequence[Allocation]:
    """All allocations of one reservation, released or not; not what is held besides for an offer to it."""
    a = Allocation
    mine = (a.reservation_id == reservation_id, a.offer_id.is_(None))
    return session.scalars(select(a).where(*mine).order_by(a.id)).all()


def held_by(session: Session, reservation_id: int) -> list[Taken]:
    """What the reservation itself holds."""
    return [
        Taken(
            SITE if one.host_id is None else one.host_id, one.resource, one.amount, one.start_at, one.end_at
        )
        for one in _held(session, reservation_id)
    ]


def set_end(session: Session, reservation_id: int, end: datetime) -> None:
    """Let what the reservation still holds be held until `end`."""
    for one in _held(session, reservation_id):
        one.end_at, one.span = end, span_of(one.start_at, end)


def set_start(session: Session, reservation_id: int, start: datetime) -> None:
    """Let what the reservation holds be held from `start` on."""
    for one in _held(session, reservation_id):
        one.start_at, one.span = start, span_of(start, one.end_at)


def _held(session: Session, reservation_id: int) -> list[Allocation]:
    return [one for one in of_reservation(session, reservation_id) if one.released_at is None]


def last_ends(session: Session, until: datetime, without: int) -> dict[tuple[int | str, str], datetime]:
    """What is held and ends by `until`, or is overdue, but for the reservation `without`: its latest end, by (host id
    or SITE, resource)."""
    a = Allocation
    ending = (a.released_at.is_(None), a.end_at <= until, a.reservation_id != without)
    query = select(a.host_id, a.resource, func.max(a.end_at, type_=Utc)).where(*ending)
    found = session.execute(query.group_by(a.host_id, a.resource))
    return {(SITE if host is None else host, resource): end for host, resource, end in found}


def keep_nothing(session: Session, reservation_id: int, over: datetime) -> None:
    """Let the reservation, whose own slot ends at `over`, hold nothing that begins then or later."""
    a = Allocation
    ahead = (a.reservation_id == reservation_id, a.released_at.is_(None), a.start_at >= over)
    session.execute(delete(a).where(*ahead).execution_options(synchronize_session=False))


def release(session: Session, reservation_id: int, now: datetime) -> None:
    """Give back all the reservation still holds, and what is held for an offer to it."""
    drop_offer(session, reservation_id)
    session.execute(
        update(Allocation)
        .where(Allocation.reservation_id == reservation_id, Allocation.released_at.is_(None))
        .values(released_at=now)
    )


def release_gone(
    session: Session, reservation_id: int, stands: Collection[tuple[int, str]], now: datetime
) -> None:
    """Give back what the reservation, which is taken down, has left: what it took of each host, where `stands` has
    not (host id, name of the pass) of the one that would take it down."""
    for one in _held(session, reservation_id):
        pass_name = TAKEN_DOWN_BY.get(one.resource)
        if one.host_id is not None and pass_name and (one.host_id, pass_name) not in stands:
            one.released_at = now


def drop_offer(session: Session, reservation_id: int) -> None:
    """Forget what is held for an offer to the reservation: it was nobody's, so the accounts do not ask for it."""
    a = Allocation
    mine = (a.reservation_id == reservation_id, a.offer_id.is_not(None))
    session.execute(delete(a).where(*mine).execution_options(synchronize_session=False))


def is_host_taken(session: Session, host_id: int) -> bool:
    """Whether anything on this host is held, now or later."""
    query = select(Allocation.id).where(Allocation.host_id == host_id, Allocation.released_at.is_(None))
    return session.scalar(query.limit(1)) is not None
