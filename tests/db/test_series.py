# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings: all or nothing, or without what does not fit; and calling off what is ahead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.booking import decide, series
from app.booking.request import request
from app.db import series as db
from app.db.account import Account
from app.db.base import Base, Database
from app.db.ledger import Allocation
from app.db.reservation import Reservation
from app.db.series import Series
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotFound
from app.domain.slot import Slot
from app.settings import Booking, Settings
from tests.factories import NOW, ROLLS, book, make_account, make_site, wish

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
KEY = "0123456789abcdef" * 4
LARGE: dict[str, Any] = {"node_count": 2, "memory_mib": 16_000}


def repeat(database: Database, account: Account, key: str | None = None, **over: Any) -> int:
    """A class for an hour, an hour from now, and again for three weeks."""
    again = {"every": 7, "times": 3, "until": None, "conflicts": "all", "zone": "Europe/Berlin"}
    again |= {name: over.pop(name) for name in tuple(over) if name in again}
    settings = over.pop("settings", Settings())
    raw = wish(start=NOW + HOUR, end=NOW + 2 * HOUR, **over)
    return series.book(database, settings, account, raw, again, rolls=ROLLS, now=NOW, key=key)


def booked(database: Database, account: Account, number: int) -> list[tuple[str, Any]]:
    with database.reading() as session:
        found = db.get(session, account, number)
        assert found is not None
        return [(one.name, one.start_at) for one in found[1]]


def count(database: Database, table: type[Base]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_class_is_booked_for_each_week_under_a_name_of_its_own(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    number = repeat(database, account)
    start = NOW + HOUR
    assert booked(database, account, number) == [
        ("class-01", start),
        ("class-02", start + WEEK),
        ("class-03", start + 2 * WEEK),
    ]
    with database.reading() as session:
        assert db.get(session, make_account(database, "bob"), number) is None


def test_all_or_nothing_writes_nothing_and_names_each_slot_that_has_no_room(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    taken = NOW + HOUR + WEEK
    book(database, account, name="other", start=taken, end=taken + HOUR, **LARGE)
    before = count(database, Allocation)
    with pytest.raises(NoRoom) as caught:
        repeat(database, account, **LARGE)
    assert [reason.split(":")[0] for reason in caught.value.reasons] == ["class-02, 2026-11-27 13"]
    assert [one.kind for one in caught.value.alternatives] == ["fewer"]
    assert (count(database, Reservation), count(database, Series)) == (1, 0)
    assert count(database, Allocation) == before


def test_what_fits_into_each_slot_is_offered_in_place_of_the_series(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    taken = NOW + HOUR + WEEK + HOUR / 2
    book(database, account, name="other", start=taken, end=taken + HOUR, **LARGE | {"node_count": 1})
    with pytest.raises(NoRoom) as caught:
        repeat(database, account, **LARGE)
    fewer, smaller, shorter = caught.value.alternatives
    assert (fewer.kind, smaller.kind, shorter.kind) == ("fewer", "smaller", "shorter")
    assert (smaller.shape.most, shorter.slot) == (1, Slot(NOW + HOUR, NOW + HOUR + HOUR / 2))
    number = repeat(database, account, **LARGE | {"node_count": smaller.shape.most})
    assert len(booked(database, account, number)) == 3


def test_what_has_no_room_is_left_out_and_kept_with_its_reasons_and_what_is_nearest(
    database: Database,
) -> None:
    make_site(database)
    account = make_account(database)
    taken = NOW + HOUR + WEEK
    book(database, account, name="other", start=taken, end=taken + HOUR, **LARGE)
    number = repeat(database, account, conflicts="skip", **LARGE)
    assert [name for name, _ in booked(database, account, number)] == ["class-01", "class-03"]
    with database.reading() as session:
        (left_out,) = session.get_one(Series, number).skipped
    assert left_out["name"] == "class-02"
    assert any("MiB of memory free" in reason for reason in left_out["reasons"])
    assert left_out["nearest"]["kind"] == "later"
    assert left_out["nearest"]["start"] == (taken + HOUR).isoformat()


def test_a_series_of_which_nothing_fits_is_refused_either_way(database: Database) -> None:
    make_site(database)
    with pytest.raises(NoRoom):
        repeat(database, make_account(database), conflicts="skip", memory_mib=30_000)
    assert count(database, Series) == 0


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"times": 1000}, "times"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"name": "a" * 28}, "name"),
        ({"every": float("nan")}, "every"),
        ({"settings": Settings(booking=Booking(quota_nodes=0))}, "node_count"),
        ({"settings": Settings(booking=Booking(quota_reservations=2))}, None),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    database: Database, over: dict[str, Any], field: str | None
) -> None:
    make_site(database)
    account = make_account(database)
    with pytest.raises(InvalidRequest) as caught:
        repeat(database, account, **over)
    assert field is None or list(caught.value.fields) == [field]
    assert (count(database, Reservation), count(database, Series)) == (0, 0)


def test_the_same_request_sent_twice_makes_one_series(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    assert repeat(database, account, key=KEY) == repeat(database, account, key=KEY)
    assert count(database, Reservation) == 3


def test_a_key_names_a_series_or_a_single_reservation_and_not_both(database: Database) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    repeat(database, alice, key=KEY)
    with pytest.raises(Conflict, match="with a request for a series before"):
        request(database, Settings(), alice, wish(name="single"), rolls=ROLLS, now=NOW, key=KEY)
    request(database, Settings(), bob, wish(name="bobs"), rolls=ROLLS, now=NOW, key=KEY)
    with pytest.raises(Conflict, match="with a request for a single cluster before"):
        repeat(database, bob, name="term", key=KEY)
    assert (count(database, Reservation), count(database, Series)) == (4, 1)


def test_what_is_ahead_is_cancelled_and_what_has_begun_stays(database: Database) -> None:
    make_site(database)
    account, provider = make_account(database), make_account(database, "carol", "cluster_provider")
    number = repeat(database, account)
    with database.reading() as session:
        found = db.get(session, account, number)
        assert found is not None
        ids = [one.id for one in found[1]]
    decide.approve(database, Settings(), provider, ids[0], 1, now=NOW)
    later = NOW + 1.5 * HOUR
    with pytest.raises(NotFound):
        series.cancel_ahead(database, make_account(database, "bob"), number, now=later)
    decide.cancel(database, account, ids[1], now=later)
    assert series.cancel_ahead(database, account, number, now=later) == 1
    assert series.cancel_ahead(database, account, number, now=later) == 0
    with database.reading() as session:
        rows = [session.get_one(Reservation, one) for one in ids]
    assert [one.cancel_requested_at for one in rows] == [None, later, later]
    assert [one.version for one in rows] == [2, 2, 2]
