# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Booking: all or nothing, never more than there is, decided once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.booking import decide
from app.db import ledger, reservation
from app.db.base import Base, Database
from app.db.ledger import Allocation
from app.db.reservation import Reservation
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.slot import Slot
from app.settings import Booking, Network, Settings
from tests.factories import NOW, book, make_account, make_host, make_site

HOUR = timedelta(hours=1)


def count(database: Database, table: type[Base]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_booking_places_every_node_and_takes_its_room(database: Database) -> None:
    hosts = make_site(database)
    booked = book(database, make_account(database))
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert [(node.name, node.kind) for node in row.nodes] == [
            ("frontend", "frontend"),
            ("node1", "compute"),
            ("node2", "compute"),
        ]
        assert [node.host_id for node in row.nodes] == [hosts["gw1"].id, hosts["c1"].id, hosts["c2"].id]
        taken = {(a.host_id, a.resource): a.amount for a in ledger.of_reservation(session, booked)}
    assert taken[hosts["c1"].id, "vcpu"] == 1
    assert taken[hosts["st1"].id, "disk_mib"] == (4 + 4 + 4 + 1) * 1024
    assert taken[None, "network_id"] == taken[None, "public_address"] == 1


def test_what_does_not_fit_writes_nothing_and_says_what_is_short(database: Database) -> None:
    make_site(database)
    with pytest.raises(NoRoom) as caught:
        book(database, make_account(database), memory_mib=30_000)
    assert any("c1: 16,384 of 30,096 MiB of memory free" in reason for reason in caught.value.reasons)
    assert count(database, Reservation) == count(database, Allocation) == 0


def test_a_role_without_a_host_is_named(database: Database) -> None:
    make_host(database, "gw1", "gateway")
    with pytest.raises(NoRoom, match="No compute host"):
        book(database, make_account(database))


def test_a_drained_host_takes_nothing_new(database: Database) -> None:
    make_site(database)
    with database.writing() as session:
        from app.db.site import host_by_name

        host = host_by_name(session, "c1")
        assert host is not None
        host.state = "drained"
    with pytest.raises(NoRoom, match="No compute host has room"):
        book(database, make_account(database), node_count=2, memory_mib=10_000)


def test_slots_that_touch_share_the_room(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    whole: dict[str, Any] = {"node_count": 2, "memory_mib": 16_000}
    book(database, account, name="first", **whole)
    with pytest.raises(NoRoom):
        book(database, account, name="second", start=NOW + HOUR / 2, end=NOW + 2 * HOUR, **whole)
    book(database, account, name="second", start=NOW + HOUR, end=NOW + 2 * HOUR, **whole)


def test_numbers_that_something_else_has_are_no_room(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = Settings(network=Network(first_id=1000, last_id=1001, exclude_ids=(1000,)))
    book(database, account, name="first", node_count=1, settings=settings)
    with pytest.raises(NoRoom) as caught:
        book(database, account, name="second", node_count=1, settings=settings)
    assert any("network" in reason for reason in caught.value.reasons), caught.value.reasons


def test_a_second_and_a_year_over_a_leap_day_lie_side_by_side(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    # Two days before the clocks of Europe go back; within the year lies 29 February 2028.
    start = datetime(2027, 10, 29, 0, 59, 59, tzinfo=UTC)
    second, year = timedelta(seconds=1), timedelta(days=366)
    ends = [start + second, start + second + year, start + second + year + second]
    over: dict[str, Any] = {
        "node_count": 2, "memory_mib": 16_000, "now": start, "settings": Settings(booking=Booking(max_days=366)),
    }  # fmt: skip
    begin = start
    for number, end in enumerate(ends):
        book(database, account, name=f"no{number}", start=begin, end=end, **over)
        begin = end
    for moment in (start, ends[0], ends[1] - second, ends[1]):
        with pytest.raises(NoRoom) as caught:
            book(database, account, name="late", start=moment, end=moment + second, **over)
        (later,) = (one for one in caught.value.alternatives if one.kind == "later")
        # The first whole minute behind all of them.
        assert later.slot.start == datetime(2028, 10, 29, 1, 1, tzinfo=UTC)
    with database.reading() as session:
        rows = session.scalars(select(Reservation).order_by(Reservation.start_at))
        assert [(row.start_at, row.end_at) for row in rows] == list(zip([start, *ends], ends, strict=False))


def test_a_live_name_is_taken_and_free_again_after_the_end(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    provider = make_account(database, "carol", "cluster_provider")
    first = book(database, account)
    with pytest.raises(InvalidRequest) as caught:
        book(database, account)
    assert list(caught.value.fields) == ["name"]
    decide.reject(database, provider, first, 1, "full", now=NOW)
    book(database, account)


def test_rejecting_gives_the_room_back(database: Database) -> None:
    make_site(database)
    booked = book(database, make_account(database))
    decide.reject(database, make_account(database, "carol", "cluster_provider"), booked, 1, "no", now=NOW)
    with database.reading() as session:
        assert ledger.taken(session, Slot(NOW, NOW + HOUR), NOW) == []
        assert session.get_one(Reservation, booked).reason == "no"


def test_deciding_twice_or_on_an_old_version_is_refused(database: Database) -> None:
    make_site(database)
    booked = book(database, make_account(database))
    provider = make_account(database, "carol", "cluster_provider")
    with pytest.raises(Conflict):
        decide.approve(database, Settings(), provider, booked, 7, now=NOW)
    decide.approve(database, Settings(), provider, booked, 1, now=NOW)
    with pytest.raises(Conflict):
        decide.reject(database, provider, booked, 2, "late", now=NOW)


def test_only_a_cluster_provider_decides(database: Database) -> None:
    make_site(database)
    owner = make_account(database)
    booked = book(database, owner)
    with pytest.raises(NotAllowed):
        decide.approve(database, Settings(), owner, booked, 1, now=NOW)


def test_another_provider_sees_nothing_of_it(database: Database) -> None:
    make_site(database)
    booked = book(database, make_account(database))
    stranger = make_account(database, "mallory")
    with database.reading() as session:
        assert reservation.get(session, stranger, booked) is None
        assert reservation.listing(session, stranger) == []
    with pytest.raises(NotFound):
        decide.cancel(database, stranger, booked, now=NOW)


def test_what_stands_past_its_end_still_takes_its_room(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    book(database, account, node_count=2, memory_mib=16_000)
    late = NOW + 2 * HOUR
    with pytest.raises(NoRoom):
        book(database, account, now=late, name="next", end=late + HOUR, node_count=2, memory_mib=16_000)


def test_rivals_for_the_last_place_never_both_win(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = replace(Settings(), booking=Booking(frontend_memory_mib=9000))

    def attempt(number: int) -> bool:
        try:
            book(database, account, name=f"rival{number}", settings=settings)
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(16)))
    assert won.count(True) == 1
    assert count(database, Reservation) == 1
