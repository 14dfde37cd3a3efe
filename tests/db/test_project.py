# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Projects and policies: ceilings that members share, rules that approve, and nobody's own approval."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.booking import account as accounts
from app.booking import change, decide, project
from app.db import event
from app.db import project as projects
from app.db.account import by_name
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.approval import AutoApprove
from app.domain.errors import InvalidRequest, NotAllowed, NotFound
from app.settings import Booking, Settings
from tests.factories import NOW, PASSWORD, book, make_account, make_site

HOUR = timedelta(hours=1)


def own(database: Database, name: str, **ceilings: int | None) -> None:
    project.set_ceilings(database, name, ceilings, by="test", now=NOW)


def test_an_account_gets_a_project_of_its_own_name_or_the_one_that_is_said(database: Database) -> None:
    accounts.create(database, "ann", "service_provider", PASSWORD, now=NOW)
    accounts.create(database, "bea", "service_provider", PASSWORD, project="ann", now=NOW)
    with pytest.raises(InvalidRequest, match="no project 'nowhere'"):
        accounts.create(database, "cy", "service_provider", PASSWORD, project="nowhere", now=NOW)
    project.add(database, "dan", {}, by="test", now=NOW)
    with pytest.raises(InvalidRequest, match="a project 'dan' already"):
        accounts.create(database, "dan", "service_provider", PASSWORD, now=NOW)
    with database.reading() as session:
        of = {row.name: row.id for row in projects.projects(session)}
        ann, bea = by_name(session, "ann"), by_name(session, "bea")
        assert ann is not None
        assert bea is not None
        assert ann.project_id == bea.project_id == of["ann"]
        assert by_name(session, "cy") is by_name(session, "dan") is None


def test_members_of_a_project_share_its_ceilings_and_others_do_not(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    bob = make_account(database, "bob", project=alice.project)
    eve = make_account(database, "eve")
    own(database, "alice", nodes=2)
    book(database, alice, name="first")
    with pytest.raises(InvalidRequest, match="may have 2 compute nodes at once"):
        book(database, bob, name="second")
    book(database, eve, name="second")


def test_a_project_s_own_ceiling_stands_before_the_site_s(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    strict = Settings(booking=Booking(quota_nodes=0))
    with pytest.raises(InvalidRequest) as caught:
        book(database, alice, settings=strict)
    assert list(caught.value.fields) == ["node_count"]
    own(database, "alice", nodes=2)
    book(database, alice, settings=strict)
    own(database, "alice", nodes=None, reservations=1)
    with pytest.raises(InvalidRequest) as caught:
        book(database, alice, settings=strict, name="more", start=NOW + 9 * HOUR, end=NOW + 10 * HOUR)
    assert set(caught.value.fields) == {"node_count", "start"}


@pytest.mark.parametrize("ceilings", [{"nodes": -1}, {"nodes": 2**31}, {"no_such": 1}])
def test_absurd_ceilings_are_refused_and_change_nothing(database: Database, ceilings: dict[str, int]) -> None:
    make_account(database)
    with pytest.raises(InvalidRequest) as caught:
        own(database, "alice", **ceilings)
    assert set(caught.value.fields) == set(ceilings)
    with pytest.raises(NotFound):
        own(database, "nobody", nodes=1)
    with database.reading() as session:
        assert projects.projects(session)[0].nodes is None


def test_an_extension_counts_against_the_ceilings_and_shortening_never_does(database: Database) -> None:
    make_site(database)
    alice, carol = make_account(database), make_account(database, "carol", "cluster_provider")
    settings = Settings()
    booked = book(database, alice)
    own(database, "alice", length_hours=2, node_hours=4, notice_s=7200, reservations=1)
    change.set_end(database, settings, alice, booked, 1, NOW + 2 * HOUR, now=NOW)
    for version, end, field in ((2, 3 * HOUR, "end"), (2, 2.5 * HOUR, "node_count")):
        with pytest.raises(InvalidRequest) as caught:
            change.set_end(database, settings, alice, booked, version, NOW + end, now=NOW)
        assert field in caught.value.fields
    own(database, "alice", nodes=0)
    change.set_end(database, settings, alice, booked, 2, NOW + HOUR, now=NOW)
    change.set_end(database, settings, carol, booked, 3, NOW + 3 * HOUR, now=NOW)


def test_what_is_given_away_counts_for_the_taker_s_project_from_then_on(database: Database) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    booked = book(database, alice)
    own(database, "bob", nodes=1)
    with pytest.raises(InvalidRequest, match="may have 1 compute nodes"):
        change.give(database, Settings(), alice, booked, 1, "bob", now=NOW)
    own(database, "bob", nodes=2)
    change.give(database, Settings(), alice, booked, 1, "bob", now=NOW)
    with database.reading() as session:
        assert session.get_one(Reservation, booked).project_id == bob.project_id
    own(database, "alice", reservations=1)
    book(database, alice, name="again", start=NOW + HOUR, end=NOW + 2 * HOUR)


def test_an_account_that_moves_leaves_what_it_booked_behind(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    booked = book(database, alice)
    project.add(database, "physics", {"nodes": 9}, by="test", now=NOW)
    project.move_account(database, "alice", "physics", by="test", now=NOW)
    with database.reading() as session:
        moved = by_name(session, "alice")
        assert moved is not None
        assert projects.name_of(session, moved.project_id) == "physics"
        assert projects.name_of(session, session.get_one(Reservation, booked).project_id) == "alice"
    for name, to in (("nobody", "physics"), ("alice", "nowhere")):
        with pytest.raises(NotFound):
            project.move_account(database, name, to, by="test", now=NOW)


RULES = Settings(
    booking=Booking(auto_approve=(AutoApprove("small", nodes=2, hours=1), AutoApprove("physics", "physics")))
)


def test_a_rule_approves_in_the_same_transaction_and_is_named(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    booked = book(database, alice, settings=RULES)
    larger = book(database, alice, settings=RULES, name="larger", node_count=3)
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert (row.state, row.decided_at, row.decided_by_id) == ("approved", NOW, None)
        last = event.of_reservation(session, booked)[0]
        assert (last.actor, last.kind) == ("rule:small", "approved")
        assert "'small'" in last.message
        assert session.get_one(Reservation, larger).state == "requested"


def test_nobody_approves_their_own_where_the_site_forbids_it(database: Database) -> None:
    make_site(database)
    carol = make_account(database, "carol", "cluster_provider")
    other = make_account(database, "otto", "cluster_provider")
    strict = replace(Settings(), booking=Booking(own_approval=False))
    booked = book(database, carol)
    with pytest.raises(NotAllowed, match="your own"):
        decide.approve(database, strict, carol, booked, 1, now=NOW)
    with database.reading() as session:
        assert session.get_one(Reservation, booked).state == "requested"
    decide.approve(database, strict, other, booked, 1, now=NOW)
    again: dict[str, Any] = {"name": "again", "start": NOW + HOUR, "end": NOW + 2 * HOUR}
    decide.approve(database, Settings(), carol, book(database, carol, **again), 1, now=NOW)
