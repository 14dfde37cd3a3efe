# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Saved clusters: until when disks are kept, and whose disks a cluster stands on

Revision: b17e4d02c9a6, after a83d1f6c5b27. Made 2026-11-22 09:35:20.117342.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

import app.db.base

revision = "b17e4d02c9a6"
down_revision = "a83d1f6c5b27"
branch_labels = None
depends_on = None

BEFORE = ("requested", "approved", "building", "ready", "suspended", "ending")
OVER = ("ended", "rejected", "cancelled", "expired")


def upgrade() -> None:
    """Go to this revision."""
    live = (*BEFORE, "saved")
    _drop_live_indexes()
    with op.batch_alter_table("reservation") as batch:
        batch.add_column(sa.Column("keep_until", app.db.base.Utc(timezone=True), nullable=True))
        batch.add_column(sa.Column("saved_id", sa.Integer(), nullable=True))
        batch.create_foreign_key(op.f("fk_reservation_saved_id"), "reservation", ["saved_id"], ["id"])
        batch.create_check_constraint(
            op.f("ck_reservation_one_keeps"), "saved_id IS NULL OR keep_until IS NULL"
        )
        batch.drop_constraint(op.f("ck_reservation_state"), type_="check")
        batch.create_check_constraint(op.f("ck_reservation_state"), _is_one_of((*live, *OVER)))
    _make_live_indexes(live)
    where = sa.text(_is_one_of(live))
    op.create_index(
        "uq_reservation_live_saved_id",
        "reservation",
        ["saved_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )


def downgrade() -> None:
    """Go back to the one before: what is saved goes."""
    op.execute(
        "UPDATE resource SET want = 'absent', retry_at = NULL"
        " WHERE reservation_id IN (SELECT id FROM reservation WHERE state = 'saved')"
    )
    op.execute("UPDATE reservation SET state = 'ending', retry_at = NULL WHERE state = 'saved'")
    op.drop_index("uq_reservation_live_saved_id", "reservation")
    _drop_live_indexes()
    with op.batch_alter_table("reservation") as batch:
        batch.drop_constraint(op.f("ck_reservation_one_keeps"), type_="check")
        batch.drop_constraint(op.f("fk_reservation_saved_id"), type_="foreignkey")
        batch.drop_constraint(op.f("ck_reservation_state"), type_="check")
        batch.create_check_constraint(op.f("ck_reservation_state"), _is_one_of((*BEFORE, *OVER)))
        batch.drop_column("saved_id")
        batch.drop_column("keep_until")
    _make_live_indexes(BEFORE)


def _is_one_of(states: Sequence[str]) -> str:
    return f"state IN {tuple(states)!r}"


def _drop_live_indexes() -> None:
    op.drop_index("uq_reservation_live_name", "reservation")
    op.drop_index("ix_reservation_live_project", "reservation")


def _make_live_indexes(live: Sequence[str]) -> None:
    where = sa.text(_is_one_of(live))
    for name, column, unique in (
        ("uq_reservation_live_name", "name", True),
        ("ix_reservation_live_project", "project_id", False),
    ):
        op.create_index(
            name, "reservation", [column], unique=unique, sqlite_where=where, postgresql_where=where
        )
