# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What load balancers ask, and what people see when the database is away or something of ours breaks (F14, F16)."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text as sql

from app import create_app
from app.db.pass_run import PASSES
from app.db.revision import VERSIONS, newest_revision
from app.domain.errors import SiteError
from app.settings import Settings, Web
from app.web import home
from tests.browse import Visitor
from tests.factories import make_run
from tests.web.conftest import Site, served, settings_for


def test_a_site_at_this_releases_schema_whose_passes_run_is_ready(site: Site):
    make_run(site.database, *PASSES)
    visitor = Visitor(site.base)
    assert (visitor.get("/healthz").status_code, visitor.get("/healthz").text) == (200, "ok\n")
    assert (visitor.get("/readyz").status_code, visitor.get("/readyz").text) == (200, "ready\n")


def test_the_newest_revision_is_the_one_alembic_knows():
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    assert [newest_revision()] == list(ScriptDirectory.from_config(config).get_heads())


def test_another_schema_is_not_ready_and_the_answer_says_what_to_run(site: Site):
    with site.database.writing() as session:
        session.execute(sql("UPDATE alembic_version SET version_num = 'abcdef'"))
    answer = Visitor(site.base).get("/readyz")
    assert answer.status_code == 503
    assert (
        f"The schema is at abcdef, this release needs {newest_revision()}: leasehold db upgrade"
        in answer.text
    )


def test_passes_that_do_not_run_are_named_and_the_site_is_not_ready(site: Site):
    visitor = Visitor(site.base)
    assert visitor.get("/readyz").status_code == 503
    make_run(site.database, *PASSES)
    make_run(site.database, "storage", ago_s=181)
    make_run(site.database, "image", ago_s=170)
    answer = visitor.get("/readyz")
    assert answer.status_code == 503
    assert "Passes do not run: storage (last 3 min ago)." in answer.text
    assert "cron" in answer.text
    assert visitor.get("/healthz").status_code == 200, "the pages themselves are well"


def test_an_empty_database_is_not_ready(empty_database_url: str, tmp_path: Path):
    app = create_app(settings_for(empty_database_url, tmp_path))
    with served(app) as base:
        answer = Visitor(base).get("/readyz")
    app.extensions["leasehold"].database.close()
    assert answer.status_code == 503
    assert "leasehold db upgrade" in answer.text


@pytest.mark.parametrize(
    "away",
    ["sqlite:////nonexistent/folder/leasehold.db", "postgresql+psycopg://leasehold@127.0.0.1:9/leasehold"],
)
def test_while_the_database_is_away_pages_say_so_and_the_process_lives(sqlite_site: Site, away: str):
    visitor = sqlite_site.visitor("anna")
    app = create_app(replace(sqlite_site.settings, database=away))
    with served(app) as base:
        elsewhere = Visitor(base)
        elsewhere.session.cookies.update(visitor.session.cookies)
        page = elsewhere.get("/reservations")
        assert page.status_code == 503
        assert page.headers["Retry-After"] == "10"
        assert "The database does not answer. Nothing was lost" in page.text
        assert elsewhere.get("/readyz").status_code == 503
        assert elsewhere.get("/healthz").status_code == 200
        assert "127.0.0.1:9" not in page.text
        assert "/nonexistent" not in page.text
    app.extensions["leasehold"].database.close()


def test_an_error_of_ours_shows_a_number_that_is_in_the_log(
    sqlite_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    visitor = sqlite_site.visitor("anna")
    # A page that really breaks: its query is not callable.
    monkeypatch.setattr(home, "MOST_CARDS", "twelve")
    with caplog.at_level(logging.ERROR):
        answer = visitor.get("/")
    assert answer.status_code == 500
    number = answer.headers["X-Request-ID"]
    assert f"<code>{number}</code>" in answer.text
    assert any(number in record.getMessage() and record.exc_info for record in caplog.records)
    assert "twelve" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/no/such/page", 404, "mistyped"),
        ("GET", "/reservations/99999999999999999999", 404, "mistyped"),
        ("GET", "/reservations/-1", 404, "mistyped"),
        ("GET", "/logout", 405, "use the button on the page"),
        ("GET", "/static/../wsgi.py", 404, "mistyped"),
        ("GET", "/static/%2e%2e/__init__.py", 404, "mistyped"),
        ("GET", "/a%00b", 404, "mistyped"),
        ("GET", "/%0a%0dX-Evil: 1", 404, "mistyped"),
    ],
)
def test_what_does_not_exist_is_answered_in_words(
    sqlite_site: Site, method: str, path: str, status: int, words: str
):
    answer = sqlite_site.visitor("anna").session.request(method, sqlite_site.base + path, timeout=10)
    assert answer.status_code == status
    assert words in answer.text
    assert "X-Evil" not in answer.headers


def test_the_security_headers_are_on_every_answer(sqlite_site: Site):
    visitor = Visitor(sqlite_site.base)
    for path in ("/login", "/healthz", "/nothing", "/static/leasehold.css"):
        headers = visitor.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "style-src": "'self'",
            "script-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert len(headers["X-Request-ID"]) == 12
        assert "Strict-Transport-Security" not in headers, "not over plain HTTP"
    assert visitor.get("/login").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [(None, 0o600, "leasehold init"), ("short", 0o600, "too short"), ("x" * 64, 0o644, "open to everyone")],
)
def test_a_key_that_protects_nothing_stops_the_start(
    tmp_path: Path, content: str | None, mode: int, words: str
):
    key = tmp_path / "web.key"
    if content is not None:
        key.write_text(content)
        key.chmod(mode)
    with pytest.raises(SiteError, match=words):
        create_app(Settings(database="sqlite://", web=Web(secret_key_file=str(key))))
