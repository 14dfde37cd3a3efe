# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The schedule pass and the claims of the others, on rows alone: no host is called here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update

from app.booking import change, decide
from app.booking.accounting import report
from app.db import ledger, resource, site
from app.db.base import Database
from app.db.event import Event
from app.db.look import Look
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.errors import NoRoom
from app.domain.slot import Slot
from app.settings import Network, Settings
from tests.factories import NOW, book, make_account, make_resource, make_site
from workers.engine.advance import AGAIN, Laid, advance
from workers.plan.layout import Row

LEASE = timedelta(seconds=60)
HOUR = timedelta(hours=1)


def lay_out(row: Reservation, hosts: dict[int, Host], network_id: int, address: int) -> Laid:
    """Three things in a row, one for each node: a link, a volume and a guest that needs both."""
    frontend, node1, node2 = (node.id for node in row.nodes)
    link = Row("c1", "vxlan", f"lh{row.id}-br", "link", {"vni": network_id}, node_id=frontend)
    volume = Row("st1", "file", f"lh{row.id}-root", "volume", {}, node_id=node1)
    needs = (link.key, volume.key)
    guest = Row("c1", "domain", f"lh{row.id}-node1", "guest", {"address": address}, needs, node_id=node2)
    return Laid([link, volume, guest], "ssh-ed25519 AAAA")


@pytest.fixture
def booked(database: Database) -> Iterator[int]:
    """An approved reservation of the slot [NOW, NOW + 1 h), at NOW; the site is `make_site`."""
    with time_machine.travel(NOW, tick=False):
        make_site(database)
        made = book(database, make_account(database))
        decide.approve(
            database, Settings(), make_account(database, "carol", "cluster_provider"), made, 1, now=NOW
        )
        yield made


def go(database: Database, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
    advance(database, settings, lay_out)


def state(database: Database, reservation_id: int) -> str:
    with database.reading() as session:
        return session.get_one(Reservation, reservation_id).state


def claimed(database: Database, pass_name: str, owner: str = "me", **over: datetime) -> list[str]:
    with database.writing() as session:
        rows = resource.claim(session, pass_name, owner, over.get("now", datetime.now(UTC)), LEASE)
        return [row.name for row in rows]


def settle(database: Database, name_part: str, have: str, owner: str = "me", **values: Any) -> bool:
    with database.writing() as session:
        row = session.scalars(select(Resource).where(Resource.name.contains(name_part))).one()
        return resource.settle(session, row.id, owner, "present", {"have": have, **values})


def test_building_takes_numbers_and_writes_rows_with_their_needs(database: Database, booked: int) -> None:
    go(database)
    assert state(database, booked) == "building"
    with database.reading() as session:
        assert site.assignments(session, booked).keys() == {
            ("network_id", "private"),
            ("public_address", "frontend"),
        }
        assert [row.op for row in resource.of_reservation(session, booked)] == ["vxlan", "file", "domain"]


def test_a_row_is_due_only_when_what_it_needs_is_present(database: Database, booked: int) -> None:
    go(database)
    assert claimed(database, "machine") == []
    assert claimed(database, "network") == [f"lh{booked}-br"]
    assert claimed(database, "storage") == [f"lh{booked}-root"]
    settle(database, "-br", "present")
    assert claimed(database, "machine") == []
    settle(database, "-root", "present")
    assert claimed(database, "machine") == [f"lh{booked}-node1"]


def test_a_claimed_row_is_unknown_and_nobody_elses_until_the_lease_is_over(
    database: Database, booked: int
) -> None:
    go(database)
    assert claimed(database, "network")
    with database.reading() as session:
        assert resource.of_reservation(session, booked)[0].have == "unknown"
    assert claimed(database, "network", "other") == []
    later = NOW + LEASE
    assert claimed(database, "network", "other", now=later) == [f"lh{booked}-br"]
    assert not settle(database, "-br", "present", owner="me"), "the one that lost its lease may not write"
    assert settle(database, "-br", "present", owner="other")


def test_a_disk_is_copied_in_a_batch_of_its_own(database: Database, booked: int) -> None:
    with database.reading() as session:
        st1 = site.host_by_name(session, "st1")
    assert st1
    for name, op in (("a", "tgt"), ("b", "tgt"), ("c", "file"), ("d", "tgt"), ("e", "file")):
        make_resource(database, st1, booked, op, name=name)
    batches = [claimed(database, "storage") for _ in range(4)]
    assert batches == [["a", "b"], ["c"], ["d"], ["e"]]


def test_many_claim_at_once_and_each_row_goes_to_one(database: Database, booked: int) -> None:
    go(database)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: claimed(database, "network", f"pass{n}", now=NOW), range(16)))
    assert sum(len(names) for names in results) == 1


def test_ready_when_all_is_present_and_ended_when_all_is_gone(database: Database, booked: int) -> None:
    go(database)
    with database.writing() as session:
        session.execute(update(Resource).values(have="present"))
    go(database)
    assert state(database, booked) == "ready"
    with time_machine.travel(NOW + HOUR, tick=False):
        go(database)
        assert state(database, booked) == "ending"
        with database.reading() as session:
            assert {row.want for row in resource.of_reservation(session, booked)} == {"absent"}
            assert site.assignments(session, booked), "no number is free while anything may stand"
            assert ledger.taken(session, Slot(NOW + HOUR, NOW + 2 * HOUR), NOW + HOUR)
        assert claimed(database, "network") == [], "the link stays while the guest is there"
        assert claimed(database, "machine") == [f"lh{booked}-node1"]
        with database.writing() as session:
            session.execute(update(Resource).values(have="absent"))
        go(database)
        assert state(database, booked) == "ended"
        with database.reading() as session:
            assert site.assignments(session, booked) == {}
            assert ledger.taken(session, Slot(NOW, NOW + 2 * HOUR), NOW + HOUR) == []


def cancel_half_built(database: Database, booked: int) -> None:
    """Cancel it while a call about its network is under way."""
    go(database)
    claimed(database, "network")
    with database.reading() as session:
        owner = session.get_one(Reservation, booked).owner
    decide.cancel(database, owner, booked, now=NOW)
    go(database)


def test_cancel_half_built_takes_down_what_may_stand(database: Database, booked: int) -> None:
    cancel_half_built(database, booked)
    assert state(database, booked) == "ending"
    # Never claimed: nothing to remove. Claimed and never answered for: unknown, so it is removed.
    assert claimed(database, "storage") == []
    assert claimed(database, "network", now=NOW + LEASE) == [f"lh{booked}-br"]


def test_backoff_of_a_call_under_way_when_it_was_cancelled_does_not_hold_up_the_end(
    database: Database, booked: int
) -> None:
    cancel_half_built(database, booked)
    assert settle(database, "-br", "unknown", retry_at=NOW + HOUR, failures=8)
    assert claimed(database, "network") == [f"lh{booked}-br"]
    with database.reading() as session:
        assert {row.failures for row in resource.of_reservation(session, booked)} == {0}


def test_backoff_stands_while_the_same_is_wanted(database: Database, booked: int) -> None:
    go(database)
    claimed(database, "network")
    assert settle(database, "-br", "unknown", retry_at=NOW + HOUR, failures=8)
    assert claimed(database, "network") == []
    assert claimed(database, "network", now=NOW + HOUR) == [f"lh{booked}-br"]
    assert settle(database, "-br", "present", retry_at=None, failures=0)
    with database.reading() as session:
        (link, *_) = resource.of_reservation(session, booked)
        assert (link.have, link.retry_at, link.failures) == ("present", None, 0)


def test_with_no_number_free_it_waits_and_says_so(database: Database, booked: int) -> None:
    settings = Settings(network=Network(first_id=1000, last_id=1000))
    with database.writing() as session:
        owner = session.get_one(Reservation, booked).owner
    other = book(database, owner, name="other", end=NOW + 2 * HOUR)
    with database.writing() as session:
        site.assign(session, "network_id", other, "private", 1000, 1000)
    go(database, settings)
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert (row.state, row.why) == ("approved", "Waits for a free network ID.")


def neighbours(database: Database, booked: int) -> int:
    """Another cluster in the hour after the booked one; each takes all of both compute hosts. Returns its id."""
    provider = make_account(database, "dora", "cluster_provider")
    with database.writing() as session:
        owner = session.get_one(Reservation, booked).owner
    decide.cancel(database, owner, booked, now=NOW)
    go(database)
    first, second = (
        book(database, owner, name=name, vcpus=8, start=NOW + hours * HOUR, end=NOW + (hours + 1) * HOUR)
        for hours, name in enumerate(("first", "second"), start=1)
    )
    for number in (first, second):
        decide.approve(database, Settings(), provider, number, 1, now=NOW)
    with time_machine.travel(NOW + HOUR, tick=False):
        go(database)
        with database.writing() as session:
            session.execute(update(Resource).values(have="present", present_at=NOW))
        go(database)
    assert (state(database, first), state(database, second)) == ("ready", "approved")
    return second


def why(database: Database, reservation_id: int) -> str | None:
    with database.reading() as session:
        return session.get_one(Reservation, reservation_id).why


def test_before_its_slot_a_cluster_is_built_only_beside_what_is_there_until_then(
    database: Database, booked: int
) -> None:
    second = neighbours(database, booked)
    with time_machine.travel(NOW + 2 * HOUR - timedelta(minutes=5), tick=False):
        go(database)
        assert state(database, second) == "approved"
        assert why(database, second) == (
            "Waits for room on c1, c2: other clusters are there until 2026-11-20 14:00 UTC."
        )
        with database.reading() as session:
            assert resource.of_reservation(session, second) == []
            assert site.assignments(session, second) == {}
    with time_machine.travel(NOW + 2 * HOUR, tick=False):
        go(database)
        assert state(database, second) == "approved"
        told = "another cluster is past its end and not gone from there yet"
        assert why(database, second) == f"Waits for room on c1: {told}.", "on c2 it had nothing"
        with database.writing() as session:
            machines = update(Resource).where(Resource.pass_name == "machine")
            session.execute(machines.values(have="absent"))
    with time_machine.travel(NOW + 2 * HOUR + AGAIN, tick=False):
        go(database)
        assert state(database, second) == "building", (
            "what the first still has there is nothing that this one needs"
        )
        assert why(database, second) is None


def test_what_is_built_before_its_slot_holds_its_place_from_then_on_and_pays_from_its_start(
    database: Database, booked: int
) -> None:
    second = neighbours(database, booked)
    early = NOW + 2 * HOUR - timedelta(minutes=5)
    with database.writing() as session:
        first = session.scalars(select(Reservation).where(Reservation.name == "first")).one()
        owner = first.owner
    decide.cancel(database, owner, first.id, now=NOW + HOUR)
    with time_machine.travel(early, tick=False):
        go(database)
        with database.writing() as session:
            session.execute(update(Resource).values(have="absent"))
    early += AGAIN
    with time_machine.travel(early, tick=False):
        go(database)
        assert state(database, second) == "building"
        with pytest.raises(NoRoom):
            book(database, owner, name="third", end=NOW + 2 * HOUR, now=early)
        with database.reading() as session:
            assert {one.start for one in ledger.held_by(session, second)} == {early}
    until = NOW + 3 * HOUR
    made = report(database, Settings(), owner, NOW, until, "reservation")
    assert {row["name"]: row["node_hours"] for row in made.rows()}["second"] == 2.0
    change.set_end(database, Settings(), owner, second, 3, NOW + 2.5 * HOUR, now=early)
    with database.reading() as session:
        held = ledger.taken(session, Slot(early, early + timedelta(minutes=1)), early)
        assert {one.end for one in held} == {NOW + 2.5 * HOUR}


def test_a_number_that_something_else_has_is_left_out(database: Database, booked: int) -> None:
    go(database, Settings(network=Network(first_id=1000, last_id=1001, exclude_ids=(1000,))))
    with database.reading() as session:
        assert site.assignments(session, booked)["network_id", "private"] == 1001


def test_what_cannot_go_on_is_left_alone_for_a_while(
    database: Database, database_url: str, booked: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = []

    def broken(row: Reservation, *_: object) -> Laid:
        tries.append(row.id)
        raise RuntimeError("no such roll")

    with time_machine.travel(NOW, tick=False) as clock, Look(database_url) as look:
        for _ in range(3):
            advance(database, Settings(), broken)
            assert not look.is_due("schedule", timedelta(0))
        clock.shift(AGAIN)
        assert look.is_due("schedule", timedelta(0))
        advance(database, Settings(), broken)
        assert tries == [booked] * 2
        assert capsys.readouterr().err.count("RuntimeError: no such roll") == 1, "one traceback for one cause"
        clock.shift(AGAIN)
        go(database)
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert (row.state, row.why, row.retry_at) == ("building", None, None)


def test_a_shared_thing_that_failed_is_given_up_with_the_last_cluster_that_needs_it(
    database: Database, booked: int
) -> None:
    image = Row("st1", "image", "compute-1", "image", {}, is_shared=True)
    other = Row("st1", "image", "frontend-1", "image", {}, is_shared=True)

    def with_images(row: Reservation, *_: object) -> Laid:
        needs = (image.key, other.key)
        volumes = [
            Row("st1", "file", f"lh{row.id}-{node.name}", "volume", {}, needs, node_id=node.id)
            for node in row.nodes
        ]
        return Laid([image, other, *volumes], "ssh-ed25519 AAAA")

    def wanted() -> dict[str, str]:
        with database.reading() as session:
            shared = session.scalars(select(Resource).where(Resource.reservation_id.is_(None)))
            return {row.name: row.want for row in shared}

    def cancel(reservation_id: int) -> None:
        with database.writing() as session:
            session.get_one(Reservation, reservation_id).cancel_requested_at = NOW
        advance(database, Settings(), with_images)

    with database.reading() as session:
        owner = session.get_one(Reservation, booked).owner
    second = book(database, owner, name="second")
    decide.approve(
        database, Settings(), make_account(database, "dora", "cluster_provider"), second, 1, now=NOW
    )
    advance(database, Settings(), with_images)
    claimed(database, "image")
    settle(database, "compute-1", "unknown", failures=7, error_code="image_failed", retry_at=NOW + HOUR)
    settle(database, "frontend-1", "present", present_at=NOW)
    cancel(booked)
    assert wanted() == {"compute-1": "present", "frontend-1": "present"}, "the second still needs both"
    cancel(second)
    assert wanted() == {"compute-1": "absent", "frontend-1": "present"}
    assert claimed(database, "image") == ["compute-1"]


def test_what_fails_on_one_leaves_the_other_alone(database: Database, booked: int) -> None:
    with database.reading() as session:
        owner = session.get_one(Reservation, booked).owner
    other = book(database, owner, name="other")
    provider = make_account(database, "dora", "cluster_provider")
    decide.approve(database, Settings(), provider, other, 1, now=NOW)

    def broken(row: Reservation, *rest: object) -> Laid:
        if row.id == booked:
            raise RuntimeError("no such roll")
        return lay_out(row, *rest)  # type: ignore[arg-type]

    for _ in range(2):
        advance(database, Settings(), broken)
    assert (state(database, booked), state(database, other)) == ("approved", "building")
    with database.reading() as session:
        events = session.scalars(select(Event).where(Event.kind == "bug")).all()
        assert [event.reservation_id for event in events] == [booked], "told once, not at every pass"


def test_the_bare_look_agrees_with_what_can_be_claimed(
    database: Database, database_url: str, booked: int
) -> None:
    with time_machine.travel(NOW, tick=False), Look(database_url) as look:
        is_due = look.is_due
        assert is_due("schedule", timedelta(0))
        go(database)
        assert not is_due("schedule", timedelta(0))
        assert is_due("network", timedelta(0))
        assert not is_due("machine", timedelta(0))
        claimed(database, "network")
        assert not is_due("network", timedelta(0))
        with database.writing() as session:
            session.execute(update(Resource).values(have="present", lease_owner=None, lease_until=None))
        assert is_due("schedule", timedelta(0))
        go(database)
        assert not is_due("schedule", timedelta(0))
    with time_machine.travel(NOW + HOUR, tick=False), Look(database_url) as look:
        assert look.is_due("schedule", timedelta(0))


def test_a_suspect_host_is_left_alone_for_a_while(database: Database, booked: int) -> None:
    go(database)
    with database.writing() as session:
        session.execute(update(Host).values(suspect_until=NOW + LEASE))
    assert claimed(database, "network") == []
    assert claimed(database, "network", now=NOW + LEASE) == [f"lh{booked}-br"]


def test_of_a_silent_host_the_first_thing_that_stands_is_asked_for_again(
    database: Database, database_url: str, booked: int
) -> None:
    go(database)
    minute = timedelta(minutes=1)
    for pass_name in ("network", "storage"):
        claimed(database, pass_name)
    settle(database, "-br", "present")
    settle(database, "-root", "present")

    def asked(pass_name: str, now: datetime) -> list[str]:
        with Look(database_url, minute.total_seconds()) as look:
            is_due = look.is_due(pass_name, timedelta(0), now)
        with database.writing() as session:
            rows = resource.claim(session, pass_name, "me", now, LEASE, (), minute)
            names = [row.name for row in rows]
            assert all(row.have == "present" for row in rows)
            session.rollback()
        assert is_due == bool(names)
        return names

    def heard(at: datetime) -> None:
        with database.writing() as session:
            session.execute(update(Host).values(last_seen_at=at))

    heard(NOW)
    assert [asked(name, NOW + minute / 2) for name in ("network", "storage")] == [[], []]
    assert [asked(name, NOW + minute) for name in ("network", "storage")] == [
        [f"lh{booked}-br"],
        [f"lh{booked}-root"],
    ]
    with Look(database_url) as look:
        assert not look.is_due("network", timedelta(0), NOW + minute), "where hosts are not to be looked at"
    heard(NOW + minute)
    assert asked("network", NOW + minute) == [], "somebody has heard from it meanwhile"
