# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""When each pass last ran and what came of it: the heartbeat that pages and health checks read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc

PASSES = ("schedule", "network", "storage", "image", "machine")


class PassRun(Base):
    """The latest run of one pass that had something to do."""

    __tablename__ = "pass_run"

    pass_name: Mapped[str] = mapped_column(String(16), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(Utc)
    finished_at: Mapped[datetime] = mapped_column(Utc)
    worked: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)


def note(
    session: Session, name: str, started: datetime, finished: datetime, worked: int, failed: int
) -> None:
    """Replace the pass's row."""
    session.merge(
        PassRun(pass_name=name, started_at=started, finished_at=finished, worked=worked, failed=failed)
    )


def latest(session: Session) -> Sequence[PassRun]:
    """One row for each pass that ever ran."""
    return session.scalars(select(PassRun).order_by(PassRun.pass_name)).all()
