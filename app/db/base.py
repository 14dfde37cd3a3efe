# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The declarative base, UTC times, and the two kinds of transaction: reading and writing."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from select import POLLIN, poll
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnClause,
    DateTime,
    Dialect,
    Engine,
    Executable,
    Insert,
    MetaData,
    Row,
    String,
    TypeDecorator,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

# pg_advisory_xact_lock's key for the ledger: any constant of our own will do.
LEDGER_LOCK = 0x1EA5E401D
# How long a SQLite writer waits for its turn. A write transaction takes milliseconds.
SQLITE_BUSY_MS = 20_000
TURN_POLL_S = 0.0005
# Of one process, opened as its threads need them and then kept: to open one costs as much as a booking.
KEPT_CONNECTIONS = 32


class Base(DeclarativeBase):
    """All tables; constraint names follow one pattern so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Utc(TypeDecorator[datetime]):
    """An aware UTC time: timestamptz on PostgreSQL, sortable text `YYYY-MM-DD HH:MM:SS.ffffff` on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(String(26) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return _to_text(value) if dialect.name == "sqlite" else _aware(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        # Not process_result_value: it costs two calls more a value, which count where thousands of rows are read.
        return _from_text if dialect.name == "sqlite" else _in_utc


# All allocations of one cluster begin and end with it: most of these times and texts were here just before.
@lru_cache(maxsize=4096)
def _to_text(value: datetime | None) -> str | None:
    aware = _aware(value)
    return None if aware is None else aware.replace(tzinfo=None).isoformat(" ", "microseconds")


@lru_cache(maxsize=4096)
def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


def _aware(value: datetime | None) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise ValueError("naive time on its way into the database")
    return _in_utc(value)


def _in_utc(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


class Database:
    """One engine and the only two ways to a session.

    `reading()` never waits and writes nothing. On SQLite it sees one consistent snapshot; on PostgreSQL each query of
    it sees what is committed when it begins. `writing()` commits at the end of its block, or rolls back on an
    exception; on SQLite it is BEGIN IMMEDIATE behind a lock on a file, so writers take turns from their first
    statement on. No block of it stands in another.
    `writing(ledger=True)` also holds the ledger lock: at most one such block runs at a time on the whole site.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._turn = turn_file(self.engine)
        self._thread = threading.Lock()
        self._writer: Connection | None = None
        self._session = sessionmaker(expire_on_commit=False)
        # Without a transaction around them queries need no BEGIN; and no ROLLBACK, at which psycopg forgets all that
        # it has prepared, so that the server would plan each statement anew.
        on_postgresql = self.engine.dialect.name == "postgresql"
        self._reader = (
            self.engine.execution_options(isolation_level="AUTOCOMMIT") if on_postgresql else self.engine
        )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._session(bind=self._reader, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self, *, ledger: bool = False) -> Iterator[Session]:
        with self._for_writing() as bind, self._session(bind=bind) as session, session.begin():
            if ledger and self.engine.dialect.name == "postgresql":
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LEDGER_LOCK})
            yield session

    @contextmanager
    def _for_writing(self) -> Iterator[Engine | Connection]:
        """On SQLite this process's turn among all and this thread's in it, and its one connection for writing: what a
        connection has read of the file is forgotten as soon as another one writes, and would be read again."""
        if self.engine.dialect.name != "sqlite":
            yield self.engine
            return
        if not self._thread.acquire(timeout=SQLITE_BUSY_MS / 1000):
            busy = sqlite3.OperationalError("another thread of this process has been writing all the time")
            raise OperationalError("BEGIN IMMEDIATE", None, busy)
        try:
            with turn(self._turn):
                if self._writer is None:
                    self._writer = self.engine.connect().execution_options(writes=True)
                yield self._writer
        finally:
            self._thread.release()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self.engine.dispose()


def rows(
    session: Session, query: Executable, parameters: Mapping[str, Any] | None = None
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The rows of a query for plain columns, after what the session has yet to write.

    As `session.execute(query, parameters).all()`, without what that costs for objects, which is half of it.
    """
    if session.autoflush:
        session.flush()
    return session.connection().execute(query, parameters).all()


def insert_all(session: Session, table: type[Base], values: Sequence[Mapping[str, Any]]) -> None:
    """Write these rows, one at least, all with the same columns, which are all that have no default in the database.

    The connection and not the session writes them, so nothing of them is known to it. On PostgreSQL all go in one
    text: the driver would send one after the other, and look for an answer after each.
    """
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        connection.execute(_by_row(table), values)
        return
    written = json.dumps(values, default=datetime.isoformat)
    connection.execute(_by_text(table, tuple(values[0])), {"values": written})


# Made once: making statements costs more than running them.
@cache
def _by_row(table: type[Base]) -> Insert:
    return insert(table)


@cache
def _by_text(table: type[Base], names: tuple[str, ...]) -> Insert:
    like: ColumnClause[Any] = literal_column(f"NULL::{table.__tablename__}")
    written = cast(bindparam("values", type_=String), JSON)
    found = func.json_populate_recordset(like, written).table_valued(*names)
    return insert(table).from_select(names, select(*found.c))


def turn_file(engine: Engine) -> str | None:
    """The file whose lock gives SQLite's writers their turns; None where the database has locks of its own."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    return f"{path}-turn" if path and path != ":memory:" else None


@contextmanager
def turn(path: str | None) -> Iterator[None]:
    """Hold the lock on `path` for the block; without it after SQLITE_BUSY_MS, when SQLite's own waiting goes on.

    SQLite's waiters sleep ever longer and wake at random, so that with many of them one may wait half a second for
    transactions of milliseconds; asking for a lock twice a millisecond is nearly in turn.
    """
    if path is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        give_up = time.monotonic() + SQLITE_BUSY_MS / 1000
        while not _locked(handle) and time.monotonic() < give_up:
            time.sleep(TURN_POLL_S)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_engine(url: str) -> Engine:
    """An engine for `url` (`sqlite:///FILE` or `postgresql+psycopg://...`), durable and with foreign keys enforced."""
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(url, pool_size=KEPT_CONNECTIONS)
        event.listen(engine, "checkout", _only_if_open)
        return engine
    # With no isolation level the driver never begins a transaction by itself; `_sqlite_begin` does.
    arguments = {"isolation_level": None, "timeout": SQLITE_BUSY_MS / 1000}
    engine = create_engine(url, connect_args=arguments, pool_size=KEPT_CONNECTIONS)
    event.listen(engine, "connect", _sqlite_pragmas)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _only_if_open(connection: Any, _record: object, _proxy: object) -> None:
    """Let a connection that the server has closed be made anew, with all that are older.

    Its end, or a last word, is there to be read then; so nothing has to be asked, as `pool_pre_ping` would each time.
    """
    look = poll()
    if not connection.closed:
        look.register(connection.fileno(), POLLIN)
    if connection.closed or look.poll(0):
        raise InvalidatePoolError


def _sqlite_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
