# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs the migrations on the URL it is given, else on the database of the settings."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from app.db import schema
from app.db.base import Base, open_engine
from app.settings import load

# Importing a table's module is what puts it into the metadata.
assert schema.MODULES


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction; SQLite changes a table by making it anew."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        user_module_prefix="app.db.base.",
    )
    with context.begin_transaction():
        context.run_migrations()


engine = open_engine(context.config.get_main_option("sqlalchemy.url") or load().database)
with engine.connect().execution_options(writes=True) as connection:
    if connection.dialect.name == "sqlite":
        # As SQLite's own manual has it for changes of tables: enforced again, and checked, once all is done. The
        # driver is asked past SQLAlchemy, because in a transaction the pragma does nothing.
        connection.connection.execute("PRAGMA foreign_keys=OFF")
        migrate(connection)
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise SystemExit(f"The migration left {broken[0]} row {broken[1]} without its {broken[2]}.")
    else:
        migrate(connection)
    connection.commit()
engine.dispose()
