# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may open what: every route against every role (R1, F31). A new route without an entry here fails."""

from __future__ import annotations

import re

import pytest

from app.web.urls import BY_ENDPOINT
from tests.browse import Visitor
from tests.factories import book_now
from tests.web.conftest import Site

# What each visitor gets: the owner, another service provider, a cluster provider, an operator, nobody.
# `login` is the way to the login page; a POST is sent with a good token and no fields.
WHO = ("anna", "ben", "carla", "otto", None)
EXPECTED: dict[str, dict[str, tuple[int | str, ...]]] = {
    "home.show": {"GET": (200, 200, 200, 200, "login")},
    "login.enter": {"GET": (200, 200, 200, 200, 200), "POST": (422, 422, 422, 422, 422)},
    "login.leave": {"POST": (303, 303, 303, 303, 303)},
    "account.show": {"GET": (200, 200, 200, 200, "login")},
    "account.make_token": {"POST": (422, 422, 422, 422, "login")},
    "account.revoke_token": {"POST": (404, 404, 404, 404, "login")},
    "usage.show": {"GET": (200, 200, 200, 403, "login")},
    "usage.as_csv": {"GET": (200, 200, 200, 403, "login")},
    "usage.as_json": {"GET": (200, 200, 200, 403, "login")},
    "reservation.listing": {"GET": (200, 200, 200, 403, "login")},
    "availability.ask": {"GET": (200, 200, 200, 403, "login")},
    "new.ask": {"GET": (200, 200, 200, 403, "login"), "POST": (422, 422, 422, 403, "login")},
    "reservation.detail": {"GET": (200, 404, 200, 403, "login")},
    "reservation.live": {"GET": (200, 404, 200, 403, "login")},
    "reservation.history": {"GET": (200, 404, 200, 403, "login")},
    "reservation.steps_csv": {"GET": (200, 404, 200, 403, "login")},
    "reservation.cancel": {"GET": (200, 404, 200, 403, "login"), "POST": (422, 404, 422, 403, "login")},
    "resize.ask": {"GET": (200, 404, 200, 403, "login"), "POST": (422, 404, 422, 403, "login")},
    "suspend.suspend": {"GET": (200, 404, 200, 403, "login"), "POST": (409, 404, 409, 403, "login")},
    "suspend.resume": {"GET": (200, 404, 200, 403, "login"), "POST": (409, 404, 409, 403, "login")},
    "save.keep": {"GET": (200, 404, 200, 403, "login"), "POST": (409, 404, 409, 403, "login")},
    "save.restore": {"GET": (200, 404, 200, 403, "login"), "POST": (422, 404, 422, 403, "login")},
    "change.end": {"GET": (200, 404, 200, 403, "login"), "POST": (409, 404, 409, 403, "login")},
    "change.owner": {"GET": (200, 404, 200, 403, "login"), "POST": (409, 404, 409, 403, "login")},
    "change.note": {"POST": (422, 404, 422, 403, "login")},
    "offer.ask": {"GET": (403, 403, 200, 403, "login"), "POST": (403, 403, 409, 403, "login")},
    "offer.accept": {"POST": (409, 404, 409, 403, "login")},
    "offer.decline": {"POST": (409, 404, 409, 403, "login")},
    "series.show": {"GET": (404, 404, 404, 403, "login")},
    "series.cancel": {"POST": (404, 404, 404, 403, "login")},
    "approval.queue": {"GET": (403, 403, 200, 403, "login")},
    "approval.approve": {"POST": (403, 403, 409, 403, "login")},
    "approval.reject": {"POST": (403, 403, 422, 403, "login")},
    "hosts.listing": {"GET": (403, 403, 200, 200, "login")},
    "maintenance.listing": {"GET": (403, 403, 200, 200, "login")},
    "maintenance.enter": {"POST": (403, 403, 422, 422, "login")},
    "maintenance.cancel": {"POST": (403, 403, 404, 404, "login")},
    "maintenance.describe": {"GET": (403, 403, 200, 200, "login"), "POST": (403, 403, 303, 303, "login")},
    "hosts.volumes": {"GET": (403, 403, 200, 200, "login")},
    "hosts.workers": {"GET": (403, 403, 200, 200, "login")},
    "health.alive": {"GET": (200, 200, 200, 200, 200)},
    # No pass has run at this site.
    "health.ready": {"GET": (503, 503, 503, 503, 503)},
}


def test_every_route_of_every_role_answers_as_expected(site: Site):
    owned = book_now(site.database, site.accounts["anna"])
    found = {rule.endpoint: rule for rule in site.app.url_map.iter_rules() if rule.endpoint != "static"}
    assert set(found) == set(EXPECTED), "a route without a line in EXPECTED, or a line without its route"
    visitors = [site.visitor(name) if name else Visitor(site.base) for name in WHO]
    got: dict[str, dict[str, tuple[int | str, ...]]] = {}
    # Logging out comes last: it ends the sessions of the visitors.
    for endpoint, rule in sorted(found.items(), key=lambda item: item[0] == "login.leave"):
        path = rule.rule.replace("<int(max=2147483647):host_id>", str(site.hosts["c1"].id))
        path = re.sub("<int.*?>", str(owned), path)
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        got[endpoint] = {
            method: tuple(_answer(site, visitor, method, path) for visitor in visitors) for method in methods
        }
    assert got == EXPECTED


def _answer(site: Site, visitor: Visitor, method: str, path: str) -> int | str:
    if method == "GET":
        answer = visitor.get(path, allow_redirects=False)
    else:
        # Every page holds a form with the session's token: the one for logging out, or for logging in.
        page = visitor.get("/login").text
        token = page.split('name="csrf_token"')[1].split('value="')[1].split('"')[0]
        answer = visitor.session.post(
            site.base + path, data={"csrf_token": token}, timeout=10, allow_redirects=False
        )
    if answer.status_code == 303 and answer.headers["Location"].startswith("/login") and path != "/logout":
        return "login"
    return answer.status_code


@pytest.mark.parametrize("name", ["ben", "otto"])
def test_others_learn_nothing_of_a_reservation(site: Site, name: str):
    owned = book_now(site.database, site.accounts["anna"], name="annas-secret")
    visitor = site.visitor(name)
    for path in ("/", "/reservations?state=all", f"/reservations/{owned}", f"/reservations/{owned}/live"):
        assert "annas-secret" not in visitor.get(path).text


def test_foreign_and_absent_reservations_look_the_same(site: Site):
    owned = book_now(site.database, site.accounts["anna"])
    visitor = site.visitor("ben")

    def page(number: int) -> tuple[int, str]:
        answer = visitor.get(f"/reservations/{number}")
        # The mark against forgery is signed with the second it was made in.
        text = re.sub('(name="csrf_token"[^>]* value=")[^"]+', r"\1", answer.text)
        return answer.status_code, text.replace(answer.headers["X-Request-ID"], "")

    assert page(owned) == page(owned + 1000)


def test_a_refusal_says_which_role_is_needed(sqlite_site: Site):
    answer = sqlite_site.visitor("anna").get("/admin/hosts")
    assert answer.status_code == 403
    assert "cluster provider or operator" in answer.text
    assert "your role is service provider" in answer.text


def test_a_decision_needs_the_role_whatever_the_form_says(site: Site):
    owned = book_now(site.database, site.accounts["anna"])
    visitor = site.visitor("anna")
    token = visitor.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
    data = {"csrf_token": token, "version": "1", "role": "cluster_provider"}
    answer = visitor.session.post(f"{site.base}/admin/approvals/{owned}/approve", data=data, timeout=10)
    assert answer.status_code == 403
    assert "Waiting for approval" in visitor.get(f"/reservations/{owned}").text


def test_every_page_of_the_table_is_served(sqlite_site: Site):
    assert {rule.endpoint for rule in sqlite_site.app.url_map.iter_rules()} == {*BY_ENDPOINT, "static"}
