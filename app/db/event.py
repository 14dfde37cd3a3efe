# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The append-only record of who or what changed something, when, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc


class Event(Base):
    """One change. `actor` is an account's name or `pass:NAME`; `kind` is a short stable word."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_reservation_id_id", "reservation_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(Utc)
    actor: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(String(4000))
    reservation_id: Mapped[int | None] = mapped_column(ForeignKey("reservation.id", ondelete="CASCADE"))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id", ondelete="SET NULL"))
    resource_id: Mapped[int | None] = mapped_column(ForeignKey("resource.id", ondelete="SET NULL"))
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


def record(
    session: Session,
    now: datetime,
    actor: str,
    kind: str,
    message: str,
    *,
    reservation_id: int | None = None,
    host_id: int | None = None,
    resource_id: int | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Write an event in the caller's transaction, so that it stands if and only if the change does."""
    session.add(
        Event(
            at=now,
            actor=actor,
            kind=kind,
            message=message[:4000],
            reservation_id=reservation_id,
            host_id=host_id,
            resource_id=resource_id,
            data=data or {},
        )
    )


def of_reservation(session: Session, reservation_id: int, limit: int = 100) -> Sequence[Event]:
    """The reservation's last events, the newest first."""
    return session.scalars(
        select(Event).where(Event.reservation_id == reservation_id).order_by(Event.id.desc()).limit(limit)
    ).all()
