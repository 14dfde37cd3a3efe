# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings: series, reservation.series_id

Revision: c3e9a71b52d8, after 4b7e9d10c3a2. Made 2026-11-21 15:40:12.310544.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "c3e9a71b52d8"
down_revision = "4b7e9d10c3a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("every_days", sa.Integer(), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("asked_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.Column("skipped", sa.JSON(), nullable=False),
        sa.CheckConstraint("every_days > 0", name=op.f("ck_series_every_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
    )
    # In place: made anew, `reservation` would take what hangs on it with it on SQLite.
    key = "CONSTRAINT fk_reservation_series_id REFERENCES series (id)"
    op.execute(f"ALTER TABLE reservation ADD COLUMN series_id INTEGER {key}")
    op.create_index("ix_reservation_series_id", "reservation", ["series_id"], unique=False)


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_reservation_series_id", "reservation")
    # With its key, which is no longer the column's own where a later revision made the table anew.
    with op.batch_alter_table("reservation") as batch:
        batch.drop_column("series_id")
    op.drop_table("series")
