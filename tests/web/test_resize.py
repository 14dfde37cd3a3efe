# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""More nodes and fewer by the page: what comes and goes is shown before anything happens."""

from __future__ import annotations

import pytest

from app.booking import decide, project
from app.db.reservation import Reservation
from app.settings import Settings
from tests.browse import hidden_fields
from tests.factories import NOW, book_now
from tests.web.conftest import Site
from tests.web.test_reservation import text


def names(site: Site, number: int) -> list[str]:
    with site.database.reading() as session:
        return [node.name for node in session.get_one(Reservation, number).nodes]


def test_what_comes_is_listed_and_comes_when_it_is_confirmed(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    anna, path = site.visitor("anna"), f"/reservations/{number}/resize"
    assert path in anna.get(f"/reservations/{number}").text
    shown = anna.post(path, {"count_node": "4"})
    assert "node3, node4 (node)" in text(shown.text)
    assert names(site, number) == ["frontend", "node1", "node2"], "nothing happens before it is confirmed"
    fields = hidden_fields(shown.text, path)
    answer = anna.session.post(site.base + path, data=fields | {"confirmed": "yes"}, timeout=30)
    assert answer.url == f"{site.base}/reservations/{number}"
    assert names(site, number) == ["frontend", *(f"node{i}" for i in range(1, 5))]


def test_exactly_what_goes_is_listed(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    shown = site.visitor("anna").post(f"/reservations/{number}/resize", {"count_node": "1", "leave": "node1"})
    page = text(shown.text)
    assert "node1 on" in page
    assert "4 GiB on st1" in page
    assert "node2 on" not in page


def test_more_nodes_than_the_project_may_have_are_told_at_their_field(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    project.set_ceilings(sqlite_site.database, "anna", {"nodes": 3}, by="test", now=NOW)
    path = f"/reservations/{number}/resize"
    answer = sqlite_site.visitor("anna").post(path, {"count_node": "4", "confirmed": "yes"})
    assert answer.status_code == 422
    assert '<a href="#count_node">Your project may have 3 compute nodes at once' in answer.text
    assert 'id="count_node-error"' in answer.text
    assert len(names(sqlite_site, number)) == 3


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Give a number"),
        ("NaN", "whole number"),
        ("-1", "whole number"),
        ("0", "at least 1"),
        ("2", "as many"),
    ],
)
def test_a_number_that_is_none_is_told_at_its_field_and_stays_typed(sqlite_site: Site, typed: str, said: str):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    answer = sqlite_site.visitor("anna").post(f"/reservations/{number}/resize", {"count_node": typed})
    assert answer.status_code == 422
    assert said in answer.text
    assert f'name="count_node" inputmode="numeric" value="{typed}"' in answer.text


def test_no_room_and_an_older_version_change_nothing(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    anna, path = site.visitor("anna"), f"/reservations/{number}/resize"
    answer = anna.post(path, {"count_node": "500", "confirmed": "yes"})
    assert answer.status_code == 409
    assert "There is room for" in answer.text
    assert 'value="500"' in answer.text
    answer = anna.post(path, {"count_node": "1", "confirmed": "yes", "version": "9"})
    assert answer.status_code == 409
    assert names(site, number) == ["frontend", "node1", "node2"]


def test_who_may_not_is_told(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    path = f"/reservations/{number}/resize"
    assert site.visitor("ben").get(path).status_code == 404
    decide.approve(site.database, Settings(), site.accounts["carla"], number, 1, now=NOW)
    answer = site.visitor("anna").post(path, {"count_node": "3", "confirmed": "yes"})
    assert answer.status_code == 403
