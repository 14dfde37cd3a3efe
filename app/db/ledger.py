# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The ledger: what is taken of each host and pool, from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc
from app.domain.capacity import Taken
from app.domain.slot import Slot

# A cluster whose end has passed but which still stands on hosts is taken to need this much longer.
OVERDUE = timedelta(hours=1)


class Allocation(Base):
    """`amount` of one resource of a host (or, where host_id is null, of the site's pool) bound for a slot.

    Kept after its release for the accounts; only rows with no `released_at` count as taken.
    """

    __tablename__ = "allocation"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("start_at < end_at", name="slot"),
        Index(
            "ix_allocation_held",
            "end_at",
            "start_at",
            sqlite_where=text("released_at IS NULL"),
            postgresql_where=text("released_at IS NULL"),
        ),
        Index("ix_allocation_reservation_id", "reservation_id"),
        Index("ix_allocation_host_id", "host_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id"))
    resource: Mapped[str] = mapped_column(String(16))
    amount: Mapped[int]
    start_at: Mapped[datetime] = mapped_column(Utc)
    end_at: Mapped[datetime] = mapped_column(Utc)
    released_at: Mapped[datetime | None] = mapped_column(Utc)


def taken(session: Session, slot: Slot, now: datetime) -> list[Taken]:
    """Everything that is taken at some moment of `slot`; what is overdue is stretched to OVERDUE from now."""
    a = Allocation
    # What is over already counts only for slots that begin before it can be expected to be gone.
    overdue = now if slot.start < now + OVERDUE else datetime.min.replace(tzinfo=UTC)
    rows = session.execute(
        select(a.host_id, a.resource, a.amount, a.start_at, a.end_at).where(
            a.released_at.is_(None),
            a.start_at < slot.end,
            or_(a.end_at > slot.start, a.end_at <= overdue),
        )
    )
    return [
        Taken(
            host if host is not None else "site", resource, amount, start, end if end > now else now + OVERDUE
        )
        for host, resource, amount, start, end in rows
    ]


def of_reservation(session: Session, reservation_id: int) -> Sequence[Allocation]:
    """All allocations of one reservation, released or not."""
    return session.scalars(
        select(Allocation).where(Allocation.reservation_id == reservation_id).order_by(Allocation.id)
    ).all()


def release(session: Session, reservation_id: int, now: datetime) -> None:
    """Give back all the reservation still holds."""
    session.execute(
        update(Allocation)
        .where(Allocation.reservation_id == reservation_id, Allocation.released_at.is_(None))
        .values(released_at=now)
    )


def is_host_taken(session: Session, host_id: int) -> bool:
    """Whether anything on this host is held, now or later."""
    query = select(Allocation.id).where(Allocation.host_id == host_id, Allocation.released_at.is_(None))
    return session.scalar(query.limit(1)) is not None
