# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""API tokens: what a program shows instead of a password, of which only a digest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Row, String, bindparam, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.account import Account
from app.db.base import Base, Utc


class ApiToken(Base):
    """One token of one account. `digest` is the SHA-256 of the whole token in hexadecimal."""

    __tablename__ = "api_token"
    __table_args__ = (
        CheckConstraint("created_at < expires_at", name="life"),
        Index("ix_api_token_account_id", "account_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(Utc)
    expires_at: Mapped[datetime] = mapped_column(Utc)
    last_used_at: Mapped[datetime | None] = mapped_column(Utc)
    revoked_at: Mapped[datetime | None] = mapped_column(Utc)


# Asked at every request of the API, and so made once: making it costs as much as running it.
IN_FORCE = (
    select(Account, ApiToken.id, ApiToken.last_used_at)
    .join(Account, Account.id == ApiToken.account_id)
    .where(ApiToken.digest == bindparam("digest"), ApiToken.revoked_at.is_(None), Account.is_active)
    .where(ApiToken.expires_at > bindparam("now", type_=Utc))
)


def by_digest(session: Session, digest: str, now: datetime) -> Row[Account, int, datetime | None] | None:
    """The account of the token with this digest, the token's id and when it was used last, if both are in force."""
    return session.execute(IN_FORCE, {"digest": digest, "now": now}).first()


def of_account(session: Session, account_id: int, limit: int = 100) -> Sequence[ApiToken]:
    """The account's tokens, whatever became of them, the newest first."""
    query = select(ApiToken).where(ApiToken.account_id == account_id).order_by(ApiToken.id.desc())
    return session.scalars(query.limit(limit)).all()


def count_in_force(session: Session, account_id: int, now: datetime) -> int:
    """How many of the account's tokens would be let in."""
    t = ApiToken
    mine = (t.account_id == account_id, t.revoked_at.is_(None), t.expires_at > now)
    return session.scalar(select(func.count()).where(*mine)) or 0


def get(session: Session, account_id: int, token_id: int) -> ApiToken | None:
    """The token if it is this account's."""
    query = select(ApiToken).where(ApiToken.id == token_id, ApiToken.account_id == account_id)
    return session.scalar(query)
