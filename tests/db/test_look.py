# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The wait between two looks: cut short by a write of anybody's, and by nothing else."""

from __future__ import annotations

import threading
import time

from app.db.base import Database
from app.db.look import TICK_S, Look
from tests.factories import make_account, make_host


def test_a_write_ends_the_wait(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with Look(sqlite_url) as look:
        writer = threading.Timer(0.3, lambda: make_host(database, "c1", "compute"))
        began = time.monotonic()
        writer.start()
        look.wait(30)
        assert 0.3 <= time.monotonic() - began < 15
        writer.join()
    database.close()


def test_what_was_written_before_the_wait_ends_it_at_the_first_tick(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with Look(sqlite_url) as look:
        make_account(database)
        began = time.monotonic()
        look.wait(30)
        assert TICK_S <= time.monotonic() - began < 15
    database.close()


def test_reading_and_writing_nothing_do_not_end_it(database: Database, database_url: str) -> None:
    with Look(database_url) as look:
        with database.reading() as session:
            session.connection().exec_driver_sql("SELECT 1 FROM host")
        with database.writing():
            pass
        began = time.monotonic()
        look.wait(0.4)
        assert time.monotonic() - began >= 0.4
