# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The look's queries find their rows by index: they are asked again and again over a past that only grows."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.db.base import Database
from app.db.look import HOSTS, RESERVATIONS, RESOURCES
from bench.idle import read_whole


@pytest.mark.parametrize("query", [RESERVATIONS, RESOURCES, HOSTS])
def test_no_table_is_read_whole(query: str, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    moment = "'2026-11-20 12:00:00.000000'"
    filled = query.format(worker="'network'", now=moment, soon=moment, silent_since=moment)
    with database.reading() as session:
        plan = [" ".join(map(str, row)) for row in session.execute(text(f"EXPLAIN QUERY PLAN {filled}"))]
    database.close()
    assert any("INDEX" in line for line in plan)
    assert read_whole(plan) == []
