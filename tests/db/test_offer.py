# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers: both versions are kept, both are held while the offer is open, and one of them in the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.booking import change, decide, offer, replace, resize, room
from app.db import event, ledger, reservation
from app.db import offer as offers
from app.db.account import Account
from app.db.base import Database
from app.db.ledger import SITE, Allocation
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.db.site import Host
from app.domain.capacity import Taken, peaks
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.offer import Terms
from app.domain.roll import Seats
from app.domain.slot import Slot
from app.settings import Booking, Settings
from tests.factories import NOW, ROLLS, SHAPE_KEYS, book, make_account, make_site, wish

HOUR = timedelta(hours=1)
PLAIN = Settings()
WHY = "Two hours later there is more room."


def people(database: Database) -> tuple[Account, Account]:
    """Alice, who asks, and carol, who decides; at the usual small site."""
    make_site(database)
    return make_account(database), make_account(database, "carol", "cluster_provider")


def terms(**over: Any) -> dict[str, Any]:
    """What is offered: what `wish` asks for, but for what is said."""
    keys = ("start", "end", "home_gib", "rolls", "groups", *SHAPE_KEYS)
    return {key: value for key, value in wish(**over).items() if key in keys}


def make(database: Database, carol: Account, number: int, seen: int = 1, **over: Any) -> None:
    settings, now = over.pop("settings", PLAIN), over.pop("now", NOW)
    offer.make(database, settings, carol, number, seen, terms(**over), WHY, rolls=ROLLS, now=now)


def row_of(database: Database, number: int) -> Reservation:
    with database.reading() as session:
        row = session.get_one(Reservation, number)
        row.nodes, row.groups  # noqa: B018 - loaded while there is a session
        return row


def offers_to(database: Database, number: int) -> list[Offer]:
    with database.reading() as session:
        return list(offers.of_reservation(session, number))


def held(database: Database) -> list[Taken]:
    """All that is held, of everybody, offers included."""
    with database.reading() as session:
        rows = session.query(Allocation).where(Allocation.released_at.is_(None)).all()
    return [Taken(a.host_id or SITE, a.resource, a.amount, a.start_at, a.end_at) for a in rows]


def of_itself(database: Database, number: int) -> set[Taken]:
    with database.reading() as session:
        return set(ledger.held_by(session, number))


def test_an_accepted_offer_is_what_is_booked_and_approved_and_both_versions_are_kept(
    database: Database,
) -> None:
    alice, carol = people(database)
    number = book(database, alice, node_count=2, rolls=["nfs"])
    later: dict[str, Any] = {
        "start": NOW + 2 * HOUR,
        "end": NOW + 4 * HOUR,
        "node_count": 3,
        "vcpus": 2,
        "home_gib": 2,
    }
    make(database, carol, number, **later)
    assert row_of(database, number).state == "requested"
    offer.accept(database, PLAIN, alice, number, 2, now=NOW + HOUR / 2)
    row = row_of(database, number)
    assert (row.state, row.start_at, row.end_at, row.home_gib, row.rolls) == (
        "approved",
        NOW + 2 * HOUR,
        NOW + 4 * HOUR,
        2,
        ["nfs", "slurm"],
    )
    assert [(node.name, node.vcpus) for node in row.nodes[1:]] == [("node1", 2), ("node2", 2), ("node3", 2)]
    assert (row.decided_by_id, row.decided_at, row.version) == (carol.id, NOW + HOUR / 2, 3)
    # The ledger holds what was offered, in its slot, and nothing else.
    assert {(one.start, one.end) for one in held(database)} == {(NOW + 2 * HOUR, NOW + 4 * HOUR)}
    assert sum(one.amount for one in held(database) if one.resource == "vcpu") == 7
    assert sum(one.amount for one in held(database) if one.resource == ledger.NODE) == 3
    (made,) = offers_to(database, number)
    asked, offered = Terms.of_data(made.asked), Terms.of_data(made.offered)
    assert (asked.slot, asked.shape.most, asked.shape.rolls) == (Slot(NOW, NOW + HOUR), 2, ("nfs",))
    assert (offered.slot, offered.shape.most) == (Slot(NOW + 2 * HOUR, NOW + 4 * HOUR), 3)
    assert (made.answer, made.answered_at, made.message) == ("accepted", NOW + HOUR / 2, WHY)
    with database.reading() as session:
        told = event.of_reservation(session, number)
        assert [(one.actor, one.kind) for one in told][:2] == [("alice", "accepted"), ("carol", "offered")]
        assert set(told[0].data["changed"]) == {"state", "start", "end", "nodes", "home_gib", "rolls"}


def test_a_declined_offer_leaves_the_request_open_as_it_was(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice)
    before, hold = of_itself(database, number), row_of(database, number).hold_until
    make(database, carol, number, start=NOW + HOUR, end=NOW + 3 * HOUR)
    assert of_itself(database, number) == before
    assert set(held(database)) > before
    offer.decline(database, alice, number, 2, "The class is on Friday.", now=NOW)
    row = row_of(database, number)
    assert (row.state, row.start_at, row.hold_until, row.version) == ("requested", NOW, hold, 3)
    assert set(held(database)) == before
    assert [(one.answer, one.reason) for one in offers_to(database, number)] == [
        ("declined", "The class is on Friday.")
    ]
    decide.approve(database, PLAIN, carol, number, 3, now=NOW)


def test_while_an_offer_is_open_both_places_are_held_and_not_more(database: Database) -> None:
    alice, carol = people(database)
    whole: dict[str, Any] = {"node_count": 2, "memory_mib": 16_000}
    number = book(database, alice, end=NOW + 2 * HOUR, **whole)
    # The same hosts an hour later: two clusters of this size would not be there at once.
    make(database, carol, number, start=NOW + HOUR, end=NOW + 3 * HOUR, **whole)
    most = peaks(held(database), Slot(NOW, NOW + 3 * HOUR))
    assert {amount for (_, resource), amount in most.items() if resource == "memory_mib"} == {
        16_000 + room.GUEST_OVERHEAD_MIB,
        PLAIN.booking.frontend_memory_mib + room.GUEST_OVERHEAD_MIB,
    }
    for start in (NOW, NOW + 2 * HOUR):
        with pytest.raises(NoRoom):
            book(database, alice, name="other", start=start, end=start + HOUR, **whole)
    book(database, alice, name="other", start=NOW + 3 * HOUR, end=NOW + 4 * HOUR, **whole)
    offer.decline(database, alice, number, 2, now=NOW)
    book(database, alice, name="between", start=NOW + 2 * HOUR, end=NOW + 3 * HOUR, **whole)


def test_seats_of_a_roll_that_is_offered_besides_are_held(database: Database) -> None:
    alice, carol = people(database)
    settings = Settings(booking=Booking(seats=(Seats("slurm", 2),)))
    number = book(database, alice, settings=settings, rolls=[])
    make(database, carol, number, settings=settings, rolls=["slurm"])
    with pytest.raises(NoRoom, match="licence seats"):
        book(database, alice, name="other", settings=settings, rolls=["slurm"])
    offer.accept(database, settings, alice, number, 2, now=NOW)
    assert ("seat:slurm", 2) in {(one.resource, one.amount) for one in held(database)}


def test_an_offer_without_room_says_what_is_short_and_changes_nothing(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice)
    book(database, carol, name="big", start=NOW + HOUR, end=NOW + 2 * HOUR, node_count=2, memory_mib=16_000)
    with pytest.raises(NoRoom) as caught:
        make(database, carol, number, start=NOW + HOUR, end=NOW + 2 * HOUR)
    assert [one.name for one in caught.value.in_the_way] == ["big"]
    assert [one.kind for one in caught.value.alternatives] == ["later"]
    assert (offers_to(database, number), row_of(database, number).version) == ([], 1)


def test_an_elastic_offer_keeps_its_bounds_and_has_what_there_is_room_for_when_it_is_accepted(
    database: Database,
) -> None:
    alice, carol = people(database)
    each: dict[str, Any] = {"memory_mib": 8_000, "start": NOW + HOUR, "end": NOW + 2 * HOUR}
    other = book(database, alice, name="other", **each | {"node_count": 2})
    number = book(database, alice, node_count=4, least=1, node_names=["a", "b", "c", "d"], **each)
    assert len(row_of(database, number).nodes) == 3
    make(database, carol, number, node_count=4, least=2, vcpus=2, **each)
    (made,) = offers_to(database, number)
    asked, offered = Terms.of_data(made.asked), Terms.of_data(made.offered)
    assert [(one.least, one.most) for one in (asked.shape.groups[0], offered.shape.groups[0])] == [
        (1, 4),
        (2, 4),
    ]
    assert offer.held_for(made).most == 2
    decide.cancel(database, alice, other, now=NOW)
    with database.writing(ledger=True) as session:
        ledger.release(session, other, NOW)
    offer.accept(database, PLAIN, alice, number, 2, now=NOW)
    row = row_of(database, number)
    assert [(one.least, one.most) for one in row.groups] == [(2, 4)]
    assert [(node.name, node.vcpus) for node in row.nodes[1:]] == [(f"node{n}", 2) for n in range(1, 5)]
    with database.reading() as session:
        assert sum(one.amount for one in ledger.held_by(session, number) if one.resource == "vcpu") == 9
        assert (
            event.of_reservation(session, number)[0]
            .data["changed"]["nodes"][1]
            .startswith("node: node1, node2, node3, node4")
        )


def test_an_elastic_offer_never_comes_to_less_than_was_held_for_it(database: Database) -> None:
    alice, carol = people(database)
    each: dict[str, Any] = {"memory_mib": 8_000, "start": NOW + HOUR, "end": NOW + 2 * HOUR}
    book(database, alice, name="other", **each | {"node_count": 1})
    number = book(database, alice, node_count=1, **each)
    make(database, carol, number, node_count=4, least=1, **each)
    (made,) = offers_to(database, number)
    assert offer.held_for(made).most == 3
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "c1").values(state="drained"))
    offer.accept(database, PLAIN, alice, number, 2, now=NOW)
    nodes = row_of(database, number).nodes
    assert {node.name: node.host_id for node in nodes}.items() <= made.hosts.items()
    assert len(nodes) == 4


def test_what_was_asked_for_within_bounds_is_no_offer_and_other_bounds_are(database: Database) -> None:
    alice, carol = people(database)
    times: dict[str, Any] = {"start": NOW + HOUR, "end": NOW + 2 * HOUR}
    number = book(database, alice, node_count=4, least=2, memory_mib=8_000, **times)
    with pytest.raises(InvalidRequest, match="what was asked for"):
        make(database, carol, number, node_count=4, least=2, memory_mib=8_000, **times)
    make(database, carol, number, node_count=4, least=3, memory_mib=8_000, **times)


@pytest.mark.parametrize(
    ("over", "message", "field"),
    [
        ({"node_count": 0}, WHY, "node_count"),
        ({"end": NOW - HOUR}, WHY, "end"),
        ({"rolls": ["none-such"]}, WHY, "rolls"),
        ({}, WHY, "start"),
        ({"node_count": 1}, "  ", "message"),
        ({"node_count": 1}, "x" * 2001, "message"),
    ],
)
def test_what_cannot_be_offered_is_told_by_field(
    database: Database, over: dict[str, Any], message: str, field: str
) -> None:
    alice, carol = people(database)
    number = book(database, alice)
    with pytest.raises(InvalidRequest) as caught:
        offer.make(database, PLAIN, carol, number, 1, terms(**over), message, rolls=ROLLS, now=NOW)
    assert list(caught.value.fields) == [field]
    assert (offers_to(database, number), row_of(database, number).version) == ([], 1)


def test_each_does_only_what_is_theirs(database: Database) -> None:
    alice, carol = people(database)
    bob, strict = make_account(database, "bob"), Settings(booking=Booking(own_approval=False))
    number, own = book(database, alice), book(database, carol, name="own")
    with pytest.raises(NotAllowed):
        make(database, alice, number, node_count=1)
    with pytest.raises(NotAllowed, match="your own"):
        make(database, carol, own, node_count=1, settings=strict)
    make(database, carol, number, node_count=1)
    for other, refusal in ((bob, NotFound), (carol, NotAllowed)):
        with pytest.raises(refusal):
            offer.accept(database, PLAIN, other, number, 2, now=NOW)
    with pytest.raises(NotFound):
        offer.decline(database, bob, number, 2, now=NOW)
    offer.decline(database, carol, number, 2, now=NOW)
    assert [one.answer for one in offers_to(database, number)] == ["withdrawn"]


def test_deciding_changing_or_offering_anew_withdraws_the_open_offer(database: Database) -> None:
    alice, carol = people(database)
    make_account(database, "bob")

    def deeds(number: int, seen: int) -> dict[str, Any]:
        return {
            "approve": lambda: decide.approve(database, PLAIN, carol, number, seen, now=NOW),
            "reject": lambda: decide.reject(database, carol, number, seen, "no", now=NOW),
            "cancel": lambda: decide.cancel(database, alice, number, now=NOW),
            "shorten": lambda: change.set_end(database, PLAIN, alice, number, seen, NOW + HOUR / 2, now=NOW),
            "give": lambda: change.give(database, PLAIN, alice, number, seen, "bob", now=NOW),
            "resize": lambda: resize.resize(database, PLAIN, alice, number, seen, {"node": 1}, now=NOW),
            "offer": lambda: make(database, carol, number, seen, node_count=3),
        }

    for name in deeds(0, 0):
        number = book(database, alice, name=name)
        before = of_itself(database, number)
        make(database, carol, number, node_count=4, start=NOW + HOUR, end=NOW + 2 * HOUR)
        deeds(number, 2)[name]()
        assert offers_to(database, number)[-1].answer == "withdrawn", name
        with database.reading() as session:
            rows = session.query(Allocation).where(Allocation.reservation_id == number).all()
            assert all(one.offer_id is None for one in rows) or name == "offer"
        if name not in ("reject", "shorten", "resize"):
            assert of_itself(database, number) == before
        with pytest.raises((Conflict, NotFound)) as caught:
            offer.accept(database, PLAIN, alice, number, 2, now=NOW)
        assert isinstance(caught.value, NotFound) == (name == "give")
        with database.writing(ledger=True) as session:
            ledger.release(session, number, NOW)


def test_an_offer_expires_with_the_hold_or_with_the_slot_it_offers(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice, start=NOW + 10 * HOUR, end=NOW + 12 * HOUR)
    make(database, carol, number, start=NOW + HOUR, end=NOW + 2 * HOUR)
    with pytest.raises(Conflict, match="no open offer"):
        offer.accept(database, PLAIN, alice, number, 2, now=NOW + 2 * HOUR)
    # Nothing stands anywhere for it, so it is not taken to be overdue.
    with database.reading() as session:
        after = Slot(NOW + 2 * HOUR, NOW + 3 * HOUR)
        assert ledger.taken(session, after, NOW + 2 * HOUR) == []
        assert ledger.sums(session, after, NOW + 2 * HOUR, [SITE]) == []
    make(database, carol, number, 2, start=NOW + 5 * HOUR, end=NOW + 40 * HOUR, now=NOW + 2 * HOUR)
    hold = row_of(database, number).hold_until
    with pytest.raises(Conflict):
        offer.accept(database, PLAIN, alice, number, 3, now=hold)
    with database.reading() as session:
        assert offers.waiting_for(session, alice, hold) == []
        ((row, made),) = offers.waiting_for(session, alice, hold - HOUR)
        assert (row.id, made.expires_at) == (number, hold)
        assert offers.waiting_for(session, carol, hold - HOUR) == []


def test_a_request_with_an_open_offer_does_not_wait_for_the_cluster_provider(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice)

    def counts() -> tuple[int, int]:
        with database.reading() as session:
            asked = reservation.open_requests(session, NOW)
            return offers.count_undecided(session, NOW), len(asked)

    assert counts() == (1, 1)
    make(database, carol, number, node_count=1)
    assert counts() == (0, 1)
    offer.decline(database, alice, number, 2, now=NOW)
    assert counts() == (1, 1)


def test_an_offer_on_a_host_that_is_out_is_withdrawn_and_the_request_stays(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice, node_count=1)
    (host,) = {node.host_id for node in row_of(database, number).nodes[1:]}
    before = of_itself(database, number)
    make(database, carol, number, node_count=2)
    (made,) = offers_to(database, number)
    (other,) = {made.hosts["node1"], made.hosts["node2"]} - {host}
    with database.writing() as session:
        session.execute(update(Host).where(Host.id == other).values(state="drained"))
    assert replace.move_off(database, PLAIN, now=NOW, actor="pass:schedule") == []
    assert [one.answer for one in offers_to(database, number)] == ["withdrawn"]
    assert set(held(database)) == before
    assert replace.move_off(database, PLAIN, now=NOW, actor="pass:schedule") == []
    assert row_of(database, number).version == 3


def test_an_offer_that_saves_a_request_from_a_host_that_is_out_stays(database: Database) -> None:
    alice, carol = people(database)
    number = book(database, alice, node_count=4, memory_mib=8_000)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "c1").values(state="drained"))
    make(database, carol, number, node_count=1)
    replace.move_off(database, PLAIN, now=NOW, actor="pass:schedule")
    offer.accept(database, PLAIN, alice, number, 2, now=NOW)
    assert replace.move_off(database, PLAIN, now=NOW, actor="pass:schedule") == []
