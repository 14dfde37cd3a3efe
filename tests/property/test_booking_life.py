# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Any order of asking, deciding, changing and calling off, on a real database: never more is lent than there is."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from app.booking import availability, change, decide, offer, room, series
from app.db import ledger, reservation, site
from app.db import offer as offers
from app.db import series as db_series
from app.db.base import Database
from app.db.ledger import SITE, Allocation
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.domain.capacity import Taken, beyond, peaks
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.offer import Terms
from app.domain.placement import Placement
from app.domain.slot import Slot
from app.settings import Booking, Network, Settings
from tests.conftest import migrate
from tests.factories import NOW, ROLLS, book, make_account, make_host, shape, wish

HOUR = timedelta(hours=1)
GAP = timedelta(minutes=30)
SETTINGS = Settings(
    booking=Booking(gap_s=1800, owner_extends=True),
    network=Network(public_first="198.19.0.100", public_last="198.19.0.102"),
)
STARTS, LENGTHS = st.integers(0, 12), st.integers(1, 6)


@cache
def template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="leasehold-life-")) / "template.db"
    migrate(f"sqlite:///{path}")
    return path


class Life(RuleBasedStateMachine):
    """One service provider and one cluster provider at a small site."""

    booked = Bundle("booked")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="leasehold-life-"))
        shutil.copy(template(), self.folder / "life.db")
        self.database = Database(f"sqlite:///{self.folder / 'life.db'}")
        make_host(self.database, "gw1", "gateway")
        make_host(self.database, "c1", "compute", vcpus=3)
        make_host(self.database, "c2", "compute", vcpus=2)
        make_host(self.database, "st1", "storage", disk_mib=60 * 1024)
        self.alice = make_account(self.database)
        make_account(self.database, "bob")
        self.carol = make_account(self.database, "carol", "cluster_provider")
        self.now = NOW
        self.names = 0

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)

    def version(self, number: int) -> int:
        with self.database.reading() as session:
            return session.get_one(Reservation, number).version

    def ask(self, start: Any, end: Any, names: list[str]) -> int:
        self.names += 1
        wish = {"start": start, "end": end, "node_names": names, "node_count": len(names)}
        return book(
            self.database,
            self.alice,
            now=self.now,
            name=f"vc{self.names}",
            settings=SETTINGS,
            memory_mib=1024,
            **wish,
        )

    @rule(target=booked, start=STARTS, length=LENGTHS, nodes=st.integers(1, 5))
    def book(self, start: int, length: int, nodes: int) -> Any:
        begin = self.now + start * HOUR
        try:
            return self.ask(begin, begin + length * HOUR, [f"n{i}" for i in range(nodes)])
        except NoRoom as why:
            # Each alternative is taken in turn and called off again: nothing changes in between, so each must fit.
            for one in why.alternatives:
                number = self.ask(one.slot.start, one.slot.end, list(one.shape.node_names))
                decide.reject(self.database, self.carol, number, 1, "only tried", now=self.now)
            return multiple()

    @rule(length=LENGTHS, nodes=st.integers(1, 5))
    def find_the_earliest(self, length: int, nodes: int) -> None:
        wanted = shape(node_count=nodes, memory_mib=1024)
        found = availability.earliest(self.database, SETTINGS, wanted, length * HOUR, self.now, now=self.now)
        if found is not None:
            number = self.ask(found.start, found.end, list(wanted.node_names))
            decide.reject(self.database, self.carol, number, 1, "only tried", now=self.now)
            for hour in range(int((found.start - self.now) / HOUR)):
                begin = self.now + hour * HOUR
                assert (
                    availability.largest(
                        self.database, SETTINGS, wanted, Slot(begin, begin + length * HOUR), now=self.now
                    )
                    < nodes
                )

    @rule(host=st.integers(1, 4), start=STARTS, length=LENGTHS)
    def repair(self, host: int, start: int, length: int) -> None:
        begin = self.now + start * HOUR
        with self.database.writing() as session:
            session.add(site.Maintenance(host_id=host, start_at=begin, end_at=begin + length * HOUR))

    @rule(number=booked)
    def approve(self, number: int) -> None:
        try:
            decide.approve(self.database, SETTINGS, self.carol, number, self.version(number), now=self.now)
        except Conflict:
            assert not self.is_open(number)

    @rule(number=consumes(booked))
    def reject(self, number: int) -> None:
        try:
            decide.reject(self.database, self.carol, number, self.version(number), "no", now=self.now)
        except Conflict:
            assert not self.is_open(number)

    @rule(number=booked, end=STARTS)
    def change_end(self, number: int, end: int) -> None:
        latest = change.latest_end(self.database, SETTINGS, self.carol, number, now=self.now).end
        wanted = self.now + end * HOUR
        version = self.version(number)
        try:
            change.set_end(self.database, SETTINGS, self.carol, number, version, wanted, now=self.now)
        except NoRoom:
            assert wanted > latest
        except (Conflict, InvalidRequest, NotAllowed):
            assert self.version(number) == version
        else:
            assert wanted <= latest or self.version(number) == version + 1

    @rule(target=booked, start=STARTS, length=LENGTHS, nodes=st.integers(1, 5), skips=st.booleans())
    def book_a_series(self, start: int, length: int, nodes: int, skips: bool) -> Any:
        self.names += 1
        begin = self.now + start * HOUR
        raw = wish(
            name=f"s{self.names}", start=begin, end=begin + length * HOUR, node_count=nodes, memory_mib=1024
        )
        conflicts = "skip" if skips else "all"
        again = {"every": 1, "times": 3, "conflicts": conflicts, "zone": "UTC"}
        try:
            made = series.book(self.database, SETTINGS, self.alice, raw, again, rolls=ROLLS, now=self.now)
        except NoRoom:
            return multiple()
        with self.database.reading() as session:
            row, rows = found if (found := db_series.get(session, self.carol, made)) else (None, ())
        assert row is not None
        assert len(rows) + len(row.skipped) == 3
        assert skips or not row.skipped
        return multiple(*(one.id for one in rows))

    @rule(number=booked)
    def cancel_what_is_ahead(self, number: int) -> None:
        try:
            series.cancel_ahead(self.database, self.carol, number, now=self.now)
        except NotFound:
            return
        with self.database.reading() as session:
            found = db_series.of_reservation(session, number)
            assert found is not None
            assert db_series.ahead(session, self.carol, found, self.now) == []

    @rule(number=booked, to=st.sampled_from(["alice", "bob"]))
    def give(self, number: int, to: str) -> None:
        version = self.version(number)
        try:
            change.give(self.database, SETTINGS, self.carol, number, version, to, now=self.now)
        except (Conflict, InvalidRequest):
            assert self.version(number) == version
        else:
            assert self.version(number) == version + 1

    @rule(number=booked, behind=st.integers(1, 3))
    def decide_on_an_older_version(self, number: int, behind: int) -> None:
        version = self.version(number)
        with pytest.raises(Conflict) as caught:
            decide.approve(self.database, SETTINGS, self.carol, number, version - behind, now=self.now)
        # Whoever saw a version that was there is told of each one since.
        assert bool(caught.value.differences) == (version - behind >= 1)
        assert self.version(number) == version

    @rule(number=booked, start=STARTS, length=LENGTHS, nodes=st.integers(1, 5))
    def make_an_offer(self, number: int, start: int, length: int, nodes: int) -> None:
        version, begin = self.version(number), self.now + start * HOUR
        try:
            self.offer(number, begin, begin + length * HOUR, [f"n{i}" for i in range(nodes)])
        except Conflict:
            assert not self.is_open(number)
        except NoRoom as why:
            assert self.version(number) == version
            # Each alternative is offered in turn and taken back: nothing changes in between, so each must fit.
            for one in why.alternatives:
                with suppress(InvalidRequest):  # where it is what was asked for
                    self.offer(number, one.slot.start, one.slot.end, list(one.shape.node_names))
                    offer.decline(self.database, self.carol, number, self.version(number), now=self.now)
        except InvalidRequest:
            assert self.version(number) == version
        else:
            assert self.version(number) == version + 1

    @rule(number=booked)
    def accept(self, number: int) -> None:
        made = self.open_offer(number)
        with self.database.reading() as session:
            owner = session.get_one(Reservation, number).owner
        try:
            offer.accept(self.database, SETTINGS, owner, number, self.version(number), now=self.now)
        except Conflict:
            assert made is None
        else:
            assert made is not None
            offered = Terms.of_data(made.offered)
            with self.database.reading() as session:
                row = session.get_one(Reservation, number)
                assert (row.state, Slot(row.start_at, row.end_at)) == ("approved", offered.slot)
                assert tuple(node.name for node in row.nodes[1:]) == offered.shape.node_names
                assert {node.name: node.host_id for node in row.nodes}.items() <= made.hosts.items()

    @rule(number=booked)
    def decline(self, number: int) -> None:
        made, version = self.open_offer(number), self.version(number)
        try:
            offer.decline(self.database, self.carol, number, version, now=self.now)
        except Conflict:
            assert made is None
        else:
            assert made is not None
            assert self.is_open(number)

    @rule()
    def look_after_holds(self) -> None:
        """What the schedule pass does with requests that nobody answered."""
        with self.database.writing(ledger=True) as session:
            for row in reservation.listing(session, self.carol, states=["requested"], limit=1000):
                if row.hold_until <= self.now or row.cancel_requested_at is not None:
                    row.state = "expired" if row.cancel_requested_at is None else "cancelled"
                    row.version += 1
                    ledger.release(session, row.id, self.now)

    @rule(number=booked)
    def cancel(self, number: int) -> None:
        try:
            decide.cancel(self.database, self.carol, number, now=self.now)
        except Conflict:
            assert not self.is_open(number)

    @rule(hours=st.integers(1, 5))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    def is_open(self, number: int) -> bool:
        with self.database.reading() as session:
            row = session.get_one(Reservation, number)
            return row.state == "requested" and row.cancel_requested_at is None and row.hold_until > self.now

    def offer(self, number: int, start: Any, end: Any, names: list[str]) -> None:
        raw = wish(start=start, end=end, node_names=names, node_count=len(names), memory_mib=1024)
        version = self.version(number)
        offer.make(self.database, SETTINGS, self.carol, number, version, raw, "?", rolls=ROLLS, now=self.now)

    def open_offer(self, number: int) -> Offer | None:
        with self.database.reading() as session:
            is_requested = session.get_one(Reservation, number).state == "requested"
            return offers.open_to(session, number, self.now) if is_requested else None

    @invariant()
    def never_more_than_there_is(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.reading() as session:
            have: dict[tuple[int | str, str], int] = {
                (h.id, r): n
                for h in site.hosts(session)
                for r, n in (("vcpu", h.vcpus), ("disk_mib", h.disk_mib))
            }
            rows = session.query(Allocation).where(Allocation.released_at.is_(None)).all()
            owners = {row.id: row for row in reservation.listing(session, self.carol, limit=1000)}
            made = session.query(Offer).where(Offer.answer.is_(None)).all()
        taken = [Taken(a.host_id or SITE, a.resource, a.amount, a.start_at, a.end_at) for a in rows]
        most = peaks(taken, Slot(NOW - HOUR, NOW + 400 * HOUR))
        counted = {
            key: n for key, n in most.items() if key != (SITE, ledger.NODE)
        }  # nodes are told, not bounded
        assert {
            key: n for key, n in counted.items() if n > have.get(key, 3 if key[0] == SITE else 16384)
        } == {}
        for one in rows:
            held = owners[one.reservation_id]
            assert held.state not in ("rejected", "cancelled", "expired", "ended")
            if one.offer_id is None:
                assert (one.start_at, one.end_at) == (held.start_at, held.end_at + GAP)
            assert one.span == ledger.span_of(one.start_at, one.end_at)
        assert {one.offer_id for one in rows} - {one.id for one in made} <= {None}
        for offered in made:
            if owners[offered.reservation_id].state == "requested":
                of_it = zip(taken, rows, strict=True)
                self.is_held(offered, [t for t, a in of_it if a.reservation_id == offered.reservation_id])

    def is_held(self, made: Offer, held: list[Taken]) -> None:
        """Nothing has to be taken besides for what is offered."""
        terms = Terms.of_data(made.offered)
        slot = room.occupied(SETTINGS, terms.slot)
        wanted = room.amounts(room.groups(terms.shape, SETTINGS), Placement(made.hosts))
        assert beyond(ledger.in_slot(wanted, slot), held) == []


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
