# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Licence seats: a pool of the ledger like network numbers, in the booking and in the three questions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.booking import availability
from app.db import ledger
from app.db.base import Database
from app.domain.errors import NoRoom
from app.domain.roll import Seats
from app.domain.slot import Slot
from app.settings import Booking, Settings
from tests.factories import NOW, book, make_account, make_site, shape

HOUR = timedelta(hours=1)
SLOT = Slot(NOW, NOW + HOUR)


def few(number: int, per: str = "node") -> Settings:
    return Settings(booking=Booking(seats=(Seats("slurm", number, per),)))


def test_each_compute_node_takes_a_seat_and_they_are_free_again_after_the_slot(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    settings = few(3)
    booked = book(database, alice, settings=settings)
    with database.reading() as session:
        held = {
            row.resource: row.amount for row in ledger.of_reservation(session, booked) if row.host_id is None
        }
    assert held == {"network_id": 1, "public_address": 1, "node": 2, "seat:slurm": 2}
    with pytest.raises(NoRoom) as caught:
        book(database, alice, settings=settings, name="second")
    assert caught.value.reasons == (
        "The roll 'slurm' needs 2 licence seats here: 1 of the site's 3 are free in this slot.",
    )
    offers = {one.kind: one for one in caught.value.alternatives}
    assert offers["smaller"].shape.most == 1
    assert offers["later"].slot.start == NOW + HOUR
    assert [one.name for one in caught.value.in_the_way] == ["class"]
    book(database, alice, settings=settings, name="without", rolls=["nfs"])
    book(database, alice, settings=settings, name="smaller", node_count=1)
    book(database, alice, settings=settings, name="later", start=NOW + HOUR, end=NOW + 2 * HOUR)


def test_a_seat_for_each_cluster_does_not_grow_with_its_nodes(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    book(database, alice, settings=few(1, "cluster"), node_count=4)
    with pytest.raises(NoRoom, match="needs 1 licence seats"):
        book(database, alice, settings=few(1, "cluster"), name="second", node_count=1)


def test_a_site_without_a_seat_books_nothing_with_the_roll(database: Database) -> None:
    make_site(database)
    with pytest.raises(NoRoom) as caught:
        book(database, make_account(database), settings=few(0))
    assert caught.value.alternatives == ()


def test_the_three_questions_count_seats(database: Database) -> None:
    make_site(database)
    settings = few(3)
    book(database, make_account(database), settings=settings)
    wanted = shape()
    share = {one.resource: one for one in availability.shares(database, settings, SLOT, now=NOW)}[
        "seat:slurm"
    ]
    assert (share.free, share.total) == (1, 3)
    assert "node" not in {one.resource for one in availability.shares(database, settings, SLOT, now=NOW)}
    found = availability.earliest(database, settings, wanted, HOUR, NOW, now=NOW)
    assert found == Slot(NOW + HOUR, NOW + 2 * HOUR)
    assert availability.largest(database, settings, wanted, SLOT, now=NOW) == 1
    assert availability.largest(database, settings, shape(rolls=["nfs"]), SLOT, now=NOW) > 3


def test_of_a_least_and_a_most_as_many_are_granted_as_there_are_seats(database: Database) -> None:
    make_site(database)
    booked = book(database, make_account(database), settings=few(3), node_count=6, least=2)
    with database.reading() as session:
        held = {
            row.resource: row.amount for row in ledger.of_reservation(session, booked) if row.host_id is None
        }
    assert (held["node"], held["seat:slurm"]) == (3, 3)
