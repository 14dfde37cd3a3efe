# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Disks that every node of a cluster may write: reservation.shared_disk_gib

Revision: a83d1f6c5b27, after a3d05c7e41b8. Made 2026-11-22 09:20:31.518204.
"""

from __future__ import annotations

from alembic import op

revision = "a83d1f6c5b27"
down_revision = "a3d05c7e41b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision: what was booked before has none."""
    # In place, with its rule: made anew, `reservation` would take what refers to it along on SQLite.
    op.execute(
        "ALTER TABLE reservation ADD COLUMN shared_disk_gib INTEGER DEFAULT 0 NOT NULL"
        " CONSTRAINT ck_reservation_shared_disk CHECK (shared_disk_gib >= 0)"
    )


def downgrade() -> None:
    """Go back to the revision before; disks that stand are forgotten, so let clusters that have one end first."""
    with op.batch_alter_table("reservation") as batch:
        batch.drop_constraint(op.f("ck_reservation_shared_disk"), type_="check")
        batch.drop_column("shared_disk_gib")
