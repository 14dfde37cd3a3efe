# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The append-only record of who or what changed something, when, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc
from app.domain.refusal import Difference


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


# Made once: making it costs half as much as running it.
INSERT = insert(Event)


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
    row = {
        "at": now,
        "actor": actor,
        "kind": kind,
        "message": message[:4000],
        "reservation_id": reservation_id,
        "host_id": host_id,
        "resource_id": resource_id,
        "data": data or {},
    }
    # By the connection: nobody reads the event in this session, and to keep track of it there costs more than this.
    session.connection().execute(INSERT, row)


def of_reservation(session: Session, reservation_id: int, limit: int = 100) -> Sequence[Event]:
    """The reservation's last events, the newest first."""
    return session.scalars(
        select(Event).where(Event.reservation_id == reservation_id).order_by(Event.id.desc()).limit(limit)
    ).all()


def record_version(
    session: Session,
    now: datetime,
    actor: str,
    kind: str,
    message: str,
    *,
    reservation_id: int,
    version: int,
    changed: Mapping[str, tuple[Any, Any]],
) -> None:
    """As `record`, for a change that made the reservation's `version`: field -> what it was and what it is."""
    plain = {field: [_plain(before), _plain(after)] for field, (before, after) in changed.items()}
    data = {"version": version, "changed": plain}
    record(session, now, actor, kind, message, reservation_id=reservation_id, data=data)


def differences_since(session: Session, reservation_id: int, version: int) -> list[Difference]:
    """What was changed of the reservation after `version`, the oldest first."""
    later = (Event.reservation_id == reservation_id, Event.data["version"].as_integer() > version)
    return [
        Difference(field, before, after, one.actor, one.at)
        for one in session.scalars(select(Event).where(*later).order_by(Event.id))
        for field, (before, after) in one.data["changed"].items()
    ]


def notes(session: Session, reservation_id: int, limit: int = 20) -> Sequence[Event]:
    """The last notes that people left, the newest first."""
    mine = (Event.reservation_id == reservation_id, Event.kind == "note")
    return session.scalars(select(Event).where(*mine).order_by(Event.id.desc()).limit(limit)).all()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
