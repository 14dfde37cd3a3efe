# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The three questions, and refusals that say who is in the way and what fits instead."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.booking import availability, project, room
from app.booking.host import describe
from app.db import ledger, site
from app.db.base import Database
from app.db.ledger import Allocation
from app.db.reservation import Reservation
from app.db.site import Host, Maintenance
from app.domain import opening
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.refusal import Alternative
from app.domain.slot import Slot
from app.settings import Booking, Settings
from tests.factories import NOW, book, make_account, make_host, make_site, shape

HOUR = timedelta(hours=1)
# As wide as two of the site's compute hosts: one such node fits on each.
WIDE = shape(memory_mib=16_000)
LARGE: dict[str, Any] = {"node_count": 2, "memory_mib": 16_000}


def refused(database: Database, *args: Any, **over: Any) -> NoRoom:
    with pytest.raises(NoRoom) as caught:
        book(database, *args, **over)
    return caught.value


def rebook(database: Database, account: Any, alternative: Alternative, **over: Any) -> int:
    slot = alternative.slot
    names = list(alternative.shape.node_names)
    changed = {"start": slot.start, "end": slot.end, "node_names": names, "node_count": len(names)}
    return book(database, account, **over | changed)


def test_a_refusal_offers_later_smaller_and_shorter_and_each_can_be_booked(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    book(
        database,
        account,
        name="first",
        start=NOW + 2 * HOUR,
        end=NOW + 5 * HOUR,
        node_count=1,
        memory_mib=16_000,
    )
    wanted: dict[str, Any] = {**LARGE, "start": NOW, "end": NOW + 4 * HOUR}
    found = {one.kind: one for one in refused(database, account, **wanted).alternatives}
    assert found["later"].slot == Slot(NOW + 5 * HOUR, NOW + 9 * HOUR)
    assert found["smaller"].shape.node_names == ("node1",)
    assert found["shorter"].slot == Slot(NOW, NOW + 2 * HOUR)
    for number, one in enumerate(found.values()):
        name = f"other{number}"
        booked = rebook(database, account, one, name=name, **wanted)
        assert booked
        with database.writing() as session:
            ledger.release(session, booked, NOW)


def test_later_is_when_the_project_may_have_as_many_nodes_too(database: Database) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    project.set_ceilings(database, "alice", {"nodes": 8}, by="test", now=NOW)
    book(database, bob, node_count=16, end=NOW + 2 * HOUR)
    book(database, alice, name="mine", node_count=6, start=NOW + 2 * HOUR, end=NOW + 5 * HOUR)
    book(database, bob, name="more", node_count=16, start=NOW + 5 * HOUR, end=NOW + 6 * HOUR)
    wanted = {"name": "next", "node_count": 4}
    later, *_ = refused(database, alice, **wanted).alternatives
    assert (later.kind, later.slot.start) == ("later", NOW + 6 * HOUR)
    assert rebook(database, alice, later, **wanted)
    # Nobody limits bob, so there is room for him as soon as the hosts have it.
    found = refused(database, bob, **wanted | {"name": "bobs"}).alternatives[0]
    assert (found.kind, found.slot.start) == ("later", NOW + 2 * HOUR)


def test_others_are_in_the_way_without_their_names(database: Database) -> None:
    make_site(database)
    alice, bob = make_account(database), make_account(database, "bob")
    book(database, alice, name="secret", **LARGE)
    assert [(one.what, one.name) for one in refused(database, bob, **LARGE).in_the_way] == [
        ("another project", None)
    ]
    own = refused(database, alice, name="second", **LARGE).in_the_way
    assert [(one.what, one.name, one.until) for one in own] == [("the cluster secret", "secret", NOW + HOUR)]


def test_maintenance_is_in_the_way_and_named(database: Database) -> None:
    hosts = make_site(database)
    with database.writing() as session:
        session.add(Maintenance(host_id=hosts["c1"].id, start_at=NOW, end_at=NOW + 3 * HOUR, why="memory"))
    refusal = refused(database, make_account(database), **LARGE)
    assert refusal.in_the_way[0].what == "maintenance of c1"
    assert refusal.alternatives[0].slot.start == NOW + 3 * HOUR


def test_what_never_fits_has_no_alternative(database: Database) -> None:
    make_site(database)
    assert refused(database, make_account(database), memory_mib=30_000).alternatives == ()


def test_the_earliest_slot_begins_where_the_last_in_the_way_ends(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = Settings()
    for number in range(3):
        start = NOW + number * 24 * HOUR
        book(database, account, name=f"day{number}", **LARGE, start=start, end=start + 23 * HOUR)
    # A day has one free hour, and two days one of two.
    assert availability.earliest(database, settings, WIDE, HOUR, NOW, now=NOW) == Slot(
        NOW + 23 * HOUR, NOW + 24 * HOUR
    )
    found = availability.earliest(database, settings, WIDE, 2 * HOUR, NOW, now=NOW)
    assert found is not None
    assert found.start == NOW + 71 * HOUR


def test_the_earliest_slot_is_found_months_ahead_and_not_beyond_what_may_be_booked(
    database: Database,
) -> None:
    make_site(database)
    account = make_account(database)
    far = NOW + timedelta(days=300)
    book(database, account, **LARGE, end=far)
    found = availability.earliest(database, Settings(), WIDE, HOUR, NOW, now=NOW)
    assert found is not None
    assert found.start == far
    assert availability.earliest(database, Settings(), WIDE, HOUR, NOW, far - HOUR, now=NOW) is None
    huge = shape(memory_mib=99_999)
    assert availability.earliest(database, Settings(), huge, HOUR, NOW, now=NOW) is None


def test_the_earliest_slot_is_that_of_one_sweep_over_all_that_is_taken(database: Database) -> None:
    hosts = [host.id for host in make_site(database).values()]
    booked = book(database, make_account(database))
    chance = random.Random(4)
    rows: list[dict[str, Any]] = []
    for holder in [*hosts, None] * 25:
        length = chance.choice([1, 6, 24, 70]) * HOUR
        # Some are over and still stand there.
        start = NOW - length + chance.randrange(40 * 24) * HOUR
        kind = {"host_id": holder, "resource": chance.choice(["vcpu", "memory_mib", "disk_mib"])}
        if holder is None:
            kind["resource"] = chance.choice(["network_id", "public_address"])
        amount = chance.choice([1, 3, 8]) * (1 if holder is None or kind["resource"] == "vcpu" else 2_000)
        times = {"start_at": start, "end_at": start + length}
        rows.append({"reservation_id": booked, "amount": amount, "released_at": None, **kind, **times})
    with database.writing() as session:
        ledger.release(session, booked, NOW)
        session.execute(insert(Allocation), rows)
        for days in (3, 11, 17):
            begin = NOW + timedelta(days=days)
            session.add(Maintenance(host_id=hosts[1], start_at=begin, end_at=begin + 9 * HOUR, why="disk"))
    # Few enough public addresses to be short of them.
    network = replace(Settings().network, public_first="198.19.0.100", public_last="198.19.0.103")
    settings = Settings(booking=Booking(gap_s=600), network=network)
    starts = set()
    for hours in (1, 5, 13, 30, 72, 170):
        length = hours * HOUR
        for wanted in (WIDE, shape(vcpus=4, node_count=3), shape(node_count=1)):
            for since in (NOW, NOW + timedelta(days=9, hours=5)):
                found = availability.earliest(database, settings, wanted, length, since, now=NOW)
                taken_for = length + timedelta(minutes=10)
                until = NOW + availability.limits(settings).ahead
                with database.reading() as session:
                    stock = room.read(session, settings, Slot(since, until + taken_for), NOW)
                groups = room.groups(wanted.smallest, settings)
                expected = opening.earliest(stock, groups, taken_for, since, until)
                assert found is not None
                assert found == Slot(found.start, found.start + length)
                assert found.start == expected
                starts.add(found.start)
    assert len(starts) > 8


def test_the_earliest_start_is_moved_to_the_whole_minute(database: Database) -> None:
    make_site(database)
    book(database, make_account(database), **LARGE, end=NOW + HOUR + timedelta(seconds=7))
    found = availability.earliest(database, Settings(), WIDE, HOUR, NOW, now=NOW)
    assert found is not None
    assert found.start == NOW + HOUR + timedelta(minutes=1)


def test_the_largest_cluster_is_what_can_be_booked_and_no_more(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    slot = Slot(NOW, NOW + HOUR)
    small = shape(node_count=1, memory_mib=4_000)
    found = availability.largest(database, Settings(), small, slot, now=NOW)
    # Two hosts of 16 GiB; each node's memory has 96 MiB on top.
    assert found == 2 * (16_384 // 4_096)
    sizes: dict[str, Any] = {"memory_mib": 4_000, "start": NOW, "end": NOW + HOUR}
    refused(database, account, **sizes, node_count=found + 1)
    book(database, account, **sizes, node_count=found)
    assert availability.largest(database, Settings(), small, slot, now=NOW) == 0


def test_shares_tell_what_is_free_for_the_whole_slot(database: Database) -> None:
    make_site(database)
    book(
        database, make_account(database), node_count=1, memory_mib=4_000, start=NOW + HOUR, end=NOW + 2 * HOUR
    )

    def compute_memory(slot: Slot) -> tuple[int, int, int]:
        rows = availability.shares(database, Settings(), slot, now=NOW)
        (one,) = (row for row in rows if (row.role, row.resource) == ("compute", "memory_mib"))
        return one.free, one.total, one.largest

    assert compute_memory(Slot(NOW, NOW + HOUR)) == (2 * 16_384, 2 * 16_384, 16_384)
    assert compute_memory(Slot(NOW, NOW + 2 * HOUR)) == (2 * 16_384 - 4_096, 2 * 16_384, 16_384)


def test_the_cleaning_gap_keeps_neighbours_apart(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = Settings(booking=Booking(gap_s=600))
    book(database, account, name="first", settings=settings, **LARGE)
    touching: dict[str, Any] = {"start": NOW + HOUR, "end": NOW + 2 * HOUR, "settings": settings, **LARGE}
    refusal = refused(database, account, name="second", **touching)
    (later,) = (one for one in refusal.alternatives if one.kind == "later")
    assert later.slot.start == NOW + HOUR + timedelta(minutes=10)
    before: dict[str, Any] = {
        "start": NOW - timedelta(seconds=0),
        "end": NOW + timedelta(minutes=5),
        "settings": settings,
        **LARGE,
    }
    refused(database, account, name="third", **before)
    rebook(database, account, later, name="second", **touching)


def test_a_host_lends_more_than_it_has_if_the_site_says_so(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    wide: dict[str, Any] = {"node_count": 2, "vcpus": 12}
    refused(database, account, **wide)
    book(database, account, settings=Settings(booking=Booking(vcpu_ratio=2.0)), **wide)


def test_bandwidth_counts_where_gateways_declare_it(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    settings = Settings(booking=Booking(frontend_bandwidth_mbit=600))
    book(database, account, name="not-counted", settings=settings)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(bandwidth_mbit=1000))
    refusal = refused(database, account, settings=settings)
    assert "gw1: 400 of 600 Mbit/s of bandwidth free." in refusal.reasons


def test_tags_are_asked_for_and_kept(database: Database) -> None:
    make_site(database)
    make_host(database, "c3", "compute", tags=["gpu"])
    account = make_account(database)
    booked = book(database, account, node_count=3, tags=["gpu"], policy="pack")
    with database.reading() as session:
        row = session.get_one(Reservation, booked)
        (group,) = row.groups
        assert (group.policy, group.tags) == ("pack", ["gpu"])
        assert len({node.host_id for node in row.nodes if node.kind == "compute"}) == 1
    assert (
        "c1: it is not marked gpu."
        in refused(database, account, name="b", node_count=9, tags=["gpu"]).reasons
    )


def test_what_a_host_can_do_is_asked_for_like_a_tag_and_only_the_host_s_own_word_counts(
    database: Database,
) -> None:
    """R120: guests that ask for KVM are never on a host without it."""
    make_site(database)  # gw1, c1 and c2 have told nothing: no VT, as far as anybody knows
    make_host(database, "vt", "compute", capabilities=["kvm", "x86_64"], memory_mib=4096)
    make_host(database, "old", "compute", capabilities=["x86_64"], tags=["kvm"])
    account = make_account(database)
    booked = book(database, account, node_count=2, tags=["kvm", "x86_64"])
    with database.reading() as session:
        nodes = session.get_one(Reservation, booked).nodes
        names = {host.id: host.name for host in session.scalars(select(Host))}
        assert {names[node.host_id] for node in nodes if node.kind == "compute"} == {"vt"}
    reasons = refused(database, account, name="b", node_count=20, tags=["kvm"]).reasons
    assert "c1: it is not marked kvm." in reasons
    assert "old: it is not marked kvm." in reasons, "whatever is in its tags since before"
    with pytest.raises(InvalidRequest, match="hosts tell that themselves"):
        describe(database, "c1", tags=["gpu", "kvm"], bandwidth_mbit=None, by="otto", now=NOW)


def test_what_is_there_one_after_the_other_is_not_counted_together(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    half: dict[str, Any] = {"node_count": 2, "memory_mib": 8_000}
    for number in range(3):
        start = NOW + number * HOUR
        book(database, account, name=f"part{number}", start=start, end=start + HOUR, **half)
    book(database, account, name="whole", end=NOW + 3 * HOUR, **half)
    refused(database, account, name="more", end=NOW + 3 * HOUR, **half)


def test_the_first_look_goes_round_the_ring_and_passes_over_hosts_in_repair(database: Database) -> None:
    made = [make_host(database, f"c{number}", "compute").id for number in range(8)]
    make_host(database, "both", "compute", "storage")
    make_host(database, "drained", "compute", state="drained")
    with database.writing() as session:
        for number in (made[7], made[0]):
            session.add(Maintenance(host_id=number, start_at=NOW, end_at=NOW + HOUR, why="disk"))
    look = {"compute": 4, "storage": 8, "gateway": 8}

    def found(point: int, start: int) -> list[tuple[str, str]]:
        slot = Slot(NOW + start * HOUR, NOW + (start + 1) * HOUR)
        with database.reading() as session:
            return [(row.name, row.role) for row in site.some_in_service(session, look, point, slot)]

    round_it = [
        ("c6", "compute"),
        ("both", "compute"),
        ("c1", "compute"),
        ("c2", "compute"),
        ("both", "storage"),
    ]
    assert sorted(found(made[6], 0)) == sorted(round_it)
    later = [
        ("c6", "compute"),
        ("c7", "compute"),
        ("both", "compute"),
        ("c0", "compute"),
        ("both", "storage"),
    ]
    # A point beyond the last host is one within the ring.
    assert sorted(found(made[6], 1)) == sorted(found(made[6] + 11, 1)) == sorted(later)


def test_all_hosts_are_looked_at_before_the_answer_is_no(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    for number in range(70):
        make_host(database, f"small{number:02}", "compute", memory_mib=1024)
    # Behind more than the first look holds, only c1 and c2 have the room.
    book(database, account, **LARGE)
    refused(database, account, name="second", **LARGE)
