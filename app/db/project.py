# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Projects: who books together under one set of ceilings and in one line of the accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Row, String, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.base import Base, Utc, rows


class Project(Base):
    """What accounts belong to. A ceiling of its own stands before the site's; null leaves the site's in force."""

    __tablename__ = "project"
    __table_args__ = (
        CheckConstraint(
            "nodes >= 0 AND node_hours >= 0 AND length_hours >= 0 AND reservations >= 0 AND notice_s >= 0",
            name="ceilings",
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    nodes: Mapped[int | None]
    node_hours: Mapped[int | None]
    length_hours: Mapped[int | None]
    reservations: Mapped[int | None]
    notice_s: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(Utc)


# Made once: making it costs more than running it.
CEILINGS = select(
    Project.nodes, Project.node_hours, Project.length_hours, Project.reservations, Project.notice_s
).where(Project.id == bindparam("project_id"))


def by_name(session: Session, name: str) -> Project | None:
    """The project of that name."""
    return session.scalar(select(Project).where(Project.name == name))


def name_of(session: Session, project_id: int) -> str:
    """The name of the project with this id, which must be there."""
    return session.get_one(Project, project_id).name


def ceilings(session: Session, project_id: int) -> Row[*tuple[Any, ...]]:
    """nodes, node_hours, length_hours, reservations and notice_s of the project with this id, which must be there."""
    (found,) = rows(session, CEILINGS, {"project_id": project_id})
    return found


def projects(session: Session) -> Sequence[Project]:
    """All projects by name."""
    return session.scalars(select(Project).order_by(Project.name)).all()
