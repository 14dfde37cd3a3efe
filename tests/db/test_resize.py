# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""More nodes and fewer: placed and held in one transaction; what goes holds its room until nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update

from app.booking import decide
from app.booking.request import request
from app.booking.resize import resize
from app.db import event, ledger, reservation, resource
from app.db.account import Account
from app.db.base import Database
from app.db.look import Look
from app.db.reservation import Node, Reservation
from app.db.resource import Need, Resource
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.roll import Seats
from app.settings import Booking, Settings
from tests.factories import NOW, book, group, grouped, make_account, make_site, wish
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint

HOUR = timedelta(hours=1)
LENIENT = Settings(booking=Booking(owner_extends=True))
More = Callable[..., None]


@pytest.fixture
def booked(database: Database) -> Iterator[int]:
    """A request for two nodes in [NOW, NOW + 1 h), at NOW, on the site `make_site`."""
    with time_machine.travel(NOW, tick=False):
        make_site(database)
        make_account(database, "carol", "cluster_provider")
        yield book(database, make_account(database))


def account(database: Database, name: str) -> Account:
    with database.reading() as session:
        return session.scalars(select(Account).where(Account.name == name)).one()


def nodes(database: Database, booked: int) -> list[Node]:
    with database.reading() as session:
        return [*session.get_one(Reservation, booked).nodes]


def held(database: Database, booked: int) -> dict[tuple[int | None, str], int]:
    with database.reading() as session:
        rows = [one for one in ledger.of_reservation(session, booked) if one.released_at is None]
    found = {(one.host_id, one.resource): one.amount for one in rows}
    assert len(found) == len(rows), "one row for each resource of each holder"
    return found


def ask(database: Database, booked: int, count: int, *, by: str = "alice", **over: Any) -> None:
    with database.reading() as session:
        version = session.get_one(Reservation, booked).version
    values: dict[str, Any] = {
        "settings": Settings(),
        "version": version,
        "counts": {"node": count},
        "now": NOW,
    }
    values |= over
    who = account(database, by)
    first = (database, values.pop("settings"), who, booked, values.pop("version"), values.pop("counts"))
    resize(*first, **values)


def test_before_the_slot_nodes_come_and_go_at_once_with_their_room(database: Database, booked: int) -> None:
    before = held(database, booked)
    ask(database, booked, 4)
    grown = nodes(database, booked)
    assert [(node.position, node.name) for node in grown[1:]] == [(i, f"node{i}") for i in range(1, 5)]
    assert all(
        node.group_id == grown[1].group_id and node.storage_id == grown[0].storage_id for node in grown[1:]
    )
    assert {
        resource: sum(amount for (_, one), amount in held(database, booked).items() if one == resource)
        - sum(amount for (_, one), amount in before.items() if one == resource)
        for resource in ("vcpu", "memory_mib", "disk_mib")
    } == {"vcpu": 2, "memory_mib": 2 * (512 + 96), "disk_mib": 2 * 4 * 1024}
    ask(database, booked, 2)
    assert [node.name for node in nodes(database, booked)] == ["frontend", "node1", "node2"]
    assert held(database, booked) == before
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert (row.version, row.groups[0].least, row.groups[0].most) == (3, 2, 2)
        assert [one.kind for one in event.of_reservation(session, booked)] == [
            "resized",
            "resized",
            "requested",
        ]
        assert reservation.live_of(session, row.project_id)[0][2] == 2


def test_named_nodes_go_in_place_of_the_last(database: Database, booked: int) -> None:
    ask(database, booked, 1, leave=["node1"])
    assert [node.name for node in nodes(database, booked)] == ["frontend", "node2"]
    ask(database, booked, 2)
    assert [(node.position, node.name) for node in nodes(database, booked)[1:]] == [
        (1, "node1"),
        (2, "node2"),
    ]


@pytest.mark.parametrize(
    ("counts", "leave", "field", "said"),
    [
        ({"node": 0}, (), "count_node", "at least 1 node"),
        ({"node": 10**9}, (), "count_node", "at most"),
        ({"other": 2}, (), "count_other", "no group 'other'"),
        ({"node": 2}, (), "count_node", "as many as there are"),
        ({"node": 1}, ("node9",), "leave", "'node9' does not go"),
        ({"node": 1}, ("node1", "node2"), "leave", "as many nodes of a group as it is to lose"),
        ({"node": 3}, ("node1",), "leave", "'node1' does not go"),
        ({"node": 1}, ("frontend",), "leave", "'frontend' does not go"),
    ],
)
def test_what_cannot_be_asked_for_is_told_at_its_field(
    database: Database, booked: int, counts: dict[str, int], leave: tuple[str, ...], field: str, said: str
) -> None:
    before = held(database, booked)
    with pytest.raises(InvalidRequest) as caught:
        ask(database, booked, 0, counts=counts, leave=leave)
    assert said in caught.value.fields[field]
    assert held(database, booked) == before
    assert [node.name for node in nodes(database, booked)] == ["frontend", "node1", "node2"]


def test_without_room_nothing_changes_and_what_there_is_room_for_is_told(
    database: Database, booked: int
) -> None:
    book(database, account(database, "alice"), name="other", node_count=2, memory_mib=14_000)
    before = held(database, booked)
    with pytest.raises(NoRoom) as caught:
        ask(database, booked, 12)
    assert "There is room for 6 in node." in caught.value.reasons[-1]
    assert [one.name for one in caught.value.in_the_way if one.name != "class"] == ["other"]
    assert held(database, booked) == before
    ask(database, booked, 6)
    with pytest.raises(NoRoom):
        ask(database, booked, 7)


def test_who_may_and_on_what_version(database: Database, booked: int) -> None:
    carol = account(database, "carol")
    decide.approve(database, Settings(), carol, booked, 1, now=NOW)
    with pytest.raises(Conflict, match="changed since you opened it"):
        ask(database, booked, 3, version=1)
    with pytest.raises(NotAllowed, match="cluster provider"):
        ask(database, booked, 3)
    with pytest.raises(NotFound):
        ask(database, booked, 1, by=make_account(database, "bob").name)
    ask(database, booked, 3, settings=LENIENT)
    ask(database, booked, 4, by="carol")
    ask(database, booked, 1)
    assert len(nodes(database, booked)) == 2
    with pytest.raises(Conflict, match="over"):
        ask(database, booked, 2, by="carol", now=NOW + HOUR)


def settle(database: Database, *, but: str = "never") -> None:
    """Every row is as it is wanted, but those whose operation is `but`."""
    with database.writing() as session:
        session.execute(update(Resource).where(Resource.op != but).values(have=Resource.want))


def keys(database: Database, booked: int) -> dict[str, str]:
    """`op name` -> want, of its own rows."""
    with database.reading() as session:
        rows = resource.of_reservation(session, booked)
        return {f"{row.op} {row.name.removeprefix(f'lh{booked}-')}": row.want for row in rows}


@pytest.fixture
def ready(database: Database, booked: int, settings: Settings) -> Callable[[], None]:
    """The cluster stands; to be called for another turn of the schedule pass."""
    decide.approve(database, Settings(), account(database, "carol"), booked, 1, now=NOW)
    lay_out = Blueprint(settings).lay_out

    def turn() -> None:
        with database.writing() as session:
            # As if the time until it is looked at again had passed.
            session.execute(update(Reservation).values(retry_at=None))
        assert advance(database, settings, lay_out)[1] == 0

    turn()
    settle(database)
    turn()
    return turn


def test_a_node_that_comes_gets_its_rows_and_the_frontend_a_new_site_roll(
    database: Database, database_url: str, booked: int, ready: Callable[[], None]
) -> None:
    before = keys(database, booked)
    with Look(database_url) as look:
        assert not look.is_due("schedule", timedelta(0), NOW)
        ask(database, booked, 3, by="carol")
        assert look.is_due("schedule", timedelta(0), NOW), "an idle schedule pass sees that there is work"
    ready()
    after = keys(database, booked)
    assert {"file node3-root", "tgt node3-root", "domain node3"} <= after.keys() - before.keys()
    isos = {key: want for key, want in after.items() if key.startswith("iso ")}
    assert sorted(isos.values()) == ["absent", "present"]
    with database.reading() as session:
        assert session.get_one(Reservation, booked).state == "ready"
        rows = {row.name: row for row in resource.of_reservation(session, booked) if row.op == "domain"}
        head, new = rows[f"lh{booked}-frontend"], rows[f"lh{booked}-node3"]
        assert head.have == "unknown", "the machine is to be looked at again"
        needs = session.scalars(select(Need.needs_id).where(Need.resource_id == new.id)).all()
        assert head.id in needs, "it starts when its frontend has followed"
        (report,) = [row for row in resource.of_reservation(session, booked) if row.op == "report"]
        assert (report.have, report.args["edition"]) == ("unknown", head.args["edition"])
        needs = session.scalars(select(Need.needs_id).where(Need.resource_id == report.id)).all()
        assert set(needs) == {row.id for row in rows.values()}
    settle(database)
    ready()
    assert len([key for key in keys(database, booked) if key.startswith("iso ")]) == 1
    ready()
    assert set(keys(database, booked).values()) == {"present"}


def test_a_node_that_goes_holds_its_room_until_nothing_of_it_is_left(
    database: Database, booked: int, ready: Callable[[], None]
) -> None:
    full = held(database, booked)
    ask(database, booked, 1)
    assert held(database, booked) == full
    ready()
    of_node = {"domain node2", "tgt node2-root", "file node2-root"}
    assert {keys(database, booked)[key] for key in of_node} == {"present"}, (
        "the frontend does not know of it yet"
    )
    settle(database, but="report")
    ready()
    assert {keys(database, booked)[key] for key in of_node} == {"absent"}
    assert len(nodes(database, booked)) == 3
    assert held(database, booked) == full
    settle(database, but="file")
    ready()
    assert held(database, booked) == full, "a volume is left"
    settle(database)
    ready()
    assert [node.name for node in nodes(database, booked)] == ["frontend", "node1"]
    assert not of_node & keys(database, booked).keys()
    less = {key: full[key] - held(database, booked).get(key, 0) for key in full}
    assert sorted((key[1], amount) for key, amount in less.items() if amount) == [
        *(("disk_mib", 4096), ("memory_mib", 608), ("node", 1), ("vcpu", 1))
    ]
    with database.reading() as session:
        assert next(one.kind for one in event.of_reservation(session, booked)) == "node_left"
        assert session.get_one(Reservation, booked).state == "ready"
    ready()
    assert set(keys(database, booked).values()) == {"present"}


def test_licence_seats_come_and_go_with_the_nodes(database: Database) -> None:
    make_site(database)
    settings = Settings(booking=Booking(owner_extends=True, seats=(Seats("slurm", 3),)))
    booked = book(database, make_account(database), settings=settings)
    with pytest.raises(NoRoom, match="licence seats"):
        ask(database, booked, 4, settings=settings)
    for number in (3, 1):
        ask(database, booked, number, settings=settings)
        assert held(database, booked)[None, "seat:slurm"] == number


def test_seats_of_an_appliance_are_those_of_its_groups(database: Database) -> None:
    make_site(database)
    settings = Settings(booking=Booking(owner_extends=True, seats=(Seats("devel", 2),)))
    groups = (group(name="node", node_count=2), group(name="big", appliance="devel"))
    asked = wish(**grouped(*groups))
    alice = make_account(database)
    booked = request(
        database, settings, alice, asked, rolls=("nfs", "slurm"), appliances=("compute", "devel"), now=NOW
    )
    assert held(database, booked)[None, "seat:devel"] == 1
    with pytest.raises(NoRoom, match="licence seats"):
        ask(database, booked, 3, settings=settings, counts={"big": 3})
    ask(database, booked, 2, settings=settings, counts={"node": 3, "big": 2})
    assert held(database, booked)[None, "seat:devel"] == 2
    ask(database, booked, 1, settings=settings, counts={"node": 1, "big": 1})
    assert held(database, booked)[None, "seat:devel"] == 1


def test_a_frontend_that_does_not_follow_holds_up_the_room_for_minutes_only(
    database: Database, booked: int, ready: Callable[[], None]
) -> None:
    ask(database, booked, 1)
    ready()
    ready()
    assert keys(database, booked)["domain node2"] == "present"
    with time_machine.travel(NOW + timedelta(minutes=5), tick=False):
        ready()
    assert keys(database, booked)["domain node2"] == "absent"


def test_a_call_under_way_about_what_was_is_not_taken_for_what_is(
    database: Database, booked: int, ready: Callable[[], None]
) -> None:
    with database.writing() as session:
        (head,) = [
            row
            for row in resource.of_reservation(session, booked)
            if row.name == f"lh{booked}-frontend" and row.op == "domain"
        ]
        head.have, head.lease_owner, head.lease_until = "unknown", "me", NOW + HOUR
    ask(database, booked, 3, by="carol")
    ready()
    with database.writing() as session:
        assert not resource.settle(session, head.id, "me", "present", {"have": "present"})


def test_a_cluster_that_ends_while_it_is_resized_ends_as_any_other(
    database: Database, booked: int, ready: Callable[[], None]
) -> None:
    ask(database, booked, 1)
    ready()
    decide.cancel(database, account(database, "alice"), booked, now=NOW)
    ready()
    assert set(keys(database, booked).values()) == {"absent"}
    settle(database)
    ready()
    with database.reading() as session:
        assert session.get_one(Reservation, booked).state == "ended"
    assert held(database, booked) == {}
