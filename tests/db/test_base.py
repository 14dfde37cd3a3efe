# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Writing takes turns, whole or not at all, and on SQLite goes by one connection."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

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
