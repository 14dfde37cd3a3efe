# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What hosts can do, by their own word: filled from the facts that they told last

Revision: a91c4e7d05b2, after 6d20b9f4a7c3. Made 2026-11-22 07:58:06.104233.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a91c4e7d05b2"
down_revision = "6d20b9f4a7c3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    with op.batch_alter_table("host") as batch_op:
        batch_op.add_column(sa.Column("capabilities", sa.JSON(), nullable=False, server_default="[]"))
    json = sa.JSON()
    host = sa.table("host", sa.column("id"), sa.column("facts", json), sa.column("capabilities", json))
    connection = op.get_bind()
    for number, facts in connection.execute(sa.select(host.c.id, host.c.facts)).all():
        able = {"kvm": facts.get("virt_type") == "kvm", "xen": bool(facts.get("xen"))}
        found = [name for name, is_so in able.items() if is_so]
        connection.execute(sa.update(host).where(host.c.id == number).values(capabilities=found))
    with op.batch_alter_table("host") as batch_op:
        batch_op.alter_column("capabilities", server_default=None)


def downgrade() -> None:
    """Go back to the revision before."""
    with op.batch_alter_table("host") as batch_op:
        batch_op.drop_column("capabilities")
