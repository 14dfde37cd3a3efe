# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings: what ties their reservations together, and the slots that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.account import Account
from app.db.base import Base, Utc
from app.db.reservation import Reservation, visible
from app.domain.lifecycle import LIVE


class Series(Base):
    """One request for many slots. `skipped` has one entry for each slot that was left out: its start and end,
    the reasons, and the nearest alternative, as JSON data."""

    __tablename__ = "series"
    __table_args__ = (CheckConstraint("every_days > 0", name="every_days"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    every_days: Mapped[int]
    time_zone: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[datetime] = mapped_column(Utc)
    skipped: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)


def get(session: Session, account: Account, series_id: int) -> tuple[Series, Sequence[Reservation]] | None:
    """The series with those of its reservations that this account may see, by their start; None if it sees none."""
    query = visible(account).where(Reservation.series_id == series_id).order_by(Reservation.start_at)
    rows = session.scalars(query).all()
    return (session.get_one(Series, series_id), rows) if rows else None


def ahead(session: Session, account: Account, series_id: int, now: datetime) -> Sequence[Reservation]:
    """Those of its reservations that this account may see, which have not begun and are not over or cancelled."""
    r = Reservation
    query = visible(account).where(
        r.series_id == series_id, r.start_at > now, r.state.in_(LIVE), r.cancel_requested_at.is_(None)
    )
    return session.scalars(query.order_by(r.start_at)).all()
