# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What cron starts: the sign of life of an idle pass, and what it says when the database or we are to blame."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.booking import decide
from app.db import pass_run
from app.db.base import Database
from app.db.look import Look
from app.db.pass_run import PASSES, PassRun
from app.db.reservation import Reservation
from app.db.revision import newest_revision
from app.settings import Settings
from tests.factories import book, make_account, make_site
from workers.engine import watch
from workers.engine.advance import lead_of
from workers.plan import timing

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def configured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passes of this test work on its database."""
    monkeypatch.delenv("LEASEHOLD_CONFIG", raising=False)
    if "database_url" in request.fixturenames:
        monkeypatch.setenv("LEASEHOLD__DATABASE", request.getfixturevalue("database_url"))


def runs(database: Database) -> dict[str, PassRun]:
    with database.reading() as session:
        return {run.pass_name: run for run in pass_run.latest(session)}


@pytest.mark.parametrize("name", PASSES)
def test_an_idle_pass_leaves_a_sign_of_life_in_place_of_the_one_before(database: Database, name: str) -> None:
    before = datetime.now(UTC)
    assert watch.main(name, ["--once"]) == 0
    (first,) = runs(database).values()
    assert (first.pass_name, first.worked, first.failed) == (name, 0, 0)
    assert before <= first.started_at <= first.finished_at <= datetime.now(UTC)
    assert watch.main(name, ["--for", "0.3s"]) == 0
    (second,) = runs(database).values()
    assert second.started_at > first.finished_at
    assert second.finished_at - second.started_at >= timedelta(seconds=0.3)
    assert name not in pass_run.overdue([second], second.finished_at + timedelta(seconds=170))
    assert pass_run.overdue([second], second.finished_at + timedelta(seconds=190))[name] == second.finished_at


def test_a_sign_of_life_tells_what_was_done(database: Database, database_url: str) -> None:
    started = datetime.now(UTC) - timedelta(seconds=55)
    with Look(database_url) as look:
        look.note_run("network", started, 5, 1)
    found = runs(database)["network"]
    assert (found.started_at, found.worked, found.failed) == (started, 5, 1)


def test_building_begins_as_early_as_past_builds_took_long(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "site.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    monkeypatch.setenv("LEASEHOLD__SITE_KEY_FILE", str(key))
    monkeypatch.setenv("LEASEHOLD__ROLLS_DIR", str(Path(__file__).parents[1] / "data" / "rolls-tiny"))
    now = datetime.now(UTC)
    make_site(database)
    alice, carol = make_account(database), make_account(database, "carol", "cluster_provider")
    start = now + timedelta(minutes=50)
    booked = book(database, alice, now=now, start=start, end=start + timedelta(hours=1))
    decide.approve(database, Settings(), carol, booked, 1, now=now)
    schedule()
    with database.writing() as session:
        row = session.get_one(Reservation, booked)
        assert row.state == "approved", "ten minutes are the configured lead"
        for number in range(timing.ENOUGH):
            past = replaced(row, name=f"past-{number}", state="ended", building_at=now - 2 * HOUR)
            session.add(Reservation(**past, ready_at=now - HOUR))
    schedule()
    with database.reading() as session:
        assert session.get_one(Reservation, booked).state == "building"
        assert lead_of(session, Settings()) == HOUR


def schedule() -> None:
    """Run the schedule pass, as cron does."""
    subprocess.run([sys.executable, "-m", "workers.schedule", "--once"], check=True, timeout=60)


def replaced(row: Reservation, **over: Any) -> dict[str, Any]:
    """The columns of a reservation, some of them otherwise, without its id."""
    columns = {column.key: getattr(row, column.key) for column in Reservation.__table__.columns}
    return {key: value for key, value in (columns | over).items() if key not in ("id", "ready_at")}


def test_an_idle_pass_loads_neither_sqlalchemy_nor_paramiko(database_url: str) -> None:
    code = (
        "import sys; from workers.engine import watch; status = watch.main('network', ['--once']);"
        " print(status, sorted({'sqlalchemy', 'paramiko', 'flask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0 []\n", done.stderr


def test_another_schema_is_refused_before_anything_is_written(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'abcdef'"))
    assert watch.main("schedule", ["--once"]) == 1
    said = capsys.readouterr().err
    assert f"The schema is at abcdef, this release needs {newest_revision()}: leasehold db upgrade" in said
    assert runs(database) == {}


def test_a_database_without_tables_is_told_as_that(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEASEHOLD__DATABASE", empty_database_url)
    assert watch.main("schedule", ["--once"]) == 1
    assert "The database has no tables yet: leasehold db upgrade" in capsys.readouterr().err


@pytest.mark.parametrize(
    "away",
    ["sqlite:////nonexistent/folder/leasehold.db", "postgresql+psycopg://leasehold@127.0.0.1:9/leasehold"],
)
def test_a_database_that_is_away_is_tried_again(
    away: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEASEHOLD__DATABASE", away)
    assert watch.main("schedule", ["--once"]) == watch.EX_TEMPFAIL
    assert "the database cannot be used" in capsys.readouterr().err


def test_a_query_that_is_wrong_is_our_mistake_with_its_traceback(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("ALTER TABLE resource RENAME COLUMN retry_at TO again_at"))
    with pytest.raises(Exception, match="retry_at"):
        watch.main("network", ["--once"])
