# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Projects: each account and each reservation belongs to one

Revision: 8c1d5e27fa60, after 5d1f0a7e93b4. Made 2026-11-21 14:45:10.402911.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "8c1d5e27fa60"
down_revision = "5d1f0a7e93b4"
branch_labels = None
depends_on = None

# What was live at this revision.
LIVE = sa.text("state IN ('requested', 'approved', 'building', 'ready', 'suspended', 'ending')")


def upgrade() -> None:
    """Go to this revision: every account gets a project of its own name, with what it has booked."""
    op.create_table(
        "project",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("nodes", sa.Integer(), nullable=True),
        sa.Column("node_hours", sa.Integer(), nullable=True),
        sa.Column("length_hours", sa.Integer(), nullable=True),
        sa.Column("reservations", sa.Integer(), nullable=True),
        sa.Column("notice_s", sa.Integer(), nullable=True),
        sa.Column("created_at", app.db.base.Utc(timezone=True), nullable=False),
        sa.CheckConstraint(
            "nodes >= 0 AND node_hours >= 0 AND length_hours >= 0 AND reservations >= 0 AND notice_s >= 0",
            name=op.f("ck_project_ceilings"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
    )
    op.execute("INSERT INTO project (name, created_at) SELECT name, created_at FROM account")
    _belong("account", "SELECT id FROM project WHERE name = account.name")
    _belong("reservation", "SELECT project_id FROM account WHERE id = reservation.owner_id")
    if op.get_bind().dialect.name == "postgresql":
        for table in ("account", "reservation"):
            op.alter_column(table, "project_id", nullable=False)
    op.create_index(
        "ix_reservation_live_project",
        "reservation",
        ["project_id"],
        unique=False,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )


def _belong(table: str, found: str) -> None:
    """Add the column in place and fill it by the query `found`.

    SQLite takes a column that may not be null only with a default, so it gets one that no project has.
    """
    default = "NOT NULL DEFAULT 0" if op.get_bind().dialect.name == "sqlite" else ""
    key = f"CONSTRAINT fk_{table}_project_id REFERENCES project (id)"
    op.execute(f"ALTER TABLE {table} ADD COLUMN project_id INTEGER {default} {key}")
    op.execute(f"UPDATE {table} SET project_id = ({found})")  # noqa: S608 - constants of this file alone


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index("ix_reservation_live_project", "reservation")
    # With its key, which is no longer the column's own where a later revision made the table anew.
    with op.batch_alter_table("reservation") as batch:
        batch.drop_column("project_id")
    op.drop_column("account", "project_id")
    op.drop_table("project")
