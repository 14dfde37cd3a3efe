# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Leave alone for a while what could not be taken further: reservation.retry_at

Revision: 8b1f4c2d7a60, after 8c1d5e27fa60. Made 2026-11-21 14:50:07.402119.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "8b1f4c2d7a60"
down_revision = "8c1d5e27fa60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("reservation", sa.Column("retry_at", app.db.base.Utc(timezone=True), nullable=True))


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_column("reservation", "retry_at")
