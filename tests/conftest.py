# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Databases for the tests, fresh for each one, and the order of the run: what fails quickly comes first.

``database_url`` is what most tests want: a database with the schema in it and no rows, once on SQLite and
once on PostgreSQL. ``sqlite_url`` is for a test that has nothing to do with the kind of database, and
``empty_database_url`` for the tests of the migrations themselves.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from hypothesis import configuration
from hypothesis import settings as hypothesis_settings
from sqlalchemy.engine import make_url

from tests import postgresql

ROOT = Path(__file__).parent.parent
FIRST_TO_LAST = (
    "repo",
    "unit",
    "property",
    "ops",
    "migration",
    "db",
    "simulator",
    "web",
    "browser",
    "site",
    "machines",
)

# The whole run is root's, the fast tests may be somebody else's: each keeps examples of their own. No deadline for
# one example, because the machine may be busy; a test as a whole has its time-out.
configuration.set_hypothesis_home_dir(ROOT / ".cache" / f"hypothesis-{os.geteuid()}")
hypothesis_settings.register_profile("leasehold", deadline=None)
hypothesis_settings.load_profile("leasehold")

TEMPLATE = "leasehold_template"
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by folder, in the order of FIRST_TO_LAST; a folder not named there runs before the lab's."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return FIRST_TO_LAST.index(folder) if folder in FIRST_TO_LAST else len(FIRST_TO_LAST) - 1

    items.sort(key=place)


def migrate(url: str) -> None:
    """Bring the database behind `url` to the newest schema, as ``leasehold db upgrade`` does."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server for the whole run; a URL in which ``{database}`` is still open."""
    with postgresql.server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it, to be copied and never opened."""
    path = tmp_path_factory.mktemp("template") / "leasehold.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: str) -> str:
    """The name of a PostgreSQL database with the schema in it, to be cloned and never opened."""
    _administer(postgresql_server, f'CREATE DATABASE "{TEMPLATE}"')
    migrate(postgresql_server.format(database=TEMPLATE))
    return TEMPLATE


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """``new_database("sqlite" or "postgresql", empty=False)`` makes one and returns its URL."""
    with ExitStack() as cleanup:

        def make(kind: str, *, empty: bool = False) -> str:
            name = f"leasehold_{next(_numbers)}"
            if kind == "sqlite":
                path = tmp_path / f"{name}.db"
                if not empty:
                    shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
                return f"sqlite:///{path}"
            server = request.getfixturevalue("postgresql_server")
            template = "template0" if empty else request.getfixturevalue("migrated_postgresql")
            _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            cleanup.callback(_administer, server, f'DROP DATABASE "{name}" WITH (FORCE)')
            return str(server.format(database=name))

        yield make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(new_database: Callable[..., str], database_kind: str) -> str:
    """URL of a database with the schema and no rows; the test runs once for each kind of database."""
    return new_database(database_kind)


@pytest.fixture
def empty_database_url(new_database: Callable[..., str], database_kind: str) -> str:
    """URL of a database with nothing in it; the test runs once for each kind of database."""
    return new_database(database_kind, empty=True)


@pytest.fixture
def sqlite_url(new_database: Callable[..., str]) -> str:
    """URL of a SQLite database with the schema and no rows."""
    return new_database("sqlite")


@pytest.fixture
def postgresql_url(new_database: Callable[..., str]) -> str:
    """URL of a PostgreSQL database with the schema and no rows, for what SQLite has not."""
    return new_database("postgresql")


def _administer(server: str, statement: str) -> None:
    url = make_url(server.format(database="postgres"))
    host = str(url.query["host"])
    with psycopg.connect(host=host, user=url.username, dbname="postgres", autocommit=True) as connection:
        connection.execute(statement.encode())
