# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing takes turns, whole or not at all, and on SQLite goes by one connection; reading writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import func, select, text

from app.db import event
from app.db.base import Database
from app.db.event import Event
from tests.factories import NOW

THREADS, TIMES = 8, 24


def note(database: Database, then: Callable[[], object]) -> object:
    """Write an event and do `then` in the same transaction; the driver's connection that it went by."""
    with database.writing() as session:
        event.record(session, NOW, "test", "test", "written")
        then()
        return session.connection().connection.driver_connection


def written(database: Database) -> int:
    """How many events there are."""
    with database.reading() as session:
        return session.scalar(select(func.count(Event.id))) or 0


def test_threads_write_in_turn_and_on_sqlite_by_one_connection(database: Database) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        used = list(pool.map(lambda _: note(database, lambda: written(database)), range(TIMES)))
    assert written(database) == TIMES
    if database.engine.dialect.name == "sqlite":
        assert all(one is used[0] for one in used)


def test_what_fails_is_not_written_and_keeps_nobody_from_writing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        note(database, lambda: 1 / 0)
    assert written(database) == 0
    note(database, int)
    assert written(database) == 1


def test_reading_writes_nothing(database: Database) -> None:
    with database.reading() as session:
        session.add(Event(at=NOW, actor="test", kind="test", message="not written"))
        assert session.scalar(select(func.count(Event.id))) == 0
    assert written(database) == 0


def test_what_is_asked_again_and_again_is_prepared_on_postgresql(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    for number in range(12):
        assert written(database) == number
        note(database, int)
    with database.reading() as session:
        found = session.execute(text("SELECT statement FROM pg_prepared_statements")).scalars().all()
    assert any(one.startswith("SELECT count(event.id)") for one in found), found
    assert any(one.startswith("INSERT INTO event") for one in found), found
    database.close()


def test_a_connection_that_the_server_closed_is_made_anew(postgresql_url: str) -> None:
    database = Database(postgresql_url)

    def process() -> int | None:
        with database.reading() as session:
            return session.scalar(text("SELECT pg_backend_pid()"))

    ended = process()
    assert process() == ended
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [ended])
    assert process() != ended
    database.close()
