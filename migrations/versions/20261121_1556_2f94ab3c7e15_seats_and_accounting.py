# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Licence seats and nodes in the ledger; a host has one maintenance at a time

Revision: 2f94ab3c7e15, after a41f6c09d2b7. Made 2026-11-21 15:56:44.719342.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "2f94ab3c7e15"
down_revision = "a41f6c09d2b7"
branch_labels = None
depends_on = None

HELD = sa.text("released_at IS NULL")
COLUMNS = "reservation_id, host_id, resource, amount, start_at, end_at, span, released_at"


def upgrade() -> None:
    """Go to this revision: what is booked gets an allocation that counts its nodes, like what will be."""
    _resource_of(48)
    # The network's number stands for as long as the cluster does, so it tells the time.
    op.execute(
        f"INSERT INTO allocation ({COLUMNS})"  # noqa: S608 - constants of this file alone
        " SELECT a.reservation_id, NULL, 'node', count(*), a.start_at, a.end_at, a.span, a.released_at"
        " FROM allocation a JOIN node n ON n.reservation_id = a.reservation_id AND n.kind = 'compute'"
        " WHERE a.resource = 'network_id' GROUP BY a.id"
    )
    if op.get_bind().dialect.name == "postgresql":
        # A host by itself as a range: so no extension is asked for.
        op.execute(
            "ALTER TABLE maintenance ADD CONSTRAINT ex_maintenance_overlap EXCLUDE USING gist"
            " (int4range(host_id, host_id, '[]') WITH &&, tstzrange(start_at, end_at) WITH &&)"
        )


def downgrade() -> None:
    """Go back to the revision before."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("ex_maintenance_overlap", "maintenance")
    op.execute("DELETE FROM allocation WHERE resource = 'node' OR resource LIKE 'seat:%'")
    _resource_of(16)


def _resource_of(length: int) -> None:
    """Give allocation.resource this length; SQLite makes the table anew for it, with all that hangs on it."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("allocation", "resource", type_=sa.String(length))
        return
    with op.batch_alter_table("allocation", copy_from=_allocation()) as batch:
        batch.alter_column("resource", type_=sa.String(length))


def _allocation() -> sa.Table:
    """The table as it is at this revision, for SQLite, which does not tell its checks."""
    utc = app.db.base.Utc(timezone=True)
    metadata = sa.MetaData()
    for other in ("reservation", "host"):
        sa.Table(other, metadata, sa.Column("id", sa.Integer(), primary_key=True))
    table = sa.Table(
        "allocation",
        metadata,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reservation_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("resource", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("start_at", utc, nullable=False),
        sa.Column("end_at", utc, nullable=False),
        sa.Column("span", sa.SmallInteger(), nullable=False),
        sa.Column("released_at", utc, nullable=True),
        sa.CheckConstraint("amount > 0", name=op.f("ck_allocation_amount")),
        sa.CheckConstraint("start_at < end_at", name=op.f("ck_allocation_slot")),
        sa.ForeignKeyConstraint(
            ["reservation_id"],
            ["reservation.id"],
            name=op.f("fk_allocation_reservation_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_allocation_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation")),
    )
    sa.Index("ix_allocation_reservation_id", table.c.reservation_id)
    for name, columns in (
        ("ix_allocation_held", ("end_at", "start_at")),
        ("ix_allocation_span", ("span", "start_at")),
        ("ix_allocation_host_span", ("host_id", "span", "start_at")),
    ):
        sa.Index(name, *(table.c[column] for column in columns), sqlite_where=HELD)
    return table
