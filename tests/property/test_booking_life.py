# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Any order of asking, deciding, changing and calling off, on a real database: never more is lent than there is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from app.booking import availability, change, decide, offer, room, series
from app.booking.suspend import resume, suspend
from app.db import event, ledger, reservation, site
from app.db import offer as offers
from app.db import series as db_series
from app.db.base import Database
from app.db.ledger import SITE, Allocation
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.domain.capacity import Taken, beyond, peaks
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed
from app.domain.offer import Terms
from app.domain.placement import Placement
from app.domain.slot import Slot
from app.settings import Booking, Network, Settings
from tests.factories import (
    NOW,
    ROLLS,
    book,
    make_account,
    make_host,
    make_stand,
    make_suspended,
    shape,
    wish,
)

HOUR = timedelta(hours=1)
GAP = timedelta(minutes=30)
SETTINGS = Settings(
    booking=Booking(gap_s=1800, owner_extends=True),
    network=Network(public_first="198.19.0.100", public_last="198.19.0.102"),
)
STARTS, LENGTHS = st.integers(0, 12), st.integers(1, 6)


class Life(RuleBasedStateMachine):
    """Two service providers and one cluster provider at a small site, whose database is behind what `new_url` makes."""

    booked = Bundle("booked")
    suspended = Bundle("suspended")

    def __init__(self, new_url: Callable[[], str]) -> None:
        super().__init__()
        self.new_url = new_url

    @initialize()
    def open(self) -> None:
        self.database = Database(self.new_url())
        make_host(self.database, "gw1", "gateway")
        make_host(self.database, "c1", "compute", vcpus=3)
        make_host(self.database, "c2", "compute", vcpus=2)
        make_host(self.database, "st1", "storage", disk_mib=60 * 1024)
        self.alice = make_account(self.database)
        make_account(self.database, "bob")
        self.carol = make_account(self.database, "carol", "cluster_provider")
        self.now = NOW
        self.names = 0
        self.resumed: set[int] = set()

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()

    def version(self, number: int) -> int:
        with self.database.reading() as session:
            return session.get_one(Reservation, number).version

    def ask(self, start: Any, end: Any, names: list[str], least: int | None = None) -> int:
        self.names += 1
        wish = {"start": start, "end": end, "node_names": names, "node_count": len(names), "least": least}
        return book(
            self.database,
            self.alice,
            now=self.now,
            name=f"vc{self.names}",
            settings=SETTINGS,
            memory_mib=1024,
            **wish,
        )

    @rule(target=booked, start=STARTS, length=LENGTHS, nodes=st.integers(1, 5), less=st.integers(0, 2))
    def book(self, start: int, length: int, nodes: int, less: int) -> Any:
        begin = self.now + start * HOUR
        try:
            names = [f"n{i}" for i in range(nodes)]
            return self.ask(begin, begin + length * HOUR, names, max(1, nodes - less))
        except NoRoom as why:
            # Each alternative is taken in turn and called off again: nothing changes in between, so each must fit.
            for one in why.alternatives:
                names, least = list(one.shape.node_names), one.shape.least
                number = self.ask(one.slot.start, one.slot.end, names, least)
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
        slot = Slot(self.now + start * HOUR, self.now + (start + length) * HOUR)
        with self.database.writing() as session:
            # PostgreSQL refuses two at a time of one host.
            if host not in {repaired for repaired, _, _ in site.maintenance(session, slot)}:
                session.add(site.Maintenance(host_id=host, start_at=slot.start, end_at=slot.end))

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

    @rule(number=st.one_of(booked, suspended), end=STARTS)
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
        with self.database.reading() as session:
            found = session.get_one(Reservation, number).series_id
        if found is None:
            return
        series.cancel_ahead(self.database, self.carol, found, now=self.now)
        with self.database.reading() as session:
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

    @rule(number=booked, start=STARTS, length=LENGTHS, nodes=st.integers(1, 5), less=st.integers(0, 2))
    def make_an_offer(self, number: int, start: int, length: int, nodes: int, less: int) -> None:
        version, begin = self.version(number), self.now + start * HOUR
        try:
            names = [f"n{i}" for i in range(nodes)]
            self.offer(number, begin, begin + length * HOUR, names, max(1, nodes - less))
        except Conflict:
            assert not self.is_open(number)
        except NoRoom as why:
            assert self.version(number) == version
            # Each alternative is offered in turn and taken back: nothing changes in between, so each must fit.
            for one in why.alternatives:
                names, least = list(one.shape.node_names), one.shape.least
                with suppress(InvalidRequest):  # where it is what was asked for
                    self.offer(number, one.slot.start, one.slot.end, names, least)
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
                hosts, held = {node.name: node.host_id for node in row.nodes}, offer.held_for(made)
                assert held.most <= len(hosts) - 1 <= offered.shape.most
                assert hosts.keys() >= set(held.node_names)
                assert len(hosts) - 1 > held.most or hosts.items() <= made.hosts.items()
                assert [(one.least, one.most) for one in row.groups] == [
                    (one.least, one.most) for one in offered.shape.groups
                ]

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
                    before, state = row.state, "expired" if row.cancel_requested_at is None else "cancelled"
                    row.state = state
                    row.version += 1
                    ledger.release(session, row.id, self.now)
                    event.record_version(
                        session,
                        self.now,
                        "pass:schedule",
                        state,
                        f"{before} -> {state}",
                        reservation_id=row.id,
                        version=row.version,
                        changed={"state": (before, state)},
                    )

    @rule(number=st.one_of(booked, suspended))
    def cancel(self, number: int) -> None:
        try:
            decide.cancel(self.database, self.carol, number, now=self.now)
        except Conflict:
            assert not self.is_open(number)

    @rule(target=suspended, length=LENGTHS, nodes=st.integers(1, 5))
    def suspend(self, length: int, nodes: int) -> Any:
        """One that begins now, with what the passes do before and after."""
        try:
            number = self.ask(self.now, self.now + length * HOUR, [f"n{i}" for i in range(nodes)])
        except NoRoom:
            return multiple()
        decide.approve(self.database, SETTINGS, self.carol, number, 1, now=self.now)
        make_stand(self.database, number)
        suspend(self.database, SETTINGS, self.carol, number, self.version(number), now=self.now)
        make_suspended(self.database, number, SETTINGS, self.now)
        return number

    @rule(number=suspended)
    def resume(self, number: int) -> None:
        version = self.version(number)
        try:
            resume(self.database, SETTINGS, self.carol, number, version, now=self.now)
        except (Conflict, NoRoom):
            assert self.version(number) == version
        else:
            self.resumed.add(number)
            with self.database.writing() as session:
                session.get_one(Reservation, number).state = "ready"

    @rule(hours=st.integers(1, 5))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    def is_open(self, number: int) -> bool:
        with self.database.reading() as session:
            row = session.get_one(Reservation, number)
            return row.state == "requested" and row.cancel_requested_at is None and row.hold_until > self.now

    def offer(self, number: int, start: Any, end: Any, names: list[str], least: int | None = None) -> None:
        count = {"node_names": names, "node_count": len(names), "least": least}
        raw = wish(start=start, end=end, memory_mib=1024, **count)
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
                assert one.end_at == held.end_at + GAP
                assert one.start_at == held.start_at or held.id in self.resumed
            # What was taken when it was resumed is in the class of the whole slot once that changes.
            assert one.span in (
                ledger.span_of(one.start_at, one.end_at),
                ledger.span_of(held.start_at, one.end_at),
            )
        assert {one.offer_id for one in rows} - {one.id for one in made} <= {None}
        for offered in made:
            if owners[offered.reservation_id].state == "requested":
                of_it = zip(taken, rows, strict=True)
                self.is_held(offered, [t for t, a in of_it if a.reservation_id == offered.reservation_id])

    def is_held(self, made: Offer, held: list[Taken]) -> None:
        """Nothing has to be taken besides for what is held of the offer, which is its least at the least."""
        terms, shape = Terms.of_data(made.offered), offer.held_for(made)
        slot = room.occupied(SETTINGS, terms.slot)
        assert terms.shape.least <= shape.most
        wanted = room.amounts(room.groups(shape, SETTINGS), Placement(made.hosts))
        assert beyond(ledger.in_slot(wanted, slot), held) == []


def live(new_url: Callable[[], str], lives: int) -> None:
    """Run so many lives of twenty steps, each on a database of its own."""
    run_state_machine_as_test(
        partial(Life, new_url),  # type: ignore[arg-type]  # a factory is as good as a class, it says
        settings=settings(max_examples=lives, stateful_step_count=20, deadline=None),
    )


def test_whatever_is_done_in_whatever_order_no_more_is_lent_than_there_is(
    new_database: Callable[[str], str],
) -> None:
    live(partial(new_database, "sqlite"), lives=25)
