# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Suspending: since when a cluster is to be suspended

Revision: a3d05c7e41b8, after a83c5e17d90b. Made 2026-11-22 08:55:12.604117.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "a3d05c7e41b8"
down_revision = "a83c5e17d90b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column(
        "reservation", sa.Column("suspend_requested_at", app.db.base.Utc(timezone=True), nullable=True)
    )


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_column("reservation", "suspend_requested_at")
