# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The ledger's ranges find exactly what overlaps, whatever its length, and read neither past nor far future."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import CompoundSelect, Select, insert

from app.db import ledger
from app.db.base import Database
from app.db.ledger import OVERDUE, SITE, Allocation
from app.domain.slot import Slot
from tests.factories import NOW, book, make_account, make_site

LENGTHS = (
    timedelta(seconds=1),
    *[
        span + change
        for span in ledger.SPANS
        for change in (-timedelta(seconds=1), timedelta(0), timedelta(seconds=1))
    ],
    timedelta(days=500),
)


def fill(database: Database, number: int, seed: int) -> list[dict[str, Any]]:
    """`number` allocations of one reservation around NOW, of all lengths, some released."""
    hosts = [host.id for host in make_site(database).values()]
    booked = book(database, make_account(database))
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for amount in range(1, number + 1):
        length = chance.choice(LENGTHS)
        start = NOW - length + chance.random() * 2 * length
        if chance.random() < 0.3:
            start = NOW - length  # ends at the very moment
        released = NOW if chance.random() < 0.2 else None
        rows.append(
            {
                "reservation_id": booked,
                "host_id": chance.choice([*hosts, None]),
                "resource": "vcpu",
                "amount": amount,
                "start_at": start,
                "end_at": start + length,
                "released_at": released,
            }
        )
    with database.writing() as session:
        ledger.release(session, booked, NOW)
        session.execute(insert(Allocation), rows)
    return rows


def test_taken_is_what_overlaps_or_is_overdue(database: Database) -> None:
    rows = fill(database, 400, seed=1)
    hosts = sorted({host for row in rows if isinstance(host := row["host_id"], int)})
    second = timedelta(seconds=1)
    slots = [
        Slot(NOW, NOW + second),
        Slot(NOW - second, NOW),
        Slot(NOW + OVERDUE - second, NOW + 5 * OVERDUE),
        Slot(NOW + OVERDUE, NOW + OVERDUE + second),
        Slot(NOW, NOW + timedelta(days=365)),
        Slot(NOW + timedelta(days=100), NOW + timedelta(days=101)),
    ]
    for slot in slots:
        for only in (None, hosts[:2]):
            with database.reading() as session:
                found = ledger.taken(session, slot, NOW, only)
            assert sorted(one.amount for one in found) == [
                row["amount"] for row in rows if is_taken(row, slot) and is_of(row, only)
            ]
            assert all(one.end > NOW for one in found)


def test_only_those_holders_are_read_that_are_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, 200, seed=2)
    slot = Slot(NOW, NOW + timedelta(days=365))
    for most_named in (ledger.MOST_NAMED, 0):
        monkeypatch.setattr(ledger, "MOST_NAMED", most_named)
        with database.reading() as session:
            everything = ledger.taken(session, slot, NOW)
            asked: list[set[int | str]] = [{1, 2, SITE}, {1}, {SITE}, set()]
            for holders in asked:
                found = ledger.taken(session, slot, NOW, holders)
                assert Counter(found) == Counter(one for one in everything if one.holder in holders)
                sums = Counter[tuple[int | str, str]]()
                for one in found:
                    sums[one.holder, one.resource] += one.amount
                summed = ledger.sums(session, slot, NOW, holders)
                assert {(one.holder, one.resource): one.amount for one in summed} == sums


def test_the_highest_at_some_moments_is_the_highest_of_the_sums_at_each(database: Database) -> None:
    rows = fill(database, 300, seed=3)
    hour = timedelta(hours=1)
    moments = [NOW + days * 24 * hour for days in (0, 2, 9, 40)]
    with database.reading() as session:
        found = ledger.highest(session, moments, "vcpu", NOW)
        assert ledger.highest(session, moments, "disk_mib", NOW) == {}
    hosts = {row["host_id"] for row in rows}
    sums = {
        host: max(
            sum(
                row["amount"]
                for row in rows
                if row["host_id"] == host
                and row["released_at"] is None
                and row["start_at"] <= moment < row["end_at"]
            )
            for moment in moments
        )
        for host in hosts
    }
    assert found == {SITE if host is None else host: highest for host, highest in sums.items()}


def is_of(row: dict[str, object], only: list[int] | None) -> bool:
    return only is None or row["host_id"] in only


def is_taken(row: dict[str, object], slot: Slot) -> bool:
    start, end = row["start_at"], row["end_at"]
    assert isinstance(start, datetime)
    assert isinstance(end, datetime)
    if end <= NOW:
        end = NOW + OVERDUE
    return row["released_at"] is None and start < slot.end and slot.start < end


def test_the_pools_are_the_sites(database: Database) -> None:
    make_site(database)
    book(database, make_account(database))
    with database.reading() as session:
        found = ledger.sums(session, Slot(NOW, NOW + OVERDUE), NOW, [SITE])
    assert sorted((one.holder, one.resource, one.amount) for one in found) == [
        (SITE, "network_id", 1),
        (SITE, ledger.NODE, 2),
        (SITE, "public_address", 1),
    ]


def test_a_short_slot_is_read_by_ranges_of_an_index(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    queries = ledger.QUERIES["sqlite"]
    by_host = "ix_allocation_host_span (host_id=? AND span=? AND start_at>? AND start_at<?)"
    of_all = "ix_allocation_span (span=? AND start_at>? AND start_at<?)"
    asked: list[tuple[Select[Any] | CompoundSelect[Any], list[str]]] = [
        (queries.of_all, [of_all]),
        (queries.of_hosts, [by_host]),
        (queries.of_pools, [by_host]),
        (queries.sums, [by_host, by_host]),
        (queries.sums_of_all, [of_all]),
    ]
    for query, indexes in asked:
        compiled = query.compile(database.engine)
        values = tuple("[1, 2]" if name == "hosts" else str(NOW) for name in compiled.positiontup or ())
        with database.reading() as session:
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)
            lines = [row.detail for row in plan if "allocation" in row.detail]
        late = "ix_allocation_held (end_at<?)"
        assert lines == [f"SEARCH allocation USING INDEX {one}" for index in indexes for one in (late, index)]
    database.close()
