# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What cannot be meant is told by the name of its field, by the forms and by the API alike, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests

from app.api.operations import OPERATIONS
from app.booking import project
from app.db.account import Account
from app.settings import Booking
from tests.browse import form_fields
from tests.factories import NOW, book_now
from tests.web.api import Client, wanted
from tests.web.conftest import Site
from tests.web.test_change import row
from tests.web.test_maintenance import ahead
from tests.web.test_maintenance import typed as maintenance
from tests.web.test_new import count, errors, filled, shown
from tests.web.test_offer import made
from tests.web.test_series import START, weekly

SIZES = ("node_count", "vcpus", "memory_mib", "disk_gib", "home_gib")
HOUR = timedelta(hours=1)


def by_form(site: Site, fields: dict[str, Any], name: str = "anna") -> set[str]:
    """The fields that the form for a new cluster says are wrong."""
    answer = site.visitor(name).post("/reservations/new", fields)
    assert answer.status_code == 422
    return set(errors(answer.text))


def by_api(site: Site, **over: Any) -> set[str]:
    """The fields that the API says are wrong with a request."""
    # As requests itself refuses to send NaN.
    data, kind = json.dumps(wanted(**over)), {"Content-Type": "application/json"}
    answer = Client(site, "anna").send("POST", "/reservations", headers=kind, data=data)
    assert answer.status_code == 422
    return set(answer.json()["fields"])


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("0", 0),
        ("-1", -1),
        ("1.5", 1.5),
        ("NaN", float("nan")),
        ("Infinity", float("inf")),
        ("-Infinity", float("-inf")),
        ("1e400", 1e300),
        ("999999999", 999_999_999),
        ("9" * 400, 10**400),
    ],
)
def test_no_size_is_absurd_negative_or_not_a_number(sqlite_site: Site, typed: str, sent: float):
    assert by_form(sqlite_site, filled(**dict.fromkeys(SIZES, typed))) == {shown(size) for size in SIZES}
    assert by_api(sqlite_site, **dict.fromkeys(SIZES, sent)) == set(SIZES)
    assert by_form(sqlite_site, filled(least=typed if typed != "999999999" else "3")) == {shown("least")}
    assert by_api(sqlite_site, least=sent) == {"least"}
    assert count(sqlite_site) == 0


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"times": "1000"}, "times"),
        ({"times": "100"}, "times"),
        ({"every": "52", "times": "50"}, "times"),
        ({"times": "", "until": "9999-12-31"}, "until"),
        ({"times": "", "until": "2001-01-01"}, "until"),
        ({"every": "1", "unit": "days", "end": f"{START + timedelta(days=2):%Y-%m-%dT%H:%M}"}, "every"),
    ],
)
def test_no_recurrence_is_longer_or_further_ahead_than_may_be(
    sqlite_site: Site, over: dict[str, str], field: str
):
    assert by_form(sqlite_site, weekly(**over)) == {field}
    assert count(sqlite_site) == 0


def test_the_api_knows_no_recurrence_and_says_so(sqlite_site: Site):
    assert by_api(sqlite_site, every=7, times=1000) == {"every", "times"}
    assert count(sqlite_site) == 0


@pytest.mark.parametrize("zone", ["+99:00", "[Mars/Olympus]", " Mars/Olympus", "Z+01:00"])
def test_no_time_is_in_a_zone_that_does_not_exist(sqlite_site: Site, zone: str):
    day = f"{START:%Y-%m-%d}"
    for field in ("start", "end"):
        assert by_form(sqlite_site, filled(**{field: f"{day}T10:00{zone}"})) == {field}
        assert by_api(sqlite_site, **{field: f"{day}T10:00:00{zone}"}) == {field}
    assert count(sqlite_site) == 0


def left_out() -> datetime:
    """Half past two by the clocks of Berlin on the next night, two weeks ahead at the least, that has none."""
    berlin, day = ZoneInfo("Europe/Berlin"), datetime.now(UTC).replace(tzinfo=None) + timedelta(days=16)
    while True:
        moment = day.replace(hour=2, minute=30, second=0, microsecond=0)
        if moment.replace(tzinfo=berlin).astimezone(UTC).astimezone(berlin).replace(tzinfo=None) != moment:
            return moment
        day += timedelta(days=1)


def typed_times(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": f"{start:%Y-%m-%dT%H:%M}", "end": f"{end:%Y-%m-%dT%H:%M}"}


def test_no_time_is_one_that_the_clocks_leave_out(sqlite_site: Site):
    with sqlite_site.database.writing() as session:
        for account in sqlite_site.accounts.values():
            session.get_one(Account, account.id).time_zone = "Europe/Berlin"
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    none = left_out()
    anna, carla, otto = (sqlite_site.visitor(name) for name in ("anna", "carla", "otto"))

    def told(answer: requests.Response, field: str) -> None:
        assert answer.status_code == 422
        assert f'id="{field}"' in answer.text
        assert "clocks go forward then" in answer.text

    new = "/reservations/new"
    told(anna.post(new, filled(**typed_times(none, none + 2 * HOUR))), "start")
    told(anna.post(new, filled(**typed_times(none - 2 * HOUR, none))), "end")
    two_weeks = timedelta(days=14)
    series = weekly(**typed_times(none - two_weeks, none - two_weeks + 2 * HOUR))
    told(anna.post(new, series), "start")
    told(anna.post(new, series | {"do": "check"}), "start")
    text = f"{none:%Y-%m-%dT%H:%M}"
    told(anna.get("/availability", params={"after": text}), "after")
    told(anna.post(f"/reservations/{number}/end", {"end": text}), "end")
    path = f"/admin/approvals/{number}/offer"
    sent = form_fields(carla.get(path).text, path) | {"message": "?", "end": text}
    told(carla.session.post(sqlite_site.base + path, data=sent, timeout=30), "end")
    entered = maintenance(**typed_times(none, none + 2 * HOUR))
    told(otto.post("/admin/maintenance/enter", entered, page="/admin/maintenance"), "start")
    # By the API a time has its offset, so none is left out; one without an offset is none.
    assert by_api(sqlite_site, start=f"{text}:00") == {"start"}
    assert (count(sqlite_site), row(sqlite_site, number).version) == (1, 1)
    assert (made(sqlite_site, number), ahead(sqlite_site)) == ([], [])


CEILINGS = [
    ("nodes", "node_count"),
    ("node_hours", "node_count"),
    ("length_hours", "end"),
    ("reservations", "start"),
]


@pytest.mark.parametrize(("ceiling", "field"), CEILINGS)
def test_a_ceiling_of_zero_allows_nothing(sqlite_site: Site, ceiling: str, field: str):
    project.set_ceilings(sqlite_site.database, "anna", {ceiling: 0}, by="test", now=NOW)
    assert by_form(sqlite_site, filled()) == {shown(field)}
    assert by_form(sqlite_site, weekly()) == {shown(field)}
    assert by_form(sqlite_site, filled(least="1")) == {shown(field)}
    assert by_api(sqlite_site) == {field}
    assert count(sqlite_site) == 0


def test_nobody_decides_on_their_own_request_where_the_site_forbids_it(
    new_site: Callable[..., Site], sqlite_url: str
):
    site = new_site(sqlite_url, Booking(own_approval=False))
    number = book_now(site.database, site.accounts["carla"])
    carla, client, seen = site.visitor("carla"), Client(site, "carla"), {"If-Match": '"1"'}
    by_page = carla.post(f"/admin/approvals/{number}/approve", {}, page="/admin/approvals")
    by_program = client.send("POST", f"/reservations/{number}/approve", headers=seen)
    path = f"/admin/approvals/{number}/offer"
    sent = form_fields(carla.get(path).text, path) | {"message": "?", "groups-0-node_count": "1"}
    offer_by_page = carla.session.post(site.base + path, data=sent, timeout=30)
    less = {"message": "?", "groups": [{"node_count": 1, "vcpus": 1, "memory_mib": 512, "disk_gib": 4}]}
    offer_by_program = client.send("POST", f"/reservations/{number}/offer", less, headers=seen)
    for answer in (by_page, by_program, offer_by_page, offer_by_program):
        assert answer.status_code == 403
        assert "own_approval" in answer.text
    kept = row(site, number)
    assert (kept.state, kept.version, made(site, number)) == ("requested", 1, [])


# What needs the version one has seen: by the API, who sends what; by the pages, also from which page.
VERSIONED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "change.approve": ("carla", "approve", {}),
    "change.reject": ("carla", "reject", {"reason": "no"}),
    "offer.make": ("carla", "offer", {"message": "?", "home_gib": 3}),
    "offer.accept": ("anna", "offer/accept", {}),
    "offer.decline": ("anna", "offer/decline", {}),
    "change.set_end": ("anna", "end", {"end": "2099-01-01T00:00:00Z"}),
    "change.resize": ("anna", "nodes", {"node_count": {"node": 1}}),
    "change.suspend": ("anna", "suspend", {}),
    "change.resume": ("anna", "resume", {}),
    "change.keep": ("anna", "keep", {"until": None}),
    "change.restore": ("anna", "restore", {"name": "again", "end": "2099-01-01T00:00:00Z"}),
    "change.give": ("anna", "owner", {"owner": "ben"}),
}
PAGES: list[tuple[str, str, str | None, dict[str, str]]] = [
    ("carla", "/admin/approvals/{}/approve", "/admin/approvals", {}),
    ("carla", "/admin/approvals/{}/reject", "/admin/approvals", {"reason": "no"}),
    ("anna", "/reservations/{}/offer/accept", "/reservations/{}", {}),
    ("anna", "/reservations/{}/offer/decline", "/reservations/{}", {}),
    ("anna", "/reservations/{}/end", None, {"end": "2026-12-01T00:00Z"}),
    ("anna", "/reservations/{}/resize", None, {"count_node": "1", "confirmed": "yes"}),
    ("anna", "/reservations/{}/suspend", None, {}),
    ("anna", "/reservations/{}/resume", None, {}),
    ("anna", "/reservations/{}/keep", None, {"until": "2026-12-01T00:00Z"}),
    ("anna", "/reservations/{}/restore", None, {"name": "again", "end": "2026-12-01T00:00Z"}),
    ("anna", "/reservations/{}/owner", None, {"owner": "ben"}),
]


def test_who_saw_an_older_version_changes_nothing_and_is_told_what_was_changed(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    offer = {"message": "More of it.", "home_gib": 4}
    path, seen = f"/reservations/{number}", {"If-Match": '"1"'}
    assert Client(sqlite_site, "carla").send("POST", f"{path}/offer", offer, headers=seen).status_code == 200
    versioned = {one.endpoint: one for one in OPERATIONS if one.is_versioned}
    assert versioned.keys() == VERSIONED.keys()
    for endpoint, (name, deed, body) in VERSIONED.items():
        method = versioned[endpoint].method
        answer = Client(sqlite_site, name).send(method, f"{path}/{deed}", body, headers=seen)
        assert (endpoint, answer.status_code) == (endpoint, 412)
        assert [one["field"] for one in answer.json()["changed"]] == ["offer"]
    for name, where, page, fields in PAGES:
        at = page and page.format(number)
        answer = sqlite_site.visitor(name).post(where.format(number), fields | {"version": "1"}, page=at)
        assert (where, answer.status_code) == (where, 409)
        assert "carla made an offer" in answer.text
    kept = row(sqlite_site, number)
    assert (kept.version, kept.state, kept.owner_id) == (2, "requested", sqlite_site.accounts["anna"].id)
    assert [one.answer for one in made(sqlite_site, number)] == [None]
