# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings by the API (R7, R47): checked, booked, listed slot by slot, called off; and bad input."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests

from app.booking import project
from tests.factories import NOW, book_now
from tests.web.api import Client, wanted
from tests.web.conftest import Site
from tests.web.test_new import count
from tests.web.test_queries import counted
from tests.web.test_series import START, WEEK

TWO_HOURS = timedelta(hours=2)
LARGE: dict[str, Any] = {"memory_mib": 16_000}
SLOTS = [(START + number * WEEK).isoformat().replace("+00:00", "Z") for number in range(3)]


def weekly(**over: Any) -> dict[str, Any]:
    """The body of a request for a class of two hours in three weeks."""
    times = {"start": START.isoformat(), "end": (START + TWO_HOURS).isoformat()}
    return wanted(**times, every="P1W", times=3) | over


def take_the_second(site: Site) -> None:
    """Let somebody else have the hosts for an hour in the second week."""
    slot = {"start": START + WEEK, "end": START + WEEK + timedelta(hours=1)}
    book_now(site.database, site.accounts["ben"], **slot, **LARGE)


def post(client: Client, body: object, path: str = "/series", key: str | None = None) -> requests.Response:
    return client.send("POST", path, body, headers={"Idempotency-Key": key} if key else None)


def test_a_class_every_week_is_asked_for_once_seen_and_called_off(site: Site):
    anna, ben, carla = (Client(site, name) for name in ("anna", "ben", "carla"))
    made = post(anna, weekly(zone="Asia/Tokyo"))
    assert made.status_code == 201, made.text
    path = made.headers["Location"]
    seen = anna.get(path).json()
    assert seen == made.json()
    assert (seen["name"], seen["every"], seen["zone"]) == ("vc-42", "P7D", "Asia/Tokyo")
    assert [(one["name"], one["start"]) for one in seen["slots"]] == [
        (f"vc-42-0{number}", start) for number, start in enumerate(SLOTS, start=1)
    ]
    assert {one["reservation"]["state"] for one in seen["slots"]} == {"requested"}
    first = anna.get(f"/reservations/{seen['slots'][0]['reservation']['id']}")
    assert first.json()["series_id"] == seen["id"]
    assert [client.get(path).status_code for client in (ben, carla)] == [404, 200]
    assert post(ben, {}, f"{path}/cancel").status_code == 404
    for _ in range(2):
        done = post(anna, {}, f"{path}/cancel")
        assert done.status_code == 200
        assert all(one["reservation"]["cancel_requested_at"] for one in done.json()["slots"])


def test_a_slot_with_no_room_stops_all_and_what_is_offered_can_be_sent_as_it_is(site: Site):
    take_the_second(site)
    anna, carla = Client(site, "anna"), Client(site, "carla")
    refused = post(anna, weekly(**LARGE))
    assert (refused.status_code, count(site)) == (409, 1)
    assert [reason.split(",")[0] for reason in refused.json()["reasons"]] == ["vc-42-02"]
    offers = {one["kind"]: one["request"] for one in refused.json()["alternatives"]}
    assert offers["fewer"] == weekly(**LARGE) | {"end": offers["fewer"]["end"], "conflicts": "skip"}
    for kind, body in offers.items():
        made = post(anna, body | {"name": kind})
        assert made.status_code == 201, made.text
        got = [one["reservation"] is not None for one in made.json()["slots"]]
        assert got == ([True, False, True] if kind == "fewer" else [True] * 3)
        post(carla, {}, f"{made.headers['Location']}/cancel")


def test_a_slot_that_was_left_out_says_why_and_what_fitted_then(site: Site):
    take_the_second(site)
    left_out = post(Client(site, "anna"), weekly(conflicts="skip", **LARGE)).json()["slots"][1]
    assert (left_out["name"], left_out["start"], left_out["reservation"]) == ("vc-42-02", SLOTS[1], None)
    assert any("MiB of memory free" in reason for reason in left_out["reasons"])
    assert (left_out["nearest"]["kind"], left_out["nearest"]["node_count"]) == ("later", 2)
    assert left_out["nearest"]["start"] > SLOTS[1]


def test_the_check_says_what_booking_does_and_books_nothing(site: Site):
    take_the_second(site)
    project.set_ceilings(site.database, "anna", {"reservations": 2, "node_hours": 100}, by="test", now=NOW)
    anna = Client(site, "anna")
    body = weekly(conflicts="skip", **LARGE)
    with counted(site) as sent:
        some = post(
            anna, {name: body[name] for name in body if name not in ("name", "users")}, "/series/check"
        )
    assert some.status_code == 200, some.text
    assert not [one for one in sent if one.lstrip().startswith(("INSERT", "UPDATE reservation", "DELETE"))]
    answer = some.json()
    assert answer["fits"] is True
    assert [(one["start"], one["node_count"], bool(one["reasons"])) for one in answer["slots"]] == [
        (SLOTS[0], 2, False),
        (SLOTS[1], None, True),
        (SLOTS[2], 2, False),
    ]
    assert {one["what"]: (one["now"], one["with_this"], one["at_most"]) for one in answer["ceilings"]} == {
        "Node-hours ahead": (0, 8, 100),
        "Reservations not over": (0, 2, 2),
    }
    assert post(anna, body | {"conflicts": "all"}, "/series/check").json()["fits"] is False
    over = post(anna, body | {"times": 4}, "/series/check").json()
    assert (over["fits"], list(over["over"]), len(over["slots"])) == (False, ["start"], 3)
    assert post(anna, body | {"times": 4}).json()["fields"] == over["over"]
    assert count(site) == 1
    assert post(anna, body).status_code == 201


def test_the_same_key_makes_one_series_and_nothing_else(site: Site):
    anna = Client(site, "anna")
    one, two = (post(anna, weekly(), key="term-1") for _ in range(2))
    assert (one.status_code, two.status_code, one.json()) == (201, 201, two.json())
    other = post(anna, weekly(times=2), key="term-1")
    assert (other.status_code, list(other.json()["fields"])) == (422, ["Idempotency-Key"])
    single = wanted(name="single")
    assert post(anna, single, "/reservations", key="term-1").status_code == 409
    assert post(anna, single, "/reservations", key="one").status_code == 201
    taken = post(anna, weekly(name="term"), key="one")
    assert taken.status_code == 409
    assert "Take a new key" in taken.json()["detail"]
    assert count(site) == 4


def test_many_slots_take_as_many_statements_as_few(site: Site):
    anna, taken = Client(site, "anna"), []
    for number in (2, 12):
        path = post(anna, weekly(name=f"by-{number}", times=number)).headers["Location"]
        with counted(site) as sent:
            assert len(anna.get(path).json()["slots"]) == number
        taken.append(len(sent))
    assert taken[0] == taken[1] <= 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("every", 7),
        ("every", "PT12H"),
        ("every", "P0D"),
        ("every", "P9999W"),
        ("every", "P1M"),
        ("times", 0),
        ("times", 1000),
        ("times", 10**400),
        ("times", "3"),
        ("until", "2027-02-12"),
        ("conflicts", "perhaps"),
        ("zone", "Mars/Olympus"),
        ("zone", "../../etc/passwd"),
        ("zone", None),
        ("name", "a" * 28),
        ("colour", "red"),
    ],
)
def test_a_bad_recurrence_gets_a_message_at_its_field(sqlite_site: Site, field: str, value: object):
    answer = post(Client(sqlite_site, "anna"), weekly(**{field: value}))
    # Both a number of times and a last date: which of them is meant?
    told = "times" if field == "until" else field
    assert (answer.status_code, list(answer.json()["fields"])) == (422, [told])
    assert count(sqlite_site) == 0


@pytest.mark.parametrize("until", ["9999-12-31", "2027-02-30", "20270212", "1999-01-01", 7])
def test_a_bad_last_date_is_told(sqlite_site: Site, until: object):
    body = weekly(until=until)
    del body["times"]
    answer = post(Client(sqlite_site, "anna"), body)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["until"])


def test_all_that_is_wrong_with_a_series_is_told_at_once(sqlite_site: Site):
    answer = post(Client(sqlite_site, "anna"), {"name": "X", "every": "often", "vcpus": 0})
    assert set(answer.json()["fields"]) == {
        *("name", "end", "every", "node_count", "vcpus", "memory_mib", "disk_gib", "home_gib", "users")
    }


def test_the_zone_is_the_account_s_where_none_is_said(site: Site):
    answer = post(Client(site, "anna"), weekly())
    assert answer.json()["zone"] == site.accounts["anna"].time_zone
