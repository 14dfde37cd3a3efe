# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""When each pass last ran and what came of it: the heartbeat that pages and health checks read. `look` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc

PASSES = ("schedule", "network", "storage", "image", "machine")
# cron starts each pass so often; after so many times without a sign of it, something is wrong.
PERIOD = timedelta(minutes=1)
MISSED = 3


class PassRun(Base):
    """The latest run of one pass, idle or not: what it did from `started_at` to its last sign of life."""

    __tablename__ = "pass_run"

    pass_name: Mapped[str] = mapped_column(String(16), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(Utc)
    finished_at: Mapped[datetime] = mapped_column(Utc)
    worked: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)


def latest(session: Session) -> Sequence[PassRun]:
    """One row for each pass that ever ran."""
    return session.scalars(select(PassRun).order_by(PassRun.pass_name)).all()


def overdue(runs: Iterable[PassRun], now: datetime) -> dict[str, datetime | None]:
    """The passes that gave no sign of life for MISSED periods, each with its last one (None: never any)."""
    seen = {run.pass_name: run.finished_at for run in runs}
    late = now - MISSED * PERIOD
    return {name: seen.get(name) for name in PASSES if name not in seen or seen[name] < late}
