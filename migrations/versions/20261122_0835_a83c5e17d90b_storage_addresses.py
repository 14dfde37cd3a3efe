# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A storage network apart: host.storage_address

Revision: a83c5e17d90b, after a91c4e7d05b2. Made 2026-11-22 08:35:02.117405.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a83c5e17d90b"
down_revision = "a91c4e7d05b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.add_column("host", sa.Column("storage_address", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Go back to the revision before; disks that are laid out from then on travel between data addresses."""
    op.drop_column("host", "storage_address")
