# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Whose fault an error of the database is: real errors of both, bare and as SQLAlchemy passes them on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from app.db.away import is_away
from app.db.base import Database


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT nothing FROM resource",
        "SELECT 1 FROM nowhere",
        "SELEKT 1",
        "INSERT INTO host_role VALUES (1, 1, 1, 1)",
    ],
)
def test_a_wrong_statement_is_ours(database: Database, statement: str) -> None:
    with pytest.raises(Exception) as caught, database.writing() as session:
        session.execute(text(statement))
    assert not is_away(caught.value)


def test_a_broken_rule_is_ours(database: Database) -> None:
    with pytest.raises(Exception) as caught, database.writing() as session:
        session.execute(text("INSERT INTO host_role (host_id, role) VALUES (99, 'compute')"))
    assert not is_away(caught.value)


@pytest.mark.parametrize(
    "url", ["sqlite:////nonexistent/folder/x.db", "postgresql+psycopg://nobody@127.0.0.1:9/nothing"]
)
def test_a_database_that_is_not_there_is_away(url: str) -> None:
    database = Database(url)
    with pytest.raises(Exception) as caught, database.reading() as session:
        session.execute(text("SELECT 1"))
    assert is_away(caught.value)
    database.close()


def test_a_lock_held_for_too_long_is_away(sqlite_url: str) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path, isolation_level=None) as holder, sqlite3.connect(path, timeout=0.01) as other:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("BEGIN IMMEDIATE")
    holder.close()
    other.close()
    assert is_away(caught.value)


def test_a_turn_that_does_not_come_is_away(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.db.base.SQLITE_BUSY_MS", 50)
    database = Database(sqlite_url)
    with database.writing(), pytest.raises(Exception) as caught, database.writing():
        pass
    with database.writing() as session:
        session.execute(text("SELECT 1"))
    database.close()
    assert is_away(caught.value)


def test_a_file_that_is_no_database_is_away(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("no database " * 100)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.DatabaseError) as caught:
        connection.execute("SELECT 1 FROM sqlite_master")
    connection.close()
    assert is_away(caught.value)


def test_a_connection_ended_by_the_server_is_away(postgresql_url: str) -> None:
    url = postgresql_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as victim, psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])
        with pytest.raises(psycopg.Error) as caught:
            victim.execute("SELECT 1")
    assert is_away(caught.value)


def test_any_other_error_is_ours() -> None:
    assert not is_away(ValueError("OperationalError"))
