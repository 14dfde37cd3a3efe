# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Accounts of providers and the record of login attempts."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from app.db.base import Base, Utc
from app.db.project import Project

ROLES = ("service_provider", "cluster_provider", "operator")


class Account(Base):
    """Someone who may log in. `session_epoch` is the id a session cookie holds: changing it ends all sessions."""

    __tablename__ = "account"
    __table_args__ = (CheckConstraint(f"role IN {ROLES!r}", name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(256))
    session_epoch: Mapped[str] = mapped_column(String(64), unique=True)
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    # Under whose ceilings it books from now on; what it booked stays with the project it was booked in.
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))

    project: Mapped[Project] = relationship()


class LoginAttempt(Base):
    """One failed login: the account name as typed and where it came from."""

    __tablename__ = "login_attempt"
    __table_args__ = (Index("ix_login_attempt_account_address_at", "account", "address", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Utc)


def by_name(session: Session, name: str) -> Account | None:
    """The account of that name, active or not."""
    return session.scalar(select(Account).where(Account.name == name))


def by_epoch(session: Session, epoch: str) -> Account | None:
    """The active account whose sessions carry `epoch`."""
    return session.scalar(select(Account).where(Account.session_epoch == epoch, Account.is_active))


def failures_since(session: Session, account: str, address: str, since: datetime) -> int:
    """How many logins failed for this account from this address since then."""
    attempt = LoginAttempt
    return (
        session.scalar(
            select(func.count()).where(
                attempt.account == account, attempt.address == address, attempt.at >= since
            )
        )
        or 0
    )


def record_failure(session: Session, account: str, address: str, now: datetime, window: timedelta) -> None:
    """Note a failed login and forget those older than `window`."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.at < now - window))
    session.add(LoginAttempt(account=account[:64], address=address[:64], at=now))


def name_of(session: Session, account_id: int) -> str | None:
    """The name of the account with this id."""
    return session.scalar(select(Account.name).where(Account.id == account_id))
