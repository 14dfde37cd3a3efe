# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Changing a reservation by its pages: the end, the owner, notes; and what one gets who saw an older version."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest

from app.db.reservation import Reservation
from tests.browse import hidden_fields
from tests.factories import book_now
from tests.web.api import Client
from tests.web.conftest import Site
from tests.web.test_reservation import text

HOUR = timedelta(hours=1)


def row(site: Site, number: int) -> Reservation:
    with site.database.reading() as session:
        return session.get_one(Reservation, number)


def exactly(moment: object) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_the_latest_possible_end_is_shown_with_who_comes_next_and_taken_with_one_click(site: Site):
    number = book_now(site.database, site.accounts["anna"], memory_mib=16_000)
    end = row(site, number).end_at
    following = {"start": end + 3 * HOUR, "end": end + 4 * HOUR, "memory_mib": 16_000}
    book_now(site.database, site.accounts["ben"], name="bens-secret", **following)
    path = f"/reservations/{number}/end"
    page = site.visitor("anna").get(path).text
    assert "another project until" in text(page)
    assert "bens-secret" not in page
    assert "bens-secret" in site.visitor("carla").get(path).text
    # The second form of the page, as it stands: all its fields are hidden.
    fields = dict(
        re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.split('action="' + path)[-1])
    )
    answer = site.visitor("anna").session.post(site.base + path, data=fields, timeout=30)
    assert answer.url == f"{site.base}/reservations/{number}"
    assert row(site, number).end_at == (end + 3 * HOUR).replace(microsecond=0)


def test_an_end_too_late_is_refused_with_who_is_in_the_way_and_stays_typed(site: Site):
    number = book_now(site.database, site.accounts["anna"], memory_mib=16_000)
    end = row(site, number).end_at
    following = {"start": end + HOUR, "end": end + 2 * HOUR, "memory_mib": 16_000}
    book_now(site.database, site.accounts["ben"], **following)
    late = exactly(end + 2 * HOUR)
    answer = site.visitor("anna").post(f"/reservations/{number}/end", {"end": late})
    assert answer.status_code == 409
    assert "It cannot last that long" in answer.text
    assert "In the way: another project until" in text(answer.text)
    assert f'value="{late}"' in answer.text
    told = Client(site, "anna").send(
        "PUT", f"/reservations/{number}/end", {"end": late}, headers={"If-Match": '"1"'}
    )
    assert told.status_code == 409
    assert [(one["what"], one["name"]) for one in told.json()["in_the_way"]] == [("another project", None)]
    assert row(site, number).version == 1


@pytest.mark.parametrize(
    "end", ["", "soon", "2000-01-01T00:00", "NaN", "9999-12-31T23:59", "2027-02-30T00:00"]
)
def test_an_end_that_is_none_changes_nothing_and_stays_typed(sqlite_site: Site, end: str):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    answer = sqlite_site.visitor("anna").post(f"/reservations/{number}/end", {"end": end})
    assert answer.status_code in (409, 422)
    assert f'value="{end}"' in answer.text
    assert row(sqlite_site, number).version == 1


def test_who_saw_an_older_version_is_shown_the_difference_and_goes_on_with_one_click(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    anna, carla = site.visitor("anna"), site.visitor("carla")
    path = f"/admin/approvals/{number}/reject"
    seen = hidden_fields(carla.get("/admin/approvals").text, path)
    shorter = row(site, number).end_at - HOUR
    assert anna.post(f"/reservations/{number}/end", {"end": exactly(shorter)}).ok
    data = seen | {"reason": "Too <long> for us"}
    answer = carla.session.post(site.base + path, data=data, timeout=30)
    assert answer.status_code == 409
    assert re.search(r"anna changed the end from \w{3} .* UTC to \w{3} .* UTC (now|\d+ s ago)\.", answer.text)
    assert 'value="Too &lt;long&gt; for us"' in answer.text
    # What the page holds now is sent as it stands.
    again = hidden_fields(answer.text, path) | {"reason": data["reason"]}
    assert carla.session.post(site.base + path, data=again, timeout=30).ok
    assert (row(site, number).state, row(site, number).reason) == ("rejected", "Too <long> for us")


def test_an_end_set_on_an_older_version_is_refused_with_the_difference(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    path = f"/reservations/{number}/end"
    end = row(site, number).end_at
    anna = site.visitor("anna")
    seen = hidden_fields(anna.get(path).text, path)
    assert site.visitor("carla").post(path, {"end": exactly(end + HOUR)}).ok
    wanted = exactly(end - HOUR)
    answer = anna.session.post(site.base + path, data=seen | {"end": wanted}, timeout=30)
    assert answer.status_code == 409
    assert "carla changed the end from" in text(answer.text)
    assert f'value="{wanted}"' in answer.text
    again = hidden_fields(answer.text, path) | {"end": wanted}
    assert anna.session.post(site.base + path, data=again, timeout=30).ok
    assert row(site, number).version == 3


def test_a_reservation_is_given_away_and_gone_for_the_giver(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    path = f"/reservations/{number}/owner"
    refused = site.visitor("anna").post(path, {"owner": "nobody<b>"})
    assert refused.status_code == 422
    assert 'value="nobody&lt;b&gt;"' in refused.text
    answer = site.visitor("anna").post(path, {"owner": "ben"})
    assert answer.url == f"{site.base}/reservations"
    assert "vc-42 belongs to ben now." in answer.text
    assert site.visitor("anna").get(f"/reservations/{number}").status_code == 404
    assert "anna gave it to ben." in site.visitor("ben").get(f"/reservations/{number}/history").text


def test_notes_of_both_sides_are_on_the_page_and_in_the_history(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    page = f"/reservations/{number}"
    for name, note in [("anna", "Is c1 quiet enough?"), ("carla", "It is <quiet>.\nFrom noon on.")]:
        assert site.visitor(name).post(f"{page}/note", {"note": note}, page=page).ok
        assert html.escape(note) in site.visitor("anna").get(page).text
    told = text(site.visitor("carla").get(f"{page}/history").text)
    assert "anna Is c1 quiet enough?" in told


@pytest.mark.parametrize("note", ["", "  \n ", "x" * 2001, "a\x00b"])
def test_a_note_that_cannot_be_kept_is_refused_and_not_lost(sqlite_site: Site, note: str):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    page = f"/reservations/{number}"
    answer = sqlite_site.visitor("anna").post(f"{page}/note", {"note": note}, page=page)
    assert answer.status_code == 422
    assert "A note is text of 1 to 2,000 characters." in answer.text
    if note.isprintable():
        assert f">\n{note}</textarea>" in answer.text
