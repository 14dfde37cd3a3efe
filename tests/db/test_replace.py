# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that are drained, lost or under maintenance: what is ahead moves, what stands is told to be degraded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.booking import decide, offer, replace
from app.booking.replace import Replaced
from app.db import ledger, trouble
from app.db.base import Database
from app.db.event import Event
from app.db.reservation import Node, Reservation
from app.db.resource import Resource
from app.db.site import Host, Maintenance
from app.domain.errors import Conflict
from app.settings import Passes, Settings
from tests.factories import NOW, ROLLS, book, make_account, make_host, make_resource, make_site, wish
from workers.engine.advance import advance
from workers.engine.hosts import Answer
from workers.engine.probe import Report
from workers.engine.run_pass import Batch, _settle_host, endpoint
from workers.host import _store_facts
from workers.node.protocol import Error, Hello

HOUR = timedelta(hours=1)
SETTINGS = Settings()


@pytest.fixture
def hosts(database: Database) -> dict[str, Host]:
    """The demo's hosts, with a second gateway and a second storage host."""
    return make_site(database) | {
        "gw2": make_host(database, "gw2", "gateway"),
        "st2": make_host(database, "st2", "storage", "builder"),
    }


@pytest.fixture
def booked(database: Database, hosts: dict[str, Host]) -> int:
    """An approved reservation of two nodes, on c1 and c2, an hour ahead."""
    made = book(database, make_account(database), start=NOW + HOUR, end=NOW + 2 * HOUR)
    decide.approve(database, SETTINGS, make_account(database, "carol", "cluster_provider"), made, 1, now=NOW)
    return made


def set_out(database: Database, name: str, **values: object) -> None:
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == name).values(**values))


def move_off(database: Database, host: Host | None = None) -> list[Replaced]:
    return replace.move_off(
        database, SETTINGS, now=NOW, actor="operator:olga", host_id=host.id if host else None
    )


def places(database: Database, number: int) -> dict[str, tuple[str, str]]:
    with database.reading() as session:
        names = {host.id: host.name for host in session.scalars(select(Host))}
        nodes = session.scalars(select(Node).where(Node.reservation_id == number))
        return {node.name: (names[node.host_id], names[node.storage_id]) for node in nodes}


def kinds(database: Database, number: int) -> Sequence[str]:
    with database.reading() as session:
        return session.scalars(select(Event.kind).where(Event.reservation_id == number)).all()


@pytest.mark.parametrize("name", ["c1", "gw1", "st1", "gw2", "st2"])
@pytest.mark.parametrize("values", [{"state": "drained"}, {"lost_at": NOW}], ids=["drained", "lost"])
def test_only_what_is_on_a_host_that_is_out_moves_and_the_ledger_with_it(
    database: Database, hosts: dict[str, Host], booked: int, name: str, values: dict[str, object]
) -> None:
    before = places(database, booked)
    set_out(database, name, **values)
    moved = move_off(database, hosts[name])
    after = places(database, booked)
    is_on_it = any(name in where for where in before.values())
    assert bool(moved) == is_on_it
    assert not any(name in where for where in after.values())
    for node, where in before.items():
        assert [new for old, new in zip(where, after[node], strict=True) if old != name] == [
            old for old in where if old != name
        ]
    if is_on_it:
        assert f"moved from {name} to" in moved[0].moves[0]
        assert kinds(database, booked)[-1] == "moved"
    with database.reading() as session:
        held = [one for one in ledger.of_reservation(session, booked) if one.host_id is not None]
        assert {one.host_id for one in held} == {
            host.id for host in hosts.values() if any(host.name in where for where in after.values())
        }
        row = session.get_one(Reservation, booked)
        assert {(one.start_at, one.end_at) for one in held} == {(row.start_at, row.end_at)}
    assert move_off(database, hosts[name]) == [], "done once, there is nothing left to do"


def test_maintenance_over_the_slot_moves_it_and_maintenance_beside_it_does_not(
    database: Database, hosts: dict[str, Host], booked: int
) -> None:
    c1 = hosts["c1"]
    with database.writing() as session:
        session.add(Maintenance(host_id=c1.id, start_at=NOW, end_at=NOW + HOUR))
        session.add(Maintenance(host_id=c1.id, start_at=NOW + 2 * HOUR, end_at=NOW + 3 * HOUR))
    assert move_off(database) == []
    with database.writing() as session:
        session.add(Maintenance(host_id=c1.id, start_at=NOW + HOUR, end_at=NOW + HOUR * 1.5))
    (moved,) = move_off(database)
    assert moved.why is None
    assert "c1" not in {host for host, _ in places(database, booked).values()}


def test_who_decides_on_a_request_that_moved_meanwhile_is_told_from_where_to_where(
    database: Database, hosts: dict[str, Host]
) -> None:
    carol = make_account(database, "carol", "cluster_provider")
    slot = {"start": NOW + HOUR, "end": NOW + 2 * HOUR}
    number = book(database, make_account(database), **slot)
    wanted = wish(**slot, node_count=3)
    offer.make(database, SETTINGS, carol, number, 1, wanted, "One more.", rolls=ROLLS, now=NOW)
    gone = next(node for node, (host, _) in places(database, number).items() if host == "c1")
    set_out(database, "c1", state="drained")
    assert move_off(database, hosts["c1"])
    with pytest.raises(Conflict) as caught:
        decide.approve(database, SETTINGS, carol, number, 2, now=NOW)
    assert [(one.field, one.before, one.after, one.by) for one in caught.value.differences] == [
        ("offer", "made", "withdrawn", "operator:olga"),
        ("hosts", f"{gone} on c1", f"{gone} on c2", "operator:olga"),
    ]


def test_what_finds_no_room_keeps_its_slot_and_says_why_and_what_would_fit(
    database: Database, hosts: dict[str, Host], booked: int
) -> None:
    set_out(database, "c1", state="drained")
    set_out(database, "c2", vcpus=1)
    before = places(database, booked)
    (kept,) = move_off(database, hosts["c1"])
    assert kept.moves == ()
    assert kept.why is not None
    assert "c1, which cannot be used" in kept.why
    assert "smaller, 1 nodes" in kept.why
    assert places(database, booked) == before
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        assert (row.state, row.why) == ("approved", kept.why)
        assert "c1" in trouble.degraded(session, [booked])[booked]
    assert move_off(database) == [], "the schedule pass leaves it alone for a while"
    (again,) = move_off(database, hosts["c1"])
    assert again.why == kept.why
    assert kinds(database, booked).count("unplaced") == 1, "told once for each cause"
    set_out(database, "c2", vcpus=8)
    (moved,) = move_off(database, hosts["c1"])
    assert moved.moves
    with database.reading() as session:
        assert trouble.degraded(session, [booked]) == {}


def test_the_schedule_pass_moves_off_a_lost_host_and_begins_nothing_on_one(
    database: Database, hosts: dict[str, Host], booked: int
) -> None:
    set_out(database, "gw1", lost_at=NOW)
    set_out(database, "gw2", lost_at=NOW)

    def lay_out(*_: object) -> object:
        raise AssertionError("nothing may be laid out on a lost host")

    advance(database, SETTINGS, lay_out, lambda: NOW + HOUR)  # type: ignore[arg-type]
    with database.reading() as session:
        assert session.get_one(Reservation, booked).state == "approved"
    set_out(database, "gw2", lost_at=None)
    advance(database, SETTINGS, lay_out, lambda: NOW + 2 * HOUR)  # type: ignore[arg-type]
    assert places(database, booked)["frontend"][0] == "gw2"


def test_a_host_is_lost_when_it_was_silent_too_long_and_whole_when_it_answers(
    database: Database, hosts: dict[str, Host]
) -> None:
    batch = Batch(hosts["c1"].id, endpoint(hosts["c1"]), "me", (), until=0.0)
    silent = Answer(batch.endpoint, (), None, Error("host_unreachable", "no route", True), 1.0)
    for seconds, is_lost in ((0, False), (599, False), (600, True)):
        with database.writing() as session:
            _settle_host(session, Passes(), batch, silent, NOW + timedelta(seconds=seconds))
        with database.reading() as session:
            host = session.get_one(Host, hosts["c1"].id)
            assert (host.failing_since, host.lost_at is not None) == (NOW, is_lost)
    with database.writing() as session:
        _settle_host(
            session, Passes(), batch, Answer(batch.endpoint, (), Hello(1, "h", "b", 0.0), None, 1.0), NOW
        )
    with database.reading() as session:
        host = session.get_one(Host, hosts["c1"].id)
        assert (host.failing_since, host.lost_at, host.suspect_until) == (None, None, None)
        assert session.scalars(select(Event.kind).where(Event.host_id == host.id)).all() == [
            "host_failed",
            "host_lost",
            "host_back",
        ]


def test_a_running_cluster_is_degraded_while_a_host_of_it_does_not_answer(
    database: Database, hosts: dict[str, Host], booked: int
) -> None:
    with database.writing() as session:
        session.execute(update(Reservation).values(state="ready"))
        nodes = session.scalars(
            select(Node).where(Node.reservation_id == booked).order_by(Node.position)
        ).all()
    make_resource(database, hosts["c1"], booked, "domain", node_id=nodes[1].id, have="present")
    make_resource(database, hosts["st1"], booked, "file", node_id=nodes[2].id, have="present")

    def told() -> str | None:
        with database.reading() as session:
            return trouble.degraded(session, [booked]).get(booked)

    assert told() is None
    set_out(database, "c1", failing_since=NOW)
    assert told() == "c1 does not answer: node1."
    set_out(database, "st1", lost_at=NOW)
    assert told() == "c1 does not answer: node1. st1 does not answer: the disks of node2."
    set_out(database, "c1", failing_since=None)
    set_out(database, "st1", lost_at=None)
    assert told() is None


def test_a_lost_volume_degrades_its_cluster_and_a_host_that_is_away_is_told_as_such(
    database: Database, hosts: dict[str, Host], booked: int
) -> None:
    with database.writing() as session:
        session.execute(update(Reservation).values(state="ready"))
        node = session.scalars(select(Node).where(Node.reservation_id == booked, Node.position == 1)).one()
    lost: dict[str, Any] = {"node_id": node.id, "have": "unknown", "error_code": "lost"}
    make_resource(database, hosts["st1"], booked, "file", **lost)
    make_resource(database, hosts["st1"], booked, "tgt", node_id=node.id, have="unknown")
    with database.reading() as session:
        assert trouble.degraded(session, [booked])[booked] == "st1 has lost the disks of node1."
    make_resource(database, hosts["st1"], booked, "file", have="unknown", error_code="lost")
    with database.reading() as session:
        told = trouble.degraded(session, [booked])[booked]
    assert told == "st1 has lost the shared disk, the disks of node1.", (
        "what is no node's own, and then the nodes'"
    )
    set_out(database, "st1", failing_since=NOW)
    with database.reading() as session:
        told = trouble.degraded(session, [booked])[booked]
    assert told == "st1 does not answer: the shared disk, the disks of node1."


@pytest.mark.parametrize(("is_another", "disk_mib"), [(False, 200 * 1024), (True, 900)])
def test_a_reboot_that_an_operator_s_look_meets_first_is_noticed(
    database: Database, hosts: dict[str, Host], booked: int, is_another: bool, disk_mib: int
) -> None:
    stands = make_resource(database, hosts["c1"], booked, "vxlan", have="present")
    set_out(database, "c1", boot_id="one")
    facts = {"vcpus": 2, "memory_mib": 4096, "disk_free_mib": 900, "virt_type": "kvm", "arch": "x86_64"}
    for boot, have in (("one", "present"), ("two", "unknown")):
        with database.writing() as session:
            row, report = session.get_one(Host, hosts["c1"].id), Report("c1", (), dict(facts), boot)
            _store_facts(session, row, report, SETTINGS, is_another)
        with database.reading() as session:
            assert session.get_one(Resource, stands.id).have == have
    with database.reading() as session:
        row = session.get_one(Host, hosts["c1"].id)
        assert (row.boot_id, row.vcpus, row.disk_mib) == ("two", 2, disk_mib)
        assert row.capabilities == ["kvm", "x86_64"]
        events = session.scalars(select(Event.kind).where(Event.host_id == row.id)).all()
    assert events == ["host_rebooted"]
