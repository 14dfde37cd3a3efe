# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""API tokens (F30): made on the account's page or by command, shown once, kept as a digest, ended at once."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from app.booking import token
from app.cli.commands import leasehold
from app.db.account import Account, LoginAttempt
from app.db.token import ApiToken
from tests.browse import hidden_fields
from tests.web.api import Client
from tests.web.conftest import Site


def made_on_the_page(site: Site, name: str = "anna", **fields: str) -> str:
    page = site.visitor(name).post(
        "/account/tokens", {"name": "laptop", "days": "9"} | fields, page="/account"
    )
    found = re.search(r"<pre><code>(lht_[\w-]{43})</code></pre>", page.text)
    assert found, page.text
    return found[1]


def status(site: Site, secret: str) -> int:
    client = Client(site, None)
    return client.send("GET", "/rolls", headers={"Authorization": f"Bearer {secret}"}).status_code


def test_a_token_is_made_shown_once_used_and_revoked(site: Site):
    secret = made_on_the_page(site)
    assert status(site, secret) == 200
    page = site.visitor("anna").get("/account").text
    assert "laptop" in page
    assert secret not in page
    with site.database.reading() as session:
        row = session.scalars(select(ApiToken)).one()
        assert row.digest == token.digest(secret)
        assert row.last_used_at is not None
    revoked = site.visitor("anna").post(f"/account/tokens/{row.id}/revoke", {}, page="/account")
    assert "Revoked." in revoked.text
    assert status(site, secret) == 401


def test_the_database_does_not_hold_the_token(sqlite_site: Site):
    secret = made_on_the_page(sqlite_site)
    path = str(sqlite_site.database.engine.url.database)
    with sqlite3.connect(path) as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "laptop" in dump
    assert secret not in dump
    assert secret.removeprefix(token.PREFIX) not in dump


def test_a_token_ends_with_its_days_and_with_its_account(site: Site):
    now = datetime.now(UTC)
    old = token.make(site.database, site.accounts["anna"], "old", 1, now=now - timedelta(days=1, seconds=1))
    assert status(site, old) == 401
    live = token.make(site.database, site.accounts["anna"], "live", 1, now=now)
    assert status(site, live) == 200
    with site.database.writing() as session:
        session.get_one(Account, site.accounts["anna"].id).is_active = False
    assert status(site, live) == 401


def test_use_is_noted_at_most_once_an_hour(site: Site):
    now = datetime.now(UTC)
    secret = token.make(site.database, site.accounts["anna"], "t", 1, now=now)

    def used(minutes: int) -> datetime | None:
        moment = now + timedelta(minutes=minutes)
        assert token.holder(site.database, site.settings, secret, "::1", now=moment)
        with site.database.reading() as session:
            return session.scalars(select(ApiToken)).one().last_used_at

    assert [used(0), used(59), used(60)] == [now, now, now + timedelta(minutes=60)]


def test_wrong_tokens_are_throttled_and_right_ones_are_not(site: Site):
    right = made_on_the_page(site)
    tries = site.settings.web.login_tries
    answers = [status(site, f"lht_{number:043}") for number in range(tries + 3)]
    assert answers == [401] * tries + [429] * 3
    assert status(site, right) == 200
    with site.database.reading() as session:
        # What comes after the last try costs no row.
        assert session.scalar(select(func.count()).select_from(LoginAttempt)) == tries


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [({"name": " "}, "name"), ({"name": "x" * 65}, "name"), ({"name": "a\x07"}, "name"), ({"days": "0"}, "days"),
     ({"days": "367"}, "days"), ({"days": "soon"}, "days")],
)  # fmt: skip
def test_a_wrong_field_is_told_and_nothing_typed_is_lost(
    sqlite_site: Site, fields: dict[str, str], wrong: str
):
    typed = {"name": "laptop", "days": "9"} | fields
    page = sqlite_site.visitor("anna").post("/account/tokens", typed, page="/account")
    assert page.status_code == 422
    assert f'<a href="#{wrong}">' in page.text
    assert f'value="{typed["days"]}"' in page.text


def test_nobody_ends_another_s_token(site: Site):
    secret = made_on_the_page(site, "anna")
    with site.database.reading() as session:
        number = session.scalars(select(ApiToken.id)).one()
    ben = site.visitor("ben")
    fields = hidden_fields(ben.get("/account").text, "/account/tokens")
    refused = ben.session.post(f"{site.base}/account/tokens/{number}/revoke", data=fields, timeout=30)
    assert (refused.status_code, status(site, secret)) == (404, 200)


def test_tokens_by_command(sqlite_site: Site, tmp_path: Path):
    config = tmp_path / "leasehold.toml"
    config.write_text(f'database = "{sqlite_site.settings.database}"\n')

    def run(*words: str) -> str:
        done = CliRunner().invoke(leasehold, ["--config", str(config), "account", "token", *words])
        assert done.exit_code == (1 if "nobody" in words else 0), done.output
        return done.output

    secret = run("add", "anna", "cron", "--days", "3").strip()
    assert status(sqlite_site, secret) == 200
    number, name, used, _until = run("list", "anna").strip().split("\t")
    assert (name, used.split()[0]) == ("cron", "used")
    run("revoke", "anna", number)
    assert status(sqlite_site, secret) == 401
    assert "revoked" in run("list", "anna")
    assert "no account 'nobody'" in run("add", "nobody", "x")
