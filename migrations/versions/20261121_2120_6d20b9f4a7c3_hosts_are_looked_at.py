# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Look at hosts on which something stands: an index on the rows that do

Revision: 6d20b9f4a7c3, after d27b6f3e9a10. Made 2026-11-21 21:20:14.330917.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6d20b9f4a7c3"
down_revision = "d27b6f3e9a10"
branch_labels = None
depends_on = None

STANDING = sa.text("want = 'present' AND have = 'present' AND reservation_id IS NOT NULL")


def upgrade() -> None:
    """Go to this revision."""
    op.create_index(
        "ix_resource_standing",
        "resource",
        ["host_id"],
        unique=False,
        sqlite_where=STANDING,
        postgresql_where=STANDING,
    )


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_resource_standing", table_name="resource")
