# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Tokens for the API

Revision: a41f6c09d2b7, after c3e9a71b52d8. Made 2026-11-21 14:52:08.417210.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "a41f6c09d2b7"
down_revision = "c3e9a71b52d8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.Column("expires_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.Column("last_used_at", app.db.base.Utc(timezone=True), nullable=True),
        sa.Column("revoked_at", app.db.base.Utc(timezone=True), nullable=True),
        sa.CheckConstraint("created_at < expires_at", name=op.f("ck_api_token_life")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_token_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_token_digest")),
    )
    op.create_index("ix_api_token_account_id", "api_token", ["account_id"], unique=False)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_table("api_token")
