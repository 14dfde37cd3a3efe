# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The migrations: one line of them, from nothing to the tables the code declares, and back."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from app.db.base import open_engine
from tests.conftest import ROOT


def config(url: str = "") -> Config:
    made = Config()
    made.set_main_option("script_location", str(ROOT / "migrations"))
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(config()).get_heads()) == 1


def test_file_names_tell_when_and_what() -> None:
    for path in Path(ROOT / "migrations" / "versions").glob("*.py"):
        day, time, revision, *_ = path.stem.split("_")
        assert (len(day), len(time)) == (8, 4)
        assert f'revision = "{revision}"' in path.read_text()


def test_the_migrations_lead_to_the_tables_declared(database_url: str) -> None:
    command.check(config(database_url))


def test_down_and_up_again(empty_database_url: str) -> None:
    url = empty_database_url
    command.upgrade(config(url), "head")
    command.downgrade(config(url), "base")
    engine = open_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()
    command.upgrade(config(url), "head")
