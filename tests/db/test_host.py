# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What an operator says of hosts: tags and bandwidth, and maintenance that meets no cluster and no other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.booking import host
from app.db import site
from app.db.base import Database
from app.db.site import Host, Maintenance, host_by_name
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotFound
from app.domain.slot import Slot
from app.settings import Settings
from tests.factories import NOW, book, make_account, make_site

HOUR = timedelta(hours=1)


def between(first: float, last: float) -> Slot:
    return Slot(NOW + first * HOUR, NOW + last * HOUR)


def maintain(database: Database, name: str, slot: Slot, why: str = "") -> int:
    return host.maintain(database, name, slot, why, by="operator:ann", now=NOW)


def test_tags_and_bandwidth_are_written_and_asked_for_from_then_on(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    with pytest.raises(NoRoom):
        book(database, alice, tags=["gpu"], node_count=1)
    host.describe(database, "c2", tags=["gpu", "amd64"], bandwidth_mbit=None, by="operator:ann", now=NOW)
    host.describe(database, "gw1", tags=[], bandwidth_mbit=100, by="operator:ann", now=NOW)
    book(database, alice, tags=["gpu"], node_count=1)
    with database.reading() as session:
        c2, gw1 = host_by_name(session, "c2"), host_by_name(session, "gw1")
        assert c2 is not None
        assert gw1 is not None
        assert (c2.tags, c2.bandwidth_mbit, gw1.bandwidth_mbit) == (["amd64", "gpu"], None, 100)


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"tags": ["GPU"]}, "tags"),
        ({"tags": ["a b"]}, "tags"),
        ({"tags": [f"t{i}" for i in range(41)]}, "tags"),
        ({"bandwidth_mbit": -1}, "bandwidth_mbit"),
        ({"bandwidth_mbit": 10**12}, "bandwidth_mbit"),
    ],
)
def test_absurd_descriptions_are_told_at_their_field(
    database: Database, over: dict[str, Any], field: str
) -> None:
    make_site(database)
    with pytest.raises(InvalidRequest) as caught:
        host.describe(database, "c1", **{"tags": [], "bandwidth_mbit": None, **over}, by="x", now=NOW)
    assert list(caught.value.fields) == [field]
    with pytest.raises(NotFound):
        host.describe(database, "c9", tags=[], bandwidth_mbit=None, by="x", now=NOW)


def test_nothing_is_booked_into_a_maintenance_and_everything_around_it(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    maintain(database, "st1", between(2, 4), "new disks")
    with pytest.raises(NoRoom) as caught:
        book(database, alice, end=NOW + 3 * HOUR)
    assert [one.what for one in caught.value.in_the_way] == ["maintenance of st1"]
    book(database, alice, name="before", end=NOW + 2 * HOUR)
    book(database, alice, name="behind", start=NOW + 4 * HOUR, end=NOW + 5 * HOUR)


def test_who_is_booked_there_is_named_and_nothing_is_changed(database: Database) -> None:
    make_site(database)
    book(database, make_account(database), name="class")
    with pytest.raises(
        Conflict, match=r"c1 is booked in that time, by class \(alice\) until 2026-11-20 13:00 UTC"
    ):
        maintain(database, "c1", between(0.5, 2))
    with database.reading() as session:
        assert site.maintenance_ahead(session, NOW) == []
    maintain(database, "c1", between(1, 2))


def test_a_host_has_one_maintenance_at_a_time(database: Database) -> None:
    make_site(database)
    maintain(database, "c1", between(2, 4))
    for first, last in ((1, 3), (2, 4), (3, 9), (1, 9)):
        with pytest.raises(Conflict, match="under maintenance from 2026-11-20 14:00 UTC"):
            maintain(database, "c1", between(first, last))
    maintain(database, "c1", between(4, 5))
    maintain(database, "c1", between(1, 2))
    maintain(database, "c2", between(2, 4))
    with database.reading() as session:
        found = [(name, row.start_at) for row, name in site.maintenance_ahead(session, NOW)]
    assert [(name, (start - NOW) / HOUR) for name, start in found] == [
        ("c1", 1),
        ("c1", 2),
        ("c2", 2),
        ("c1", 4),
    ]


def test_postgresql_itself_refuses_two_at_once(database: Database) -> None:
    hosts = make_site(database)

    def enter(name: str, slot: Slot) -> None:
        with database.writing() as session:
            session.add(Maintenance(host_id=hosts[name].id, start_at=slot.start, end_at=slot.end, why=""))

    enter("c1", between(2, 4))
    enter("c1", between(4, 5))
    enter("c2", between(2, 4))
    if database.engine.dialect.name == "postgresql":
        with pytest.raises(IntegrityError, match="ex_maintenance_overlap"):
            enter("c1", between(3, 4))


def test_a_maintenance_is_called_off_or_ended_early(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    ahead, begun = maintain(database, "c1", between(5, 6)), maintain(database, "st1", between(0, 4))
    host.end_maintenance(database, ahead, by="operator:ann", now=NOW)
    host.end_maintenance(database, begun, by="operator:ann", now=NOW + HOUR)
    for number in (ahead, begun, 77):
        with pytest.raises(NotFound):
            host.end_maintenance(database, number, by="operator:ann", now=NOW + HOUR)
    with database.reading() as session:
        assert session.get_one(Maintenance, begun).end_at == NOW + HOUR
        assert session.get(Maintenance, ahead) is None
    book(database, alice, now=NOW + HOUR, end=NOW + 2 * HOUR)


def test_what_is_booked_beyond_what_a_smaller_machine_has_is_told(database: Database) -> None:
    make_site(database)
    alice = make_account(database)
    size: dict[str, Any] = {"node_count": 2, "vcpus": 3, "policy": "pack"}
    for name, hour in (("one", 1), ("two", 2)):  # one after the other: never both at once
        book(database, alice, name=name, **size, start=NOW + hour * HOUR, end=NOW + (hour + 1) * HOUR)

    def told(name: str) -> list[str]:
        with database.reading() as session:
            return host.overbooked(session, Settings(), name, NOW)

    assert [told(name) for name in ("gw1", "c1", "c2", "st1")] == [[], [], [], []]
    with database.writing() as session:
        session.execute(update(Host).values(vcpus=4))
    assert told("c1") + told("c2") == ["up to 6 vCPU are booked there, and it has 4"]


def test_what_is_over_or_odd_is_refused(database: Database) -> None:
    make_site(database)
    for slot, why, field in (
        (between(-2, -1), "", "end"),
        (between(1, 2), "x" * 201, "why"),
        (between(1, 2), "a\nb", "why"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            maintain(database, "c1", slot, why)
        assert list(caught.value.fields) == [field]
    with pytest.raises(NotFound):
        maintain(database, "c9", between(1, 2))
