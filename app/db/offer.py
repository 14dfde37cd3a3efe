# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers: what a cluster provider offers in place of what was asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, exists, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db import ledger
from app.db.account import Account
from app.db.base import Base, Utc
from app.db.reservation import Reservation, is_undecided, visible

ANSWERS = ("accepted", "declined", "withdrawn")
UNANSWERED = text("answer IS NULL")


class Offer(Base):
    """One answer to a request with other terms. `asked` and `offered` are `domain.offer.Terms` as data, with the least
    and the most nodes of each group.

    Open while it has no `answer` and has not expired. The reservation has at most one of these, as each change of it
    withdraws what was offered before.
    """

    __tablename__ = "offer"
    __table_args__ = (
        CheckConstraint(f"answer IN {ANSWERS!r}", name="answer"),
        CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name="answered"),
        Index(
            "uq_offer_open",
            "reservation_id",
            unique=True,
            sqlite_where=UNANSWERED,
            postgresql_where=UNANSWERED,
        ),
        Index("ix_offer_reservation_id", "reservation_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    made_by_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    made_at: Mapped[datetime] = mapped_column(Utc)
    # The end of the request's hold, or of the offered slot where that is earlier.
    expires_at: Mapped[datetime] = mapped_column(Utc)
    message: Mapped[str] = mapped_column(String(2000))
    asked: Mapped[dict[str, Any]] = mapped_column(JSON)
    offered: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Where what is held for it would stand: the name of a node, or of what else is placed, -> host id.
    hosts: Mapped[dict[str, int]] = mapped_column(JSON)
    answer: Mapped[str | None] = mapped_column(String(16))
    answered_at: Mapped[datetime | None] = mapped_column(Utc)
    reason: Mapped[str | None] = mapped_column(String(2000))

    made_by: Mapped[Account] = relationship(lazy="joined")

    def is_open(self, now: datetime) -> bool:
        """Whether it can still be accepted."""
        return self.answer is None and self.expires_at > now


def of_reservation(session: Session, reservation_id: int) -> Sequence[Offer]:
    """All offers that were made to a request, the newest first."""
    return session.scalars(
        select(Offer).where(Offer.reservation_id == reservation_id).order_by(Offer.id.desc())
    ).all()


def open_to(session: Session, reservation_id: int, now: datetime) -> Offer | None:
    """The offer that can still be accepted in place of this request."""
    found = session.scalar(select(Offer).where(Offer.reservation_id == reservation_id, UNANSWERED))
    return found if found is not None and found.is_open(now) else None


def waiting_for(session: Session, account: Account, now: datetime) -> Sequence[tuple[Reservation, Offer]]:
    """The open offers that this account has to answer, with what they were made to, the next to expire first."""
    query = visible(account).add_columns(Offer).join(Offer, Offer.reservation_id == Reservation.id)
    query = query.where(Reservation.owner_id == account.id, UNANSWERED, Offer.expires_at > now)
    return [(row, offer) for row, offer in session.execute(query.order_by(Offer.expires_at, Offer.id))]


def open_among(session: Session, now: datetime) -> dict[int, Offer]:
    """All open offers by the id of the reservation."""
    found = session.scalars(select(Offer).where(UNANSWERED, Offer.expires_at > now))
    return {one.reservation_id: one for one in found}


def count_undecided(session: Session, now: datetime) -> int:
    """How many requests wait for a cluster provider: those to which no offer is open."""
    answered = exists().where(
        Offer.reservation_id == Reservation.id, Offer.answer.is_(None), Offer.expires_at > now
    )
    query = select(func.count()).select_from(Reservation).where(is_undecided(now), ~answered)
    return session.scalar(query) or 0


def settle(session: Session, offer: Offer, answer: str, now: datetime, reason: str | None = None) -> None:
    """Write what became of the offer; nothing is held for it any longer."""
    offer.answer, offer.answered_at, offer.reason = answer, now, reason
    ledger.drop_offer(session, offer.reservation_id)
    session.flush()


def withdraw(session: Session, reservation_id: int, now: datetime) -> bool:
    """Settle the offer that was not answered, as its request is no longer what it was; whether there was one."""
    found = session.scalar(select(Offer).where(Offer.reservation_id == reservation_id, UNANSWERED))
    if found is not None:
        settle(session, found, "withdrawn", now)
    return found is not None
