# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Booking clusters of several node groups, and of as many nodes as there is room for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.booking import availability, room
from app.db import ledger
from app.db.base import Database
from app.db.event import Event
from app.db.reservation import Reservation
from app.db.site import Host
from app.domain.approval import AutoApprove
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.slot import Slot
from app.settings import Booking, Settings
from tests.factories import NOW, book, group, grouped, make_account, make_host, make_site, shape

HOUR = timedelta(hours=1)
SLOT = Slot(NOW, NOW + HOUR)


def granted(database: Database, number: int) -> dict[str, list[str]]:
    """The nodes of each group."""
    with database.reading() as session:
        row = session.get_one(Reservation, number)
        assert [node.position for node in row.nodes] == list(range(len(row.nodes)))
        assert row.nodes[0].group is None
        return {g.name: [n.name for n in row.nodes if n.group_id == g.id] for g in row.groups}


def test_each_group_is_kept_as_it_was_asked_for_and_its_nodes_have_its_size(database: Database) -> None:
    make_site(database)
    make_host(database, "g1", "compute", tags=["gpu"])
    groups = grouped(
        group(node_count=2, policy="pack"),
        group(name="big", least=1, memory_mib=2048, disk_gib=8, tags=["gpu"]),
    )
    number = book(database, make_account(database), **groups)
    assert granted(database, number) == {"node": ["node1", "node2"], "big": ["big1"]}
    with database.reading() as session:
        row = session.get_one(Reservation, number)
        assert [(n.memory_mib, n.disk_gib) for n in row.nodes] == [(1024, 8), (512, 4), (512, 4), (2048, 8)]
        node, big = row.groups
        assert (node.least, node.most, node.policy, node.tags) == (2, 2, "pack", [])
        assert (big.least, big.most, big.policy, big.tags, big.appliance) == (
            1,
            1,
            "spread",
            ["gpu"],
            "compute",
        )
        assert session.get_one(Host, row.nodes[3].host_id).name == "g1"
        disks = [a.amount for a in ledger.of_reservation(session, number) if a.resource == "disk_mib"]
        assert disks == [(8 + 1 + 2 * 4 + 8) * 1024]


def test_between_least_and_most_as_many_nodes_as_fit_are_granted_and_charged(database: Database) -> None:
    make_site(database)  # each of the two compute hosts has room for one such node
    number = book(database, make_account(database), node_count=5, least=2, memory_mib=16_000)
    assert granted(database, number) == {"node": ["node1", "node2"]}
    with database.reading() as session:
        (asked,) = session.get_one(Reservation, number).groups
        assert (asked.least, asked.most) == (2, 5)
        told = session.scalars(select(Event.message).where(Event.kind == "requested")).one()
        assert "asked for 2 to 5 compute nodes and was granted 2" in told
        held = ledger.of_reservation(session, number)
        assert sum(a.amount for a in held if a.resource == "vcpu") == 1 + 2
        assert [a.amount for a in held if a.resource == "disk_mib"] == [(4 + 1 + 2 * 4) * 1024]


def test_a_group_short_of_hosts_leaves_the_others_all_they_asked_for(database: Database) -> None:
    make_site(database)
    make_host(database, "g1", "compute", memory_mib=2000, tags=["gpu"])
    groups = grouped(
        group(node_count=6, least=2), group(name="big", node_count=2, least=1, memory_mib=1500, tags=["gpu"])
    )
    found = granted(database, book(database, make_account(database), **groups))
    assert {name: len(nodes) for name, nodes in found.items()} == {"node": 6, "big": 1}


def test_where_only_the_disks_are_short_the_largest_group_gives_first(database: Database) -> None:
    make_site(database)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "st1").values(disk_mib=(4 + 1 + 5 * 4) * 1024))
    groups = grouped(group(node_count=6, least=1), group(name="big", node_count=2, least=1))
    found = granted(database, book(database, make_account(database), **groups))
    assert {name: len(nodes) for name, nodes in found.items()} == {"node": 3, "big": 2}


def test_less_than_the_least_is_a_refusal_which_offers_no_less_than_what_was_asked_for(
    database: Database,
) -> None:
    make_site(database)
    account = make_account(database)
    rigid = grouped(group(node_count=1, memory_mib=8000), group(name="big", node_count=4, memory_mib=8000))
    with pytest.raises(NoRoom) as caught:
        book(database, account, **rigid)
    (smaller,) = [one.shape for one in caught.value.alternatives if one.kind == "smaller"]
    assert smaller.node_names == ("node1", "big1", "big2", "big3")[: smaller.most]
    with pytest.raises(NoRoom) as caught:
        book(database, account, node_count=9, least=5, memory_mib=8000)
    assert not [one for one in caught.value.alternatives if one.kind == "smaller"]


def test_the_earliest_slot_is_the_first_with_room_for_the_least(database: Database) -> None:
    make_site(database)
    account = make_account(database)
    book(database, account, name="first", node_count=1, memory_mib=16_000)

    def ask(**over: Any) -> Slot | None:
        wanted = shape(node_count=2, memory_mib=16_000, **over)
        return availability.earliest(database, Settings(), wanted, HOUR, NOW, now=NOW)

    assert ask() == Slot(NOW + HOUR, NOW + 2 * HOUR)
    assert ask(least=1) == SLOT


def test_the_largest_cluster_of_several_groups_grows_where_it_is_largest(database: Database) -> None:
    make_site(database)
    wanted = shape(**grouped(group(node_count=2, memory_mib=3900), group(name="big", memory_mib=8000)))
    found = availability.largest(database, Settings(), wanted, SLOT, now=NOW)
    groups = dict(zip(("node", "big"), wanted.yielding.of(found).groups, strict=True))
    assert (groups["node"].most, groups["big"].most) == (found - 1, 1)
    with database.reading() as session:
        stock = room.read(session, Settings(), SLOT, NOW)
    stock.fit(room.groups(wanted.yielding.of(found), Settings()), SLOT)
    with pytest.raises(NoRoom):
        stock.fit(room.groups(wanted.yielding.of(found + 1), Settings()), SLOT)


def test_a_quota_is_held_against_what_is_granted_and_no_more_is(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    settings = replace(Settings(), booking=Booking(quota_nodes=5))
    groups = grouped(group(node_count=4, least=1), group(name="big", node_count=2))
    found = granted(database, book(database, alice, settings=settings, **groups))
    assert {name: len(nodes) for name, nodes in found.items()} == {"node": 3, "big": 2}
    with pytest.raises(InvalidRequest) as caught:
        book(database, alice, settings=settings, name="more", node_count=4, least=1)
    assert "It holds 5 in that time, so 0 are left" in caught.value.fields["node_count"]
    short = replace(Settings(), booking=Booking(quota_node_hours=7))
    later: dict[str, Any] = {"name": "more", "start": NOW + HOUR, "end": NOW + 2 * HOUR}
    number = book(database, alice, settings=short, node_count=4, least=1, **later)
    assert granted(database, number) == {"node": ["node1", "node2"]}


def test_hosts_short_of_the_most_leave_the_quota_its_rest(database: Database) -> None:
    make_site(database)  # each of the two compute hosts has room for one such node
    settings = replace(Settings(), booking=Booking(quota_nodes=3))
    number = book(
        database, make_account(database), settings=settings, node_count=9, least=2, memory_mib=16_000
    )
    assert granted(database, number) == {"node": ["node1", "node2"]}


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([group(node_count=4)], "groups-0-node_count"),
        ([group(node_count=3), group(name="big")], "groups"),
    ],
)
def test_nodes_beyond_the_quota_are_told_where_they_were_asked_for(
    database: Database, groups: list[dict[str, Any]], told: str
) -> None:
    make_site(database)
    settings = replace(Settings(), booking=Booking(quota_nodes=3))
    with pytest.raises(InvalidRequest) as caught:
        book(database, make_account(database), settings=settings, **grouped(*groups))
    assert list(caught.value.fields) == [told]


def test_a_rule_approves_by_what_is_granted(database: Database) -> None:
    make_site(database)
    settings = replace(Settings(), booking=Booking(auto_approve=(AutoApprove("small", nodes=2),)))
    number = book(
        database, make_account(database), settings=settings, node_count=9, least=2, memory_mib=16_000
    )
    with database.reading() as session:
        assert session.get_one(Reservation, number).state == "approved"


def test_a_cluster_provider_pins_and_avoids_hosts_by_name(database: Database) -> None:
    make_site(database)
    carol = make_account(database, "carol", "cluster_provider")
    groups = grouped(group(node_count=2, pin=["c2"]), group(name="b", node_count=2, avoid=["c2"]))
    number = book(database, carol, **groups)
    with database.reading() as session:
        row = session.get_one(Reservation, number)
        hosts = [session.get_one(Host, node.host_id).name for node in row.nodes[1:]]
        assert hosts == ["c2", "c2", "c1", "c1"]
        assert [(g.pin, g.avoid) for g in row.groups] == [(["c2"], []), ([], ["c2"])]


def test_a_host_that_is_not_there_is_told_at_its_field_and_nothing_is_booked(database: Database) -> None:
    make_site(database)
    carol = make_account(database, "carol", "cluster_provider")
    with pytest.raises(InvalidRequest) as caught:
        book(database, carol, **grouped(group(), group(name="b", avoid=["c1", "c9"])))
    assert caught.value.fields == {"groups-1-avoid": "There is no host called 'c9'."}
    with pytest.raises(InvalidRequest) as caught:
        book(database, carol, pin=["c9"])
    assert list(caught.value.fields) == ["pin"]
    with database.reading() as session:
        assert session.query(Reservation).count() == 0


def test_a_service_provider_names_no_hosts_and_learns_of_none(database: Database) -> None:
    make_site(database)
    told = []
    for host in ("c1", "c9"):
        with pytest.raises(InvalidRequest) as caught:
            book(database, make_account(database, f"alice-{host}"), pin=[host])
        told.append(caught.value.fields)
    assert told[0] == told[1]
    assert list(told[0]) == ["pin"]
