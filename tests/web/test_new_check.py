# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Asking by the form whether a cluster fits, with nothing booked and nothing held."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from app.booking import project
from app.db.event import Event
from tests.browse import form_fields
from tests.factories import NOW, book_now
from tests.web.conftest import Site
from tests.web.test_availability import offered_forms
from tests.web.test_new import count, errors
from tests.web.test_new_groups import BIG, NEW, opened, send
from tests.web.test_queries import counted
from tests.web.test_reservation import text
from tests.web.test_series import weekly


def check(site: Site, by: str = "anna", /, **over: Any) -> requests.Response:
    """Press the button, and hold that nothing came of it and nothing typed was lost."""
    before, events, fields = count(site), events_of(site), opened(site, by, **over)
    with counted(site) as sent:
        answer = send(site, by, fields | {"do": "check"})
    assert not [one for one in sent if not one.lstrip().startswith(("SELECT", "WITH", "PRAGMA", "SAVEPOINT"))]
    assert (count(site), events_of(site)) == (before, events)
    shown = form_fields(answer.text, NEW)
    for field in ("name", "end", "groups-0-node_count", "groups-0-memory_mib", "users", "note", "token"):
        kept = fields[field] if isinstance(fields[field], list) else [fields[field]]
        assert shown[field] == kept
    return answer


def events_of(site: Site) -> int:
    with site.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


def lines(page: str) -> dict[str, tuple[str, str, str]]:
    """The ceilings: what -> now, with this, at most."""
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', page, re.S)
    cells = {
        what: [text(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)] for what, row in rows
    }
    return {what: (now, then, most) for what, (now, then, most) in cells.items()}


def test_what_fits_is_said_before_there_is_a_name_or_a_user(site: Site):
    answer = check(site, name="", users="", note="x" * 3000)
    assert answer.status_code == 200
    assert errors(answer.text) == {}
    assert "It fits as things stand now: 2 nodes from" in text(answer.text)
    assert "Nothing is booked or held yet." in answer.text
    assert "What your project may have" not in answer.text


def test_what_was_said_to_fit_can_be_booked_from_the_same_page(site: Site):
    shown = form_fields(check(site, **BIG).text, NEW)
    assert re.fullmatch(rf"{site.base}/reservations/\d+", send(site, "anna", shown | {"do": "ask"}).url)


def test_what_does_not_fit_is_said_with_who_is_in_the_way_and_what_would(site: Site):
    book_now(site.database, site.accounts["ben"], memory_mib=16_000)
    answer = check(site, memory_mib="16000")
    assert answer.status_code == 200
    assert "There is no room for this in that slot" in answer.text
    assert "another project until" in answer.text
    assert "It fits" not in answer.text
    later = offered_forms(answer.text)["Later"]
    assert re.fullmatch(rf"{site.base}/reservations/\d+", send(site, "anna", later).url)


def test_fewer_than_asked_for_are_told(site: Site):
    answer = check(site, node_count="5", least="1", memory_mib="16000")
    assert "It fits as things stand now: 2 nodes" in text(answer.text)
    assert "fewer than the 5 asked for" in answer.text


def test_the_ceilings_are_told_now_with_this_and_at_most(site: Site):
    project.set_ceilings(
        site.database, "anna", {"nodes": 4, "node_hours": 100, "reservations": 2}, by="test", now=NOW
    )
    book_now(site.database, site.accounts["anna"], node_count=1)
    fits = lines(check(site).text)
    assert fits["Compute nodes at once"] == ("1", "3", "4")
    assert fits["Reservations not over"] == ("1", "2", "2")
    held, projected, ceiling = (float(one) for one in fits["Node-hours ahead"])
    assert 1.9 <= held <= 2.0
    assert 5.9 <= projected <= 6.0
    assert ceiling == 100
    answer = check(site, node_count="4")
    assert answer.status_code == 422
    assert "3 are left" in errors(answer.text)["groups-0-node_count"]
    assert lines(answer.text)["Compute nodes at once"] == ("1", "5 ! too much", "4")
    assert "It fits" not in answer.text
    assert lines(check(site, "carla").text) == {}


def test_with_a_least_no_more_is_promised_than_the_project_may_have(site: Site):
    project.set_ceilings(site.database, "anna", {"nodes": 3}, by="test", now=NOW)
    answer = check(site, node_count="9", least="2")
    assert "It fits as things stand now: 3 nodes" in text(answer.text)
    assert lines(answer.text)["Compute nodes at once"] == ("0", "3", "3")


@pytest.mark.parametrize(
    "over",
    [
        {"end": "tomorrow"},
        {"start": "2020-01-01T00:00"},
        {"node_count": "1e9"},
        {"memory_mib": ""},
        {"tags": "GPU!"},
        {"home_gib": "0"},
        {"every": "x", "times": "3"},
        {"every": "1", "times": "500"},
    ],
)
def test_when_and_how_large_must_be_sound_for_it(sqlite_site: Site, over: dict[str, str]):
    answer = check(sqlite_site, **over, users="alice")
    assert answer.status_code == 422
    (field,) = errors(answer.text)
    assert field.removeprefix("groups-0-") in over


def test_of_a_series_every_slot_is_looked_at(site: Site):
    start = (datetime.now(UTC) + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    second = {"start": start + timedelta(days=7), "end": start + timedelta(days=7, hours=1)}
    project.set_ceilings(site.database, "anna", {"node_hours": 12, "reservations": 3}, by="test", now=NOW)
    all_fit = check(site, **weekly())
    assert "3 of 3 slots have room" in text(all_fit.text)
    assert lines(all_fit.text) == {
        "Node-hours ahead": ("0", "12", "12"),
        "Reservations not over": ("0", "3", "3"),
    }
    too_many = check(site, **weekly(times="4"))
    assert too_many.status_code == 422
    assert "may have 3 reservations" in errors(too_many.text)["start"]
    assert lines(too_many.text)["Reservations not over"] == ("0", "4 ! too much", "3")
    book_now(site.database, site.accounts["ben"], memory_mib=16_000, **second)
    none = text(check(site, **weekly(memory_mib="16000")).text)
    assert "1 slot has no room" in none
    assert "Nothing at all would be booked" in none
    some = text(check(site, **weekly(memory_mib="16000", conflicts="skip")).text)
    assert "2 of 3 slots have room as things stand now. The others would be left out" in some
