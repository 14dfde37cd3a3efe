# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings by the form: a class every week, what was left out, and calling off what is ahead (R7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.db.reservation import Reservation
from tests.browse import form_fields
from tests.factories import book_now
from tests.web.conftest import Site
from tests.web.test_availability import offered_forms
from tests.web.test_new import count, errors, filled
from tests.web.test_new_groups import NEW, opened, send
from tests.web.test_reservation import text

START = (datetime.now(UTC) + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
WEEK = timedelta(days=7)


def weekly(**over: Any) -> dict[str, Any]:
    end = START + timedelta(hours=2)
    times = {"start": f"{START:%Y-%m-%dT%H:%M}", "end": f"{end:%Y-%m-%dT%H:%M}"}
    return filled(
        **times | {"every": "1", "unit": "weeks", "times": "3", "until": "", "conflicts": "all"} | over
    )


def test_a_class_every_week_is_asked_for_once_and_called_off_with_one_click(site: Site):
    visitor = site.visitor("anna")
    answer = visitor.post("/reservations/new", weekly())
    assert answer.status_code == 200
    assert "3 booked." in text(answer.text)
    for name in ("vc-42-01", "vc-42-02", "vc-42-03"):
        assert f">{name}</a>" in answer.text
    path = answer.url.removeprefix(site.base)
    assert site.visitor("ben").get(path).status_code == 404
    assert "one of a series" in visitor.get("/reservations/1").text
    done = visitor.post(f"{path}/cancel", {}, page=path)
    assert "3 reservations cancelled." in done.text
    assert "Cancel what is ahead" not in done.text


def test_a_slot_with_no_room_stops_all_or_is_left_out_and_told(site: Site):
    taken = START + WEEK
    slot = {"start": taken, "end": taken + timedelta(hours=1)}
    book_now(site.database, site.accounts["ben"], memory_mib=16_000, **slot)
    visitor = site.visitor("anna")
    refused = visitor.post("/reservations/new", weekly(memory_mib="16000"))
    assert refused.status_code == 409
    assert "vc-42-02, " in refused.text
    assert 'name="times" type="text" value="3"' in refused.text
    assert count(site) == 1
    until = f"{START + 2 * WEEK:%Y-%m-%d}"
    answer = visitor.post(
        "/reservations/new", weekly(memory_mib="16000", times="", until=until, conflicts="skip")
    )
    assert "2 booked, 1 left out for want of room." in text(answer.text)
    assert "What fitted then: later, 2 nodes," in text(answer.text)


def test_a_refused_series_is_booked_without_the_slots_that_have_no_room_with_one_click(site: Site):
    taken = START + WEEK
    slot = {"start": taken, "end": taken + timedelta(hours=1)}
    book_now(site.database, site.accounts["ben"], memory_mib=16_000, **slot)
    visitor = site.visitor("anna")
    refused = visitor.post("/reservations/new", weekly(memory_mib="16000"))
    fewer = offered_forms(refused.text)["Fewer"]
    booked = visitor.session.post(f"{site.base}/reservations/new", data=fewer, timeout=30)
    assert "2 booked, 1 left out for want of room." in text(booked.text)


def test_a_form_that_booked_something_else_says_so_and_can_be_sent_again(sqlite_site: Site):
    sent = opened(sqlite_site, "anna", **weekly())
    send(sqlite_site, "anna", sent)
    with sqlite_site.database.writing() as session:
        # As if a single cluster had been asked for under this very form.
        session.execute(update(Reservation).values(series_id=None, name=Reservation.name + "-x"))
    refused = send(sqlite_site, "anna", sent)
    assert (refused.status_code, list(errors(refused.text))) == (409, ["name"])
    assert "This form was sent before" in errors(refused.text)["name"]
    shown = form_fields(refused.text, NEW)
    assert shown["times"] == ["3"]
    again = send(sqlite_site, "anna", shown | {"do": "ask"})
    assert "3 booked." in text(again.text)
    assert count(sqlite_site) == 6


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("every", ""),
        ("every", "0"),
        ("every", "NaN"),
        ("every", "99999"),
        ("times", "1000"),
        ("times", "-1"),
        ("times", "9" * 5000),
        ("until", "9999-99-99"),
        ("conflicts", "perhaps"),
        ("name", "a" * 28),
    ],
)
def test_a_bad_recurrence_gets_a_message_at_its_field(sqlite_site: Site, field: str, typed: str):
    over = {field: typed} | ({"times": ""} if field == "until" else {})
    answer = sqlite_site.visitor("anna").post("/reservations/new", weekly(**over))
    assert answer.status_code == 422
    assert list(errors(answer.text)) == [field]
    assert typed in answer.text or field == "conflicts"
    assert count(sqlite_site) == 0
