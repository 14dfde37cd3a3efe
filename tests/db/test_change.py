# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Changing what is booked: extended no further than its hosts are free, given away, noted; and quotas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.booking import change, decide
from app.db import event, ledger
from app.db.base import Database
from app.db.reservation import Reservation
from app.db.site import Host
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.settings import Booking, Settings
from tests.factories import NOW, book, make_account, make_site

HOUR = timedelta(hours=1)
LARGE: dict[str, Any] = {"node_count": 2, "memory_mib": 16_000}
SITE = Settings()


def kept(database: Database, booked: int) -> Reservation:
    with database.reading() as session:
        return session.get_one(Reservation, booked)


def test_an_extension_reaches_to_the_next_and_no_further(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    first = book(database, account, name="first", **LARGE)
    book(database, account, name="next", start=NOW + 5 * HOUR, end=NOW + 6 * HOUR, **LARGE)
    assert change.latest_end(database, SITE, account, first, now=NOW).end == NOW + 5 * HOUR
    with pytest.raises(NoRoom, match="until 2026-11-20 17:00 UTC"):
        change.set_end(database, SITE, account, first, 1, NOW + 5 * HOUR + HOUR / 60, now=NOW)
    assert kept(database, first).version == 1
    change.set_end(database, SITE, account, first, 1, NOW + 5 * HOUR, now=NOW)
    row = kept(database, first)
    assert (row.end_at, row.version) == (NOW + 5 * HOUR, 2)
    with database.reading() as session:
        rows = ledger.of_reservation(session, first)
        assert {(one.end_at, one.span) for one in rows} == {
            (NOW + 5 * HOUR, ledger.span_of(NOW, NOW + 5 * HOUR))
        }
        assert event.of_reservation(session, first)[0].kind == "extended"


def test_the_cleaning_gap_is_kept_when_extending(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = Settings(booking=Booking(gap_s=1800))
    first = book(database, account, name="first", settings=settings, **LARGE)
    book(database, account, name="next", settings=settings, start=NOW + 5 * HOUR, end=NOW + 6 * HOUR, **LARGE)
    assert change.latest_end(database, settings, account, first, now=NOW).end == NOW + 4.5 * HOUR


def test_what_is_given_back_by_shrinking_can_be_booked(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    first = book(database, account, name="first", end=NOW + 4 * HOUR, **LARGE)
    later: dict[str, Any] = {"start": NOW + 2 * HOUR, "end": NOW + 3 * HOUR, **LARGE}
    with pytest.raises(NoRoom):
        book(database, account, name="second", **later)
    change.set_end(database, SITE, account, first, 1, NOW + 2 * HOUR, now=NOW)
    book(database, account, name="second", **later)


def test_no_slot_gets_longer_than_the_site_allows(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    booked = book(database, account)
    latest = change.latest_end(database, SITE, account, booked, now=NOW).end
    assert latest == NOW + timedelta(days=SITE.booking.max_days)
    change.set_end(database, SITE, account, booked, 1, latest, now=NOW)
    assert change.latest_end(database, SITE, account, booked, now=NOW).end == latest


def test_a_drained_host_is_not_held_longer(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    booked = book(database, account)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "c1").values(state="drained"))
    assert change.latest_end(database, SITE, account, booked, now=NOW).end == NOW + HOUR


def test_what_is_approved_is_extended_by_a_cluster_provider_unless_the_site_lets_owners(
    database: Database,
) -> None:
    make_site(database)
    account, provider = make_account(database), make_account(database, "carol", "cluster_provider")
    booked = book(database, account)
    decide.approve(database, Settings(), provider, booked, 1, now=NOW)
    with pytest.raises(NotAllowed, match="ask a cluster provider"):
        change.set_end(database, SITE, account, booked, 2, NOW + 2 * HOUR, now=NOW)
    change.set_end(database, SITE, provider, booked, 2, NOW + 2 * HOUR, now=NOW)
    lenient = Settings(booking=Booking(owner_extends=True))
    change.set_end(database, lenient, account, booked, 3, NOW + 3 * HOUR, now=NOW)
    change.set_end(database, SITE, account, booked, 4, NOW + HOUR, now=NOW)
    assert kept(database, booked).end_at == NOW + HOUR


def test_an_old_version_the_past_and_what_is_over_are_refused(database: Database) -> None:
    make_site(database)
    account, provider = make_account(database), make_account(database, "carol", "cluster_provider")
    booked = book(database, account)
    with pytest.raises(Conflict):
        change.set_end(database, SITE, account, booked, 2, NOW + 2 * HOUR, now=NOW)
    with pytest.raises(InvalidRequest):
        change.set_end(database, SITE, account, booked, 1, NOW, now=NOW)
    decide.reject(database, provider, booked, 1, "no", now=NOW)
    with pytest.raises(Conflict):
        change.set_end(database, SITE, account, booked, 2, NOW + 2 * HOUR, now=NOW)
    with pytest.raises(NotFound):
        change.set_end(database, SITE, make_account(database, "bob"), booked, 2, NOW + 2 * HOUR, now=NOW)


def test_a_reservation_is_given_to_another_provider(database: Database) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    booked = book(database, alice)
    with pytest.raises(InvalidRequest):
        change.give(database, Settings(), alice, booked, 1, "nobody", now=NOW)
    change.give(database, Settings(), alice, booked, 1, "bob", now=NOW)
    with pytest.raises(NotFound):
        change.note(database, alice, booked, "mine?", now=NOW)
    change.note(database, bob, booked, "mine", now=NOW)
    with database.reading() as session:
        assert [(one.actor, one.kind) for one in event.of_reservation(session, booked)][:2] == [
            ("bob", "note"),
            ("alice", "given"),
        ]


def test_quotas_say_what_is_left_and_are_not_for_cluster_providers(database: Database) -> None:
    make_site(database)
    account, provider = make_account(database), make_account(database, "carol", "cluster_provider")
    settings = Settings(booking=Booking(quota_nodes=3, quota_node_hours=5, notice_s=1800))
    ask: dict[str, Any] = {"start": NOW + HOUR, "end": NOW + 2 * HOUR, "settings": settings}
    book(database, account, name="first", **ask)
    with pytest.raises(InvalidRequest) as caught:
        book(database, account, name="second", **ask)
    assert "It holds 2 in that time, so 1 are left" in caught.value.fields["node_count"]
    beside = ask | {"start": NOW + 2 * HOUR, "end": NOW + 4 * HOUR}
    with pytest.raises(InvalidRequest) as caught:
        book(database, account, name="second", **beside)
    assert "It holds 2.0 and this is 4.0, so 3.0 are left" in caught.value.fields["node_count"]
    with pytest.raises(InvalidRequest) as caught:
        book(database, account, name="second", settings=settings, node_count=1)
    assert "Ask at least 0.5 hours ahead" in caught.value.fields["start"]
    book(database, provider, name="second", **beside)
    book(database, account, name="third", **ask, node_count=1)


def test_the_latest_end_says_who_has_the_hosts_then_by_name_only_to_who_may_see_it(
    database: Database,
) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    first = book(database, alice, name="first", **LARGE)
    book(database, bob, name="next", start=NOW + 5 * HOUR, end=NOW + 6 * HOUR, **LARGE)
    latest = change.latest_end(database, SITE, alice, first, now=NOW)
    assert [(one.what, one.name, one.until) for one in latest.in_the_way] == [
        ("another project", None, NOW + 6 * HOUR)
    ]
    carol = make_account(database, "carol", "cluster_provider")
    latest = change.latest_end(database, SITE, carol, first, now=NOW)
    assert [one.name for one in latest.in_the_way] == ["next"]
    with pytest.raises(NoRoom) as caught:
        change.set_end(database, SITE, alice, first, 1, NOW + 7 * HOUR, now=NOW)
    assert [one.what for one in caught.value.in_the_way] == ["another project"]


def test_what_was_changed_since_is_told_field_by_field_with_who_and_when(database: Database) -> None:
    make_site(database)
    alice, carol = make_account(database), make_account(database, "carol", "cluster_provider")
    make_account(database, "bob")
    booked = book(database, alice)
    change.note(database, alice, booked, "no new version", now=NOW)
    change.set_end(database, SITE, alice, booked, 1, NOW + 2 * HOUR, now=NOW)
    change.give(database, SITE, carol, booked, 2, "bob", now=NOW + HOUR / 2)
    with pytest.raises(Conflict, match="changed since") as caught:
        decide.approve(database, SITE, carol, booked, 1, now=NOW + 0.75 * HOUR)
    assert [(d.field, d.before, d.after, d.by, d.at) for d in caught.value.differences] == [
        ("end", (NOW + HOUR).isoformat(), (NOW + 2 * HOUR).isoformat(), "alice", NOW),
        ("owner", "alice", "bob", "carol", NOW + HOUR / 2),
    ]
    with pytest.raises(Conflict) as caught:
        decide.reject(database, carol, booked, 2, "no", now=NOW + 0.75 * HOUR)
    assert [d.field for d in caught.value.differences] == ["owner"]
    decide.approve(database, SITE, carol, booked, 3, now=NOW + 0.75 * HOUR)
    with pytest.raises(Conflict, match="it is approved") as caught:
        decide.reject(database, carol, booked, 3, "no", now=NOW + 0.75 * HOUR)
    assert [(d.field, d.before, d.after) for d in caught.value.differences] == [
        ("state", "requested", "approved")
    ]
    with pytest.raises(Conflict) as caught:
        change.set_end(database, SITE, carol, booked, 99, NOW + 3 * HOUR, now=NOW)
    assert caught.value.differences == ()
