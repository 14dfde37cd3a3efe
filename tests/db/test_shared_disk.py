# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume that every node of a cluster may write (R83): asked for, counted, carried along, and shown to its hosts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from sqlalchemy import update

from app.booking import availability, decide, offer, series
from app.db import event, ledger, resource
from app.db import offer as offers
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.offer import Terms
from app.domain.slot import Slot
from app.settings import Image, Network, Settings
from tests.db.test_resize import ask, settle
from tests.factories import NOW, ROLLS, book, make_account, make_site, shape, wish
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint

HOUR = timedelta(hours=1)
PLAIN = Settings()
TINY = str(Path(__file__).parents[1] / "data" / "rolls-tiny")


@pytest.fixture
def people(database: Database) -> Iterator[tuple[Account, Account]]:
    """Alice, who asks, and carol, who decides, at NOW at the usual small site."""
    with time_machine.travel(NOW, tick=False):
        make_site(database)
        yield make_account(database), make_account(database, "carol", "cluster_provider")


def disk_gib(database: Database, number: int) -> int:
    """What the cluster holds of the one storage host."""
    with database.reading() as session:
        (held,) = [one for one in ledger.held_by(session, number) if one.resource == "disk_mib"]
    return held.amount // 1024


def row_of(database: Database, number: int) -> Reservation:
    with database.reading() as session:
        return session.get_one(Reservation, number)


def test_it_is_counted_on_the_storage_host_once_for_all_nodes(
    database: Database, people: tuple[Account, Account]
) -> None:
    alice, _ = people
    plain, with_one = (
        book(database, alice, name=name, shared_disk_gib=size) for name, size in (("a", 0), ("b", 20))
    )
    assert disk_gib(database, with_one) - disk_gib(database, plain) == 20
    assert (row_of(database, plain).shared_disk_gib, row_of(database, with_one).shared_disk_gib) == (0, 20)


def test_more_than_a_storage_host_has_is_refused_and_nothing_written(
    database: Database, people: tuple[Account, Account]
) -> None:
    alice, _ = people
    with pytest.raises(NoRoom, match="disk"):
        book(database, alice, shared_disk_gib=200)
    with database.reading() as session:
        assert session.query(Reservation).count() == 0
    asked = shape(shared_disk_gib=200)
    assert availability.earliest(database, PLAIN, asked, HOUR, NOW, now=NOW) is None
    assert availability.earliest(database, PLAIN, shape(), HOUR, NOW, now=NOW) is not None


def test_under_a_hypervisor_that_gives_a_device_to_one_guest_only_it_is_refused(
    database: Database, people: tuple[Account, Account]
) -> None:
    alice, _ = people
    xen = Settings(hypervisor="xen")
    with pytest.raises(InvalidRequest) as caught:
        book(database, alice, settings=xen, shared_disk_gib=1)
    assert list(caught.value.fields) == ["shared_disk_gib"]
    assert book(database, alice, settings=xen, shared_disk_gib=0)


def terms(**over: Any) -> dict[str, Any]:
    """What is offered: what `wish` asks for, but for what is said."""
    return {name: value for name, value in wish(**over).items() if name not in ("name", "users", "note")}


def test_an_offer_carries_it_and_accepted_it_is_booked(
    database: Database, people: tuple[Account, Account]
) -> None:
    alice, carol = people
    number = book(database, alice, shared_disk_gib=20)
    before = disk_gib(database, number)
    why = "Ten are what is left."
    raw = terms(shared_disk_gib=10)
    offer.make(database, PLAIN, carol, number, 1, raw, why, rolls=ROLLS, now=NOW)
    with database.reading() as session:
        (made,) = offers.of_reservation(session, number)
        both = [Terms.of_data(data).shape.shared_disk_gib for data in (made.asked, made.offered)]
    assert both == [20, 10]
    offer.accept(database, PLAIN, alice, number, 2, now=NOW)
    assert (row_of(database, number).shared_disk_gib, disk_gib(database, number)) == (10, before - 10)
    with database.reading() as session:
        told = event.of_reservation(session, number)[0]
    assert told.data["changed"]["shared_disk_gib"] == [20, 10]


def test_an_offer_of_before_there_was_such_a_thing_has_none() -> None:
    data = Terms(Slot(NOW, NOW + HOUR), shape()).data()
    del data["shared_disk_gib"]
    assert Terms.of_data(data).shape == shape()


def test_every_cluster_of_a_series_has_one(database: Database, people: tuple[Account, Account]) -> None:
    alice, _ = people
    again = {"every": 7, "times": 2, "until": None, "conflicts": "all", "zone": "UTC"}
    series.book(database, PLAIN, alice, wish(shared_disk_gib=5), again, rolls=ROLLS, now=NOW)
    with database.reading() as session:
        assert [row.shared_disk_gib for row in session.query(Reservation)] == [5, 5]


class Standing:
    """A cluster with a shared volume that stands: its schedule pass, and its rows."""

    def __init__(self, database: Database, settings: Settings, number: int) -> None:
        self.database, self.settings, self.number = database, settings, number
        self.lay_out = Blueprint(settings).lay_out

    def turn(self) -> None:
        """Another turn of the schedule pass, as if the time until it looks again had passed."""
        with self.database.writing() as session:
            session.execute(update(Reservation).values(retry_at=None))
        assert advance(self.database, self.settings, self.lay_out)[1] == 0

    def export(self) -> Resource:
        with self.database.reading() as session:
            rows = resource.of_reservation(session, self.number)
            (found,) = [row for row in rows if (row.op, row.name) == ("tgt", f"lh{self.number}-shared")]
            return found


@pytest.fixture
def standing(database: Database, people: tuple[Account, Account], tmp_path: Path) -> Standing:
    """With one compute node on each of the two compute hosts."""
    key = tmp_path / "site.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    network = Network(dns=("198.18.9.1",))
    settings = Settings(rolls_dir=TINY, image=Image(suite="tiny"), network=network, site_key_file=str(key))
    alice, carol = people
    number = book(database, alice, shared_disk_gib=2)
    decide.approve(database, PLAIN, carol, number, 1, now=NOW)
    made = Standing(database, settings, number)
    made.turn()
    settle(database)
    made.turn()
    return made


GW1, C1, C2 = "198.18.9.11", "198.18.9.12", "198.18.9.13"


def test_a_host_is_let_in_until_nothing_of_the_node_that_leaves_is_left(
    database: Database, standing: Standing
) -> None:
    assert standing.export().args["initiator"] == [GW1, C1, C2]
    before = disk_gib(database, standing.number)
    ask(database, standing.number, 1)
    standing.turn()
    assert standing.export().args["initiator"] == [GW1, C1, C2], "node2 runs, and writes"
    settle(database)
    standing.turn()
    assert standing.export().args["initiator"] == [GW1, C1, C2]
    settle(database)
    standing.turn()
    export = standing.export()
    assert (export.args["initiator"], export.have) == ([GW1, C1], "unknown"), "to be shut behind it"
    assert disk_gib(database, standing.number) == before - 4, "the node's own disk; the shared one stays"


def test_a_host_of_a_node_that_comes_is_let_in_before_it_starts(
    database: Database, standing: Standing
) -> None:
    ask(database, standing.number, 1)
    for _ in range(3):
        standing.turn()
        settle(database)
    assert standing.export().args["initiator"] == [GW1, C1]
    ask(database, standing.number, 2, by="carol")
    standing.turn()
    export = standing.export()
    assert (export.args["initiator"], export.have) == ([GW1, C1, C2], "unknown")
    with database.reading() as session:
        needed = resource.needs_of(session, standing.number)
        rows = {row.id: row for row in resource.of_reservation(session, standing.number)}
    (new,) = [row for row in rows.values() if row.op == "domain" and row.want != row.have != "unknown"]
    assert export.id in needed[new.id]
