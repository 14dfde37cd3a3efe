# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Since when a host does not answer, and from when on it is lost

Revision: 4b7e9d10c3a2, after 9b1e6f20c7d8. Made 2026-11-21 15:30:12.114520.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "4b7e9d10c3a2"
down_revision = "9b1e6f20c7d8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("host", sa.Column("failing_since", app.db.base.Utc(timezone=True), nullable=True))
    op.add_column("host", sa.Column("lost_at", app.db.base.Utc(timezone=True), nullable=True))


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_column("host", "lost_at")
    op.drop_column("host", "failing_since")
