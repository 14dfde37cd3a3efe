# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that leave: since when a node of a cluster that stands is to go

Revision: 4e7a90c1d2f6, after 2f94ab3c7e15. Made 2026-11-21 15:59:41.318224.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "4e7a90c1d2f6"
down_revision = "2f94ab3c7e15"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("node", sa.Column("leaving_at", app.db.base.Utc(timezone=True), nullable=True))


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_column("node", "leaving_at")
