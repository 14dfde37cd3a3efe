# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The revision of the booking engine over rows that were there before: all kept, each with the class of its length."""

from __future__ import annotations

from datetime import timedelta

from alembic import command
from sqlalchemy import text

from app.db import ledger
from app.db.base import Database, open_engine
from app.db.ledger import Allocation
from app.domain.slot import Slot
from tests.factories import NOW
from tests.migration.test_migrations import config

BEFORE = "c72c045b150f"
SECOND = timedelta(seconds=1)
LENGTHS = [length for span in ledger.SPANS for length in (span - SECOND, span, span + SECOND)]


def test_rows_are_kept_and_found_again(empty_database_url: str) -> None:
    url = empty_database_url
    command.upgrade(config(url), BEFORE)
    _fill(url)
    command.upgrade(config(url), "head")
    database = Database(url)
    with database.reading() as session:
        rows = session.query(Allocation).order_by(Allocation.id).all()
        assert [row.amount for row in rows] == list(range(1, len(LENGTHS) + 1))
        # A class too long finds the row as well; one too short would lose it.
        assert all(row.span >= ledger.span_of(row.start_at, row.end_at) for row in rows)
        for index, length in enumerate(LENGTHS):
            last = Slot(NOW + length - SECOND, NOW + length)
            found = ledger.taken(session, last, NOW - timedelta(days=1))
            assert {one.amount for one in found} == set(range(index + 1, len(LENGTHS) + 1))
        roles = session.execute(text("SELECT count(*) FROM host_role")).scalar()
        assert roles == 1
    database.close()
    command.downgrade(config(url), BEFORE)
    command.upgrade(config(url), "head")
    database = Database(url)
    with database.reading() as session:
        assert session.query(Allocation).count() == len(LENGTHS)
        assert session.execute(text("SELECT count(*) FROM host_role")).scalar() == 1
    database.close()


def _fill(url: str) -> None:
    """An account, a host with a role, a reservation, and allocations of all lengths, in the words of BEFORE."""
    engine = open_engine(url)
    sqlite = engine.dialect.name == "sqlite"

    def at(moment):
        return moment.replace(tzinfo=None).isoformat(" ", "microseconds") if sqlite else moment

    now = {"now": at(NOW), "end": at(NOW + timedelta(days=500))}
    with engine.connect().execution_options(writes=True) as connection:
        connection.execute(
            text(
                "INSERT INTO account (id, name, role, password_hash, session_epoch, time_zone, is_active, created_at)"
                " VALUES (1, 'alice', 'service_provider', 'none', 'e', 'UTC', true, :now)"
            ),
            now,
        )
        connection.execute(
            text(
                "INSERT INTO host (id, name, address, port, host_key, data_address, state, vcpus, memory_mib, disk_mib,"
                " facts, failures, added_at) VALUES (1, 'c1', 'a', 22, 'k', 'a', 'enabled', 8, 8, 8, '{}', 0, :now)"
            ),
            now,
        )
        connection.execute(text("INSERT INTO host_role (host_id, role) VALUES (1, 'compute')"))
        connection.execute(
            text(
                "INSERT INTO reservation (id, name, owner_id, state, version, start_at, end_at, home_gib, rolls, note,"
                " requested_at, hold_until) VALUES (1, 'vc', 1, 'approved', 1, :now, :end, 1, '[]', '', :now, :now)"
            ),
            now,
        )
        for number, length in enumerate(LENGTHS, start=1):
            connection.execute(
                text(
                    "INSERT INTO allocation (id, reservation_id, host_id, resource, amount, start_at, end_at)"
                    " VALUES (:number, 1, 1, 'vcpu', :number, :start, :end)"
                ),
                {"number": number, "start": at(NOW), "end": at(NOW + length)},
            )
        connection.commit()
    engine.dispose()
