# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The search in a ledger that is read bit by bit finds what a sweep over all of it finds, and reads little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.capacity import SITE, Key, Taken
from app.domain.opening import Holder, Stock, earliest
from app.domain.placement import Candidate, Group
from app.domain.search import NEAR, PARTS, Search
from app.domain.slot import Slot

ZERO = datetime.fromisoformat("2028-02-20T00:00+00:00")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HORIZON = 60 * DAY


@dataclass
class ListedLedger:
    """A ledger in a list, that counts what is read of it."""

    rows: Sequence[Taken]
    looks: int = 0
    read: list[int] = field(default_factory=list)
    asked: set[Holder] = field(default_factory=set)

    def highest(self, moments: Sequence[datetime], resource: str) -> dict[Holder, int]:
        self.looks += 1
        most: Counter[Holder] = Counter()
        for moment in moments:
            there = (one for one in self.rows if one.resource == resource and one.start <= moment < one.end)
            most |= _level(there, lambda one: one.holder)
        return dict(most)

    def pools(self, slot: Slot) -> dict[Key, int]:
        there = (one for one in self.rows if one.holder == SITE and slot.overlaps(Slot(one.start, one.end)))
        return dict(_level(there, lambda one: (one.holder, one.resource)))

    def taken(self, slot: Slot, holders: Collection[Holder]) -> list[Taken]:
        found = [
            one
            for one in self.rows
            if one.holder in holders and one.start < slot.end and slot.start < one.end
        ]
        self.read.append(len(found))
        self.asked.update(holders)
        return found


def _level(taken: Iterable[Taken], by: Callable[[Taken], Any]) -> Counter[Any]:
    level: Counter[Any] = Counter()
    for one in taken:
        level[by(one)] += one.amount
    return level


@st.composite
def sites(draw: st.DrawFn, unit: timedelta) -> Stock:
    """Hosts with several roles and tags, and leases of them in units of time, touching or overlapping."""
    roles = st.sets(st.sampled_from(["gateway", "compute"]), min_size=1).map(frozenset)
    tags = st.sampled_from([frozenset[str](), frozenset({"gpu"})])
    hosts = [Candidate(i, f"h{i}", draw(roles), draw(tags)) for i in range(1, draw(st.integers(1, 5)) + 1)]
    have: dict[Key, int] = {
        (host.id, resource): draw(st.integers(0, 8)) for host in hosts for resource in ("vcpu", "memory_mib")
    }
    have |= {(SITE, pool): draw(st.integers(1, 3)) for pool in ("network_id", "seat:matlab")}
    leases = st.tuples(
        st.sampled_from(list(have)), st.integers(-4, 40), st.integers(1, 12), st.integers(1, 6),
        st.sampled_from([timedelta(seconds=number) for number in (-1, 0, 0, 0, 1)]),
    )  # fmt: skip
    taken = [
        Taken(holder, resource, amount, ZERO + start * unit, ZERO + (start + length) * unit + more)
        for (holder, resource), start, length, amount, more in draw(st.lists(leases, max_size=40))
    ]
    return Stock(hosts, have, taken)


UNITS = st.sampled_from([HOUR, 3 * HOUR, DAY])
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))


@given(st.data(), UNITS, st.lists(SIZES, min_size=1, max_size=3), st.booleans(), st.integers(1, 12))
def test_any_site_has_the_same_earliest_start_as_in_one_sweep(
    data: st.DataObject, unit: timedelta, sizes: list[tuple[int, int, int]], tagged: bool, length: int
) -> None:
    site = data.draw(sites(unit))
    groups = [
        Group(SITE, (), {"network_id": 1, "seat:matlab": sizes[0][0]}),
        Group("gateway", ("frontend",), {"vcpu": 1, "memory_mib": 1}),
    ]
    groups += [
        Group(
            "compute", tuple(f"g{g}n{i}" for i in range(count)), {"vcpu": vcpu, "memory_mib": memory},
            tags=frozenset({"gpu"} if tagged and not g else ()),
        )
        for g, (count, vcpu, memory) in enumerate(sizes)
    ]  # fmt: skip
    since = ZERO + data.draw(st.integers(0, 12)) * unit / 2
    until = since + data.draw(st.integers(0, 48)) * unit
    agree(site, groups, length * unit, since, until)


def at_the_minute(
    site: Stock, groups: Sequence[Group], length: timedelta, since: datetime, start: datetime | None
) -> datetime | None:
    if start is None or start == since or not start.second:
        return start
    whole = start.replace(second=0) + timedelta(minutes=1)
    return whole if site.is_free(groups, Slot(whole, whole + length)) else start


def agree(
    site: Stock, groups: Sequence[Group], length: timedelta, since: datetime, until: datetime
) -> ListedLedger:
    """The search finds what the sweep finds; the ledger as it was read."""
    ledger = ListedLedger(site.taken)
    found = Search(Stock(site.candidates, site.have, ()), ledger, groups, length).earliest(since, until)
    assert found == at_the_minute(site, groups, length, since, earliest(site, groups, length, since, until))
    return ledger


def whole_hosts(number: int) -> list[Group]:
    return [Group("compute", tuple(f"n{i}" for i in range(number)), {"vcpu": 4})]


def compute_hosts(number: int, taken: Iterable[Taken]) -> Stock:
    """Hosts with room for one node each."""
    hosts = [Candidate(i, f"c{i:03}", frozenset({"compute"})) for i in range(number)]
    return Stock(hosts, {(host.id, "vcpu"): 7 for host in hosts}, taken)


@given(st.data(), st.integers(1, 8), st.integers(1, 60), st.integers(0, 3))
def test_a_site_that_is_nearly_full_and_has_many_equal_ends(
    data: st.DataObject, number: int, length: int, spare: int
) -> None:
    taken = []
    for host in range(number):
        at = data.draw(st.integers(-8, 0))
        # One lease behind the other, all in steps of eight hours, with a gap here and there.
        for lease, gap in data.draw(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0, 0, 0, 1, 3])))):
            taken.append(Taken(host, "vcpu", 4, ZERO + 8 * at * HOUR, ZERO + 8 * (at + lease) * HOUR))
            at += lease + gap
    site = compute_hosts(number, taken)
    agree(site, whole_hosts(max(1, number - spare)), 4 * length * HOUR, ZERO, ZERO + HORIZON)


WEEK = 7 * DAY


def test_a_site_that_is_full_for_a_year_is_passed_over_in_looks_at_the_end_of_each_slot() -> None:
    days = 300
    taken = [
        Taken(host, "vcpu", 4, ZERO + day * DAY, ZERO + (day + 1) * DAY)
        for host in range(20)
        for day in range(days)
    ]
    ledger = agree(compute_hosts(20, taken), whole_hosts(16), WEEK, ZERO, ZERO + 400 * DAY)
    assert ledger.looks <= days * DAY / WEEK * PARTS / (PARTS - 1) + 2 * PARTS
    # What is swept in the end, of six thousand leases.
    assert sum(ledger.read) < 100


def test_hosts_that_are_free_by_turns_are_no_room_for_a_slot() -> None:
    """At any moment half of the hosts are free, and none is for two days."""
    days = 200
    taken = [
        Taken(host, "vcpu", 4, ZERO + day * DAY, ZERO + (day + 1) * DAY)
        for host in range(20)
        for day in range(host % 2, days, 2)
    ]
    ledger = agree(compute_hosts(20, taken), whole_hosts(10), WEEK, ZERO, ZERO + 400 * DAY)
    assert ledger.looks <= 10 * days * DAY / WEEK + 2 * PARTS
    assert sum(ledger.read) < 200


def test_what_no_look_sees_is_read_in_ever_longer_sweeps() -> None:
    """Each host is taken for a minute each half day: seldom at a moment that is looked at, always within a slot."""
    days = 200
    minute = timedelta(minutes=1)
    taken = [
        Taken(
            host,
            "vcpu",
            4,
            ZERO + half * NEAR + host * 7 * minute,
            ZERO + half * NEAR + (host * 7 + 1) * minute,
        )
        for host in range(20)
        for half in range(2 * days)
    ]
    ledger = agree(compute_hosts(20, taken), whole_hosts(10), WEEK, ZERO, ZERO + 400 * DAY)
    assert len(ledger.read) < 16
    assert sum(ledger.read) < 3 * len(taken)


def test_where_there_is_room_now_few_hosts_are_read() -> None:
    taken = [
        Taken(host, "vcpu", 1, ZERO + day * DAY, ZERO + (day + 1) * DAY)
        for host in range(400)
        for day in range(30)
    ]
    ledger = agree(compute_hosts(400, taken), whole_hosts(10), WEEK, ZERO, ZERO + HORIZON)
    # Four hosts a node, each with a lease a day.
    assert (ledger.looks, ledger.read) == (1, [40 * 7])


def test_a_pool_is_read_only_if_it_may_be_short() -> None:
    """One public address is taken by day, and a compute host throughout."""
    addresses = [
        Taken(SITE, "public_address", 1, ZERO + day * DAY, ZERO + day * DAY + 12 * HOUR) for day in range(10)
    ]
    until = ZERO + 3 * DAY
    host = [Taken(0, "vcpu", 4, ZERO, until)]
    groups = [Group(SITE, (), {"public_address": 1}), *whole_hosts(1)]
    for there, start in ((1, until + 12 * HOUR), (11, until)):
        site = compute_hosts(1, [*addresses, *host])
        site.have = {**site.have, (SITE, "public_address"): there}
        ledger = agree(site, groups, 6 * HOUR, ZERO, ZERO + HORIZON)
        assert earliest(site, groups, 6 * HOUR, ZERO, ZERO + HORIZON) == start
        assert (SITE in ledger.asked) is (there == 1)
