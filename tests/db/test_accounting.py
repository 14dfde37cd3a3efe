# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The accounts: hours within the time asked for, from the slot's begin to its end or to when it was given back (R5)."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event

from app.booking import accounting, change, decide
from app.booking.accounting import Report, report
from app.db import ledger
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.errors import InvalidRequest
from app.settings import Booking, Settings
from tests.factories import NOW, book, make_account, make_site

HOUR = timedelta(hours=1)
# The gap after a slot is nobody's use.
SETTINGS = Settings(booking=Booking(gap_s=1800))


def approved(database: Database, account: Account, **over: Any) -> int:
    booked = book(database, account, settings=SETTINGS, **over)
    with database.writing() as session:
        session.get_one(Reservation, booked).state = "approved"
    return booked


def used(
    database: Database, account: Account | None, first: float, last: float, by: str = "reservation"
) -> Report:
    return report(database, SETTINGS, account, NOW + first * HOUR, NOW + last * HOUR, by)


def hours(made: Report) -> list[list[float]]:
    return [[row[name] for name in accounting.HOURS] for row in made.rows()]


# Of the wish's two nodes of 512 MiB and 4 GiB: with the frontend, QEMU's own, and 1 GiB for /home.
AN_HOUR = [2.0, round((1024 + 2 * 512 + 3 * 96) / 1024, 3), 13.0, 1.0]


def test_an_hour_of_two_nodes_is_what_it_says(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    approved(database, alice)
    assert hours(used(database, alice, -24, 24)) == [AN_HOUR]
    (row,) = used(database, None, -24, 24).rows()
    assert (row["project"], row["owner"], row["name"], row["state"]) == (
        "alice",
        "alice",
        "class",
        "approved",
    )
    assert (row["start"], row["end"]) == ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z")


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [(0, 1, 1.0), (0.25, 0.5, 0.25), (-3, 0.5, 0.5), (0.75, 9, 0.25), (1, 9, 0.0), (-9, 0, 0.0)],
)
def test_only_what_lies_within_counts_and_ends_are_exclusive(
    database: Database, first: float, last: float, share: float
) -> None:
    make_site(database)
    approved(database, make_account(database))
    expected = [[round(one * share, 3) for one in AN_HOUR]] if share else []
    found = hours(used(database, None, first, last))
    assert found == [pytest.approx(one, abs=0.0011) for one in expected]


def test_what_was_given_back_early_counts_until_then_and_a_late_end_costs_nothing(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    early, late = approved(database, alice), approved(database, alice, name="late")
    with database.writing(ledger=True) as session:
        ledger.release(session, early, NOW + HOUR / 2)
        ledger.release(session, late, NOW + 3 * HOUR)
        for booked in (early, late):
            session.get_one(Reservation, booked).state = "ended"
    found = {row["name"]: row["node_hours"] for row in used(database, None, -9, 9).rows()}
    assert found == {"class": 1.0, "late": 2.0}


def test_what_was_never_approved_costs_nothing(database: Database) -> None:
    make_site(database)
    alice, carol = make_account(database), make_account(database, "carol", "cluster_provider")
    book(database, alice, name="open")
    decide.reject(database, carol, book(database, alice), 1, "no", now=NOW)
    assert used(database, None, -9, 9).uses == ()


def test_an_extension_counts(database: Database) -> None:
    make_site(database)
    carol = make_account(database, "carol", "cluster_provider")
    change.set_end(database, SETTINGS, carol, approved(database, carol), 1, NOW + 3 * HOUR, now=NOW)
    assert used(database, carol, 0, 9).rows()[0]["node_hours"] == 6.0


def test_projects_are_summed_up_and_others_stay_unseen(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    bob = make_account(database, "bob", project=alice.project)
    eve = make_account(database, "eve")
    for number, account in enumerate((alice, bob, eve)):
        approved(database, account, name=f"vc{number}", node_count=number + 1)
    found = used(database, None, 0, 1, "project").rows()
    assert [(row["project"], row["reservations"], row["node_hours"]) for row in found] == [
        ("alice", 2, 3.0),
        ("eve", 1, 3.0),
    ]
    # A service provider sees their own, as on every page.
    assert [row["name"] for row in used(database, bob, 0, 1).rows()] == ["vc1"]
    assert [row["reservations"] for row in used(database, alice, 0, 1, "project").rows()] == [1]


def test_both_forms_say_the_same(database: Database) -> None:
    make_site(database)
    approved(database, make_account(database))
    made = used(database, None, 0, 24)
    told = json.loads(accounting.as_json(made))
    assert (told["from"], told["to"], told["by"]) == (
        "2026-11-20T12:00:00Z",
        "2026-11-21T12:00:00Z",
        "reservation",
    )
    rows = list(csv.DictReader(io.StringIO(accounting.as_csv(made))))
    assert [{name: str(value) for name, value in row.items()} for row in told["usage"]] == rows
    assert tuple(rows[0]) == made.columns


def test_it_is_one_query_however_much_there_is(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    for number in range(4):
        approved(database, alice, name=f"vc{number}")
    sent: list[str] = []
    sqlalchemy_event.listen(
        database.engine, "before_cursor_execute", lambda *words: sent.append(str(words[2]))
    )
    assert len(used(database, alice, 0, 24).uses) == 4
    assert len(used(database, alice, 0, 24, "project").uses) == 1
    assert len([statement for statement in sent if statement.startswith("SELECT")]) == 2


@pytest.mark.parametrize(
    ("first", "last", "by", "field"),
    [(1, 1, "project", "to"), (2, 1, "project", "to"), (0, 24 * 401, "project", "to"), (0, 1, "host", "by")],
)
def test_a_time_that_is_none_is_told_at_its_field(
    database: Database, first: float, last: float, by: str, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        used(database, None, first, last, by)
    assert list(caught.value.fields) == [field]
