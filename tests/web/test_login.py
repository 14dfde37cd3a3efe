# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Logging in and out, and what a session is worth to someone else (F28, F29)."""

from __future__ import annotations

import pytest

from app import create_app
from app.db.account import Account
from app.web.login import safe_next
from tests.browse import Visitor, hidden_fields
from tests.factories import PASSWORD
from tests.web.conftest import Site, served, with_web


def test_the_right_password_leads_home(site: Site):
    answer = Visitor(site.base).log_in("anna")
    assert (answer.status_code, answer.url) == (200, f"{site.base}/")
    assert "What needs you" in answer.text


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("anna", "wrong password"),
        ("nobody-here", PASSWORD),
        ("", ""),
        ("anna\x00", PASSWORD),
        ("anna\n", PASSWORD),
        ("a" * 5000, "p" * 5000),
        ("' OR 1=1 --", "💥"),
    ],
)
def test_every_wrong_login_gets_the_same_answer(site: Site, name: str, password: str):
    answer = Visitor(site.base).log_in(name, password)
    assert answer.status_code == 422
    assert "The name or the password is wrong." in answer.text
    assert password not in answer.text or not password


def test_an_account_that_was_switched_off_cannot_log_in(site: Site):
    with site.database.writing() as session:
        session.get_one(Account, site.accounts["anna"].id).is_active = False
    assert Visitor(site.base).log_in("anna").status_code == 422


def test_after_ten_failures_even_the_right_password_has_to_wait(site: Site):
    visitor = Visitor(site.base)
    answers = [visitor.log_in("anna", f"wrong {i}").status_code for i in range(10)]
    assert answers == [422] * 10
    throttled = visitor.log_in("anna")
    assert throttled.status_code == 429
    assert throttled.headers["Retry-After"] == "60"
    assert "Wait 60 seconds" in throttled.text
    assert Visitor(site.base).log_in("ben").status_code == 200, "only that account is slowed down"


def test_the_cookie_cannot_be_read_by_scripts_or_sent_from_elsewhere(sqlite_site: Site):
    cookie = Visitor(sqlite_site.base).get("/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie


def test_behind_tls_the_cookie_is_secure_and_bound_to_this_host(sqlite_site: Site):
    app = create_app(with_web(sqlite_site.settings, secure_cookies=True))
    with served(app) as base:
        answer = Visitor(base).get("/login")
    app.extensions["leasehold"].database.close()
    assert answer.headers["Set-Cookie"].startswith("__Host-leasehold=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert "max-age=" in answer.headers["Strict-Transport-Security"]


def test_a_session_that_was_planted_before_the_login_is_worth_nothing_after_it(sqlite_site: Site):
    planted = Visitor(sqlite_site.base)
    token = hidden_fields(planted.get("/login").text, "/login")["csrf_token"]
    cookie = planted.session.cookies["leasehold"]
    victim = Visitor(sqlite_site.base)
    victim.session.cookies.update(planted.session.cookies)
    victim.log_in("anna")
    assert victim.session.cookies["leasehold"] != cookie
    refused = victim.session.post(f"{sqlite_site.base}/logout", data={"csrf_token": token}, timeout=10)
    assert refused.status_code == 400, "the token of the planted session is not the new session's"
    assert planted.get("/reservations").url.startswith(f"{sqlite_site.base}/login")


def test_a_copied_cookie_is_worth_nothing_after_the_logout(site: Site):
    visitor = site.visitor("anna")
    thief = Visitor(site.base)
    thief.session.cookies.update(visitor.session.cookies)
    assert thief.get("/reservations").url == f"{site.base}/reservations"
    answer = visitor.post("/logout", {}, page="/")
    assert answer.url == f"{site.base}/login"
    assert thief.get("/reservations").url.startswith(f"{site.base}/login")


def test_a_form_without_its_token_changes_nothing(sqlite_site: Site):
    visitor = sqlite_site.visitor("anna")
    answer = visitor.session.post(f"{sqlite_site.base}/logout", timeout=10)
    assert answer.status_code == 400
    assert "another session" in answer.text
    assert visitor.get("/reservations").url == f"{sqlite_site.base}/reservations", "still logged in"


def test_a_page_that_needs_a_login_is_opened_after_it(sqlite_site: Site):
    visitor = Visitor(sqlite_site.base)
    at_login = visitor.get("/reservations?state=all")
    assert at_login.url.startswith(f"{sqlite_site.base}/login?next=")
    path = at_login.url.removeprefix(sqlite_site.base)
    answer = visitor.post(path, {"name": "anna", "password": PASSWORD})
    assert answer.url == f"{sqlite_site.base}/reservations?state=all"


@pytest.mark.parametrize("path", ["/reservations", "/reservations/7?x=1", "/"])
def test_login_leads_on_to_a_path_of_this_site(sqlite_site: Site, path: str):
    with sqlite_site.app.test_request_context():
        assert safe_next(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        None,
        "",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "reservations",
        "http:/evil.example",
    ],
)
def test_login_never_leads_elsewhere(sqlite_site: Site, elsewhere: str | None):
    with sqlite_site.app.test_request_context():
        assert safe_next(elsewhere) == "/"


def test_a_polled_block_is_sent_to_the_login_when_the_session_is_over(sqlite_site: Site):
    answer = Visitor(sqlite_site.base).get("/reservations/1/live", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/login")
