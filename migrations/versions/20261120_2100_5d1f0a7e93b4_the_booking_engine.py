# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The booking engine: classes of length, tags, bandwidth, maintenance

Revision: 5d1f0a7e93b4, after c72c045b150f. Made 2026-11-20 21:00:31.113052.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "5d1f0a7e93b4"
down_revision = "c72c045b150f"
branch_labels = None
depends_on = None

# The classes as they were at this revision, in hours.
SPANS = (1, 4, 24, 7 * 24, 31 * 24, 124 * 24, 400 * 24)
HELD = sa.text("released_at IS NULL")


def upgrade() -> None:
    """Go to this revision."""
    # Columns are added and dropped in place: made anew, `host` would take its roles with it on SQLite.
    # The last class is right for every length, so it is the default until the next statement.
    op.add_column(
        "allocation", sa.Column("span", sa.SmallInteger(), nullable=False, server_default=str(len(SPANS)))
    )
    _classify(op.get_bind())
    op.create_index(
        "ix_allocation_span",
        "allocation",
        ["span", "start_at"],
        unique=False,
        sqlite_where=HELD,
        postgresql_where=HELD,
    )
    op.create_index(
        "ix_allocation_host_span",
        "allocation",
        ["host_id", "span", "start_at"],
        unique=False,
        sqlite_where=HELD,
        postgresql_where=HELD,
    )
    op.drop_index("ix_allocation_host_id", "allocation")
    op.add_column("host", sa.Column("bandwidth_mbit", sa.Integer(), nullable=True))
    op.add_column("host", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column(
        "reservation", sa.Column("policy", sa.String(length=16), nullable=False, server_default="spread")
    )
    op.add_column("reservation", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "maintenance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("start_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.Column("end_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.CheckConstraint("start_at < end_at", name=op.f("ck_maintenance_slot")),
        sa.ForeignKeyConstraint(
            ["host_id"], ["host.id"], name=op.f("fk_maintenance_host_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
    )
    op.create_index("ix_maintenance_host_id_end_at", "maintenance", ["host_id", "end_at"], unique=False)


def _classify(bind: sa.Connection) -> None:
    """Give every allocation the class of its length; both databases count seconds, each in its own way."""
    seconds = {
        "sqlite": "(julianday(end_at) - julianday(start_at)) * 86400",
        "postgresql": "extract(epoch FROM end_at - start_at)",
    }[bind.dialect.name]
    # A second less than the class holds, against rounding: a class too long is right, one too short is not.
    arms = " ".join(f"WHEN {seconds} <= {hours * 3600 - 1} THEN {n}" for n, hours in enumerate(SPANS))
    # Made of the constants above alone.
    bind.execute(sa.text(f"UPDATE allocation SET span = CASE {arms} ELSE {len(SPANS)} END"))  # noqa: S608


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_table("maintenance")
    op.drop_column("reservation", "tags")
    op.drop_column("reservation", "policy")
    op.drop_column("host", "tags")
    op.drop_column("host", "bandwidth_mbit")
    op.create_index("ix_allocation_host_id", "allocation", ["host_id"], unique=False)
    op.drop_index("ix_allocation_host_span", "allocation")
    op.drop_index("ix_allocation_span", "allocation")
    op.drop_column("allocation", "span")
