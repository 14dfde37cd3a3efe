# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Node groups: what was asked for a group of nodes has a row of its own

Revision: 9b1e6f20c7d8, after 8b1f4c2d7a60. Made 2026-11-21 15:25:12.402113.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "9b1e6f20c7d8"
down_revision = "8b1f4c2d7a60"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    op.create_table(
        "node_group",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reservation_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("appliance", sa.String(length=31), nullable=False),
        sa.Column("least", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("pin", sa.JSON(), nullable=False),
        sa.Column("avoid", sa.JSON(), nullable=False),
        sa.CheckConstraint("least BETWEEN 1 AND most", name=op.f("ck_node_group_least")),
        sa.CheckConstraint("vcpus > 0 AND memory_mib > 0 AND disk_gib > 0", name=op.f("ck_node_group_size")),
        sa.ForeignKeyConstraint(
            ["reservation_id"],
            ["reservation.id"],
            name=op.f("fk_node_group_reservation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_group")),
        sa.UniqueConstraint("reservation_id", "name", name=op.f("uq_node_group_reservation_id_name")),
        sa.UniqueConstraint("reservation_id", "position", name=op.f("uq_node_group_reservation_id_position")),
    )
    # In place: made anew, `node` would take what refers to it along on SQLite.
    op.add_column(
        "node",
        sa.Column(
            "group_id",
            sa.Integer(),
            sa.ForeignKey("node_group.id", name=op.f("fk_node_group_id")),
            nullable=True,
        ),
        inline_references=True,
    )
    # Until now all compute nodes of a cluster were alike: they are its one group.
    op.execute(
        "INSERT INTO node_group (reservation_id, position, name, appliance, least, most, vcpus, memory_mib, disk_gib,"
        " policy, tags, pin, avoid)"
        " SELECT r.id, 0, 'node', 'compute', n.nodes, n.nodes, n.vcpus, n.memory_mib, n.disk_gib, r.policy, r.tags,"
        " '[]', '[]' FROM reservation r JOIN (SELECT reservation_id, count(*) AS nodes, max(vcpus) AS vcpus,"
        " max(memory_mib) AS memory_mib, max(disk_gib) AS disk_gib FROM node WHERE kind = 'compute'"
        " GROUP BY reservation_id) n ON n.reservation_id = r.id"
    )
    op.execute(
        "UPDATE node SET group_id = (SELECT g.id FROM node_group g WHERE g.reservation_id = node.reservation_id)"
        " WHERE kind = 'compute'"
    )
    op.drop_column("reservation", "tags")
    op.drop_column("reservation", "policy")


def downgrade() -> None:
    """Go back to the revision before; of several groups the first one's policy and tags are kept."""
    op.add_column(
        "reservation", sa.Column("policy", sa.String(length=16), nullable=False, server_default="spread")
    )
    op.add_column("reservation", sa.Column("tags", sa.JSON(), nullable=False, server_default="[]"))
    for column in ("policy", "tags"):
        op.execute(
            f"UPDATE reservation SET {column} = (SELECT g.{column} FROM node_group g"  # noqa: S608
            " WHERE g.reservation_id = reservation.id AND g.position = 0)"
            " WHERE EXISTS (SELECT 1 FROM node_group g WHERE g.reservation_id = reservation.id AND g.position = 0)"
        )
    op.drop_column("node", "group_id")
    op.drop_table("node_group")
