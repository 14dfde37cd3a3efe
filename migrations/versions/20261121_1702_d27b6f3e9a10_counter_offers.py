# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers: offer, allocation.offer_id

Revision: d27b6f3e9a10, after 4e7a90c1d2f6. Made 2026-11-21 17:02:18.504117.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "d27b6f3e9a10"
down_revision = "4e7a90c1d2f6"
branch_labels = None
depends_on = None

UNANSWERED = sa.text("answer IS NULL")


def upgrade() -> None:
    """Go to this revision."""
    utc = app.db.base.Utc(timezone=True)
    op.create_table(
        "offer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reservation_id", sa.Integer(), nullable=False),
        sa.Column("made_by_id", sa.Integer(), nullable=False),
        sa.Column("made_at", utc, nullable=False),
        sa.Column("expires_at", utc, nullable=False),
        sa.Column("message", sa.String(length=2000), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("offered", sa.JSON(), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=True),
        sa.Column("answered_at", utc, nullable=True),
        sa.Column("reason", sa.String(length=2000), nullable=True),
        sa.CheckConstraint("answer IN ('accepted', 'declined', 'withdrawn')", name=op.f("ck_offer_answer")),
        sa.CheckConstraint("(answer IS NULL) = (answered_at IS NULL)", name=op.f("ck_offer_answered")),
        sa.ForeignKeyConstraint(
            ["reservation_id"], ["reservation.id"], name=op.f("fk_offer_reservation_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["made_by_id"], ["account.id"], name=op.f("fk_offer_made_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer")),
    )
    op.create_index("ix_offer_reservation_id", "offer", ["reservation_id"], unique=False)
    op.create_index(
        "uq_offer_open",
        "offer",
        ["reservation_id"],
        unique=True,
        sqlite_where=UNANSWERED,
        postgresql_where=UNANSWERED,
    )
    # In place: an allocation table of years is not written anew.
    key = "CONSTRAINT fk_allocation_offer_id REFERENCES offer (id)"
    op.execute(f"ALTER TABLE allocation ADD COLUMN offer_id INTEGER {key}")


def downgrade() -> None:
    """Go back to the revision before; what was offered, and held for it, is lost."""
    op.execute("DELETE FROM allocation WHERE offer_id IS NOT NULL")
    op.drop_column("allocation", "offer_id")
    op.drop_table("offer")
