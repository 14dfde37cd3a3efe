# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The earliest start, the latest end and the largest number, against looking at every hour there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.capacity import TICK, Taken
from app.domain.errors import NoRoom
from app.domain.opening import Stock, earliest, held_until, largest, latest_end
from app.domain.placement import Candidate, Group
from app.domain.slot import Slot

HOUR = timedelta(hours=1)
# The night in which the clocks of Europe go back lies within, and so does the end of a leap day's year.
STARTS = st.sampled_from(
    [datetime.fromisoformat(f"{day}T20:00+00:00") for day in ("2026-10-24", "2028-02-28")]
)
HORIZON = 24
POOL = ("site", "network_id")


@st.composite
def stocks(draw: st.DrawFn) -> tuple[Stock, datetime]:
    """A gateway that may compute too, compute hosts, a storage host, and what is taken of them by the hour."""
    zero = draw(STARTS)
    number = draw(st.integers(1, 3))
    hosts = [Candidate(1, "gw1", frozenset({"gateway"}))]
    hosts += [Candidate(i + 2, f"c{i}", frozenset({"compute"})) for i in range(number)]
    hosts.append(Candidate(9, "st1", frozenset({"storage"})))
    have: dict[tuple[int | str, str], int] = {(host.id, "vcpu"): draw(st.integers(0, 6)) for host in hosts}
    have[POOL] = draw(st.integers(1, 3))
    holders: list[tuple[int | str, str]] = [*[(host.id, "vcpu") for host in hosts], POOL]
    spans = st.tuples(
        st.sampled_from(holders), st.integers(-4, HORIZON), st.integers(1, 12), st.integers(1, 4)
    )
    taken = [
        Taken(holder, resource, amount, zero + start * HOUR, zero + (start + length) * HOUR)
        for (holder, resource), start, length, amount in draw(st.lists(spans, max_size=16))
    ]
    return Stock(hosts, have, taken), zero


@st.composite
def clusters(draw: st.DrawFn, count: int | None = None) -> list[Group]:
    nodes = draw(st.integers(1, 5)) if count is None else count
    return [
        Group("site", (), {"network_id": 1}),
        Group("gateway", ("frontend",), {"vcpu": 1}),
        Group("compute", tuple(f"n{i}" for i in range(nodes)), {"vcpu": draw(st.integers(1, 3))}),
        Group("storage", ("disks",), {"vcpu": 1}),
    ]


def is_free_by_the_hour(stock: Stock, groups: list[Group], start: datetime, hours: int) -> bool:
    """Whether it fits, from the amounts at each hour alone and with the room on each host counted by hand."""
    least = dict(stock.have)
    for hour in range(hours):
        moment = start + hour * HOUR
        for key in least:
            level = sum(
                t.amount for t in stock.taken if (t.holder, t.resource) == key and t.start <= moment < t.end
            )
            least[key] = min(least[key], stock.have[key] - level)
    if least[POOL] < 1:
        return False
    for group in groups[1:]:
        hosts = [host.id for host in stock.candidates if group.role in host.roles]
        if sum(max(0, least[h, "vcpu"]) // group.needs["vcpu"] for h in hosts) < len(group.members):
            return False
    return True


@given(stocks(), clusters(), st.integers(1, 8))
def test_the_earliest_start_is_the_first_hour_that_fits(
    site: tuple[Stock, datetime], groups: list[Group], hours: int
) -> None:
    stock, zero = site
    first = next(
        (
            zero + hour * HOUR
            for hour in range(HORIZON + 1)
            if is_free_by_the_hour(stock, groups, zero + hour * HOUR, hours)
        ),
        None,
    )
    assert earliest(stock, groups, hours * HOUR, zero, zero + HORIZON * HOUR) == first


@st.composite
def shared_stocks(draw: st.DrawFn) -> tuple[Stock, datetime]:
    """Hosts with several roles, tags and two resources, taken at whole hours and a second to either side."""
    zero = draw(STARTS)
    roles = st.sets(st.sampled_from(["gateway", "compute"]), min_size=1).map(frozenset)
    hosts = [
        Candidate(i, f"h{i}", draw(roles), draw(st.sampled_from([frozenset[str](), frozenset({"gpu"})])))
        for i in range(1, draw(st.integers(1, 4)) + 1)
    ]
    have: dict[tuple[int | str, str], int] = {
        (host.id, resource): draw(st.integers(0, 8)) for host in hosts for resource in ("vcpu", "memory_mib")
    }
    have |= {("site", pool): draw(st.integers(1, 3)) for pool in ("network_id", "seat:matlab")}
    spans = st.tuples(
        st.sampled_from(list(have)), st.integers(-4, HORIZON), st.integers(1, 12), st.integers(1, 4),
        st.sampled_from([timedelta(seconds=number) for number in (-1, 0, 0, 1)]),
    )  # fmt: skip
    taken = [
        Taken(holder, resource, amount, zero + start * HOUR, zero + (start + length) * HOUR + more)
        for (holder, resource), start, length, amount, more in draw(st.lists(spans, max_size=20))
    ]
    return Stock(hosts, have, taken), zero


GROUP_SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 3))


@given(shared_stocks(), st.lists(GROUP_SIZES, min_size=1, max_size=3), st.booleans(), st.integers(1, 8))
def test_several_groups_begin_at_the_first_moment_at_which_they_find_places(
    site: tuple[Stock, datetime], sizes: list[tuple[int, int, int]], tagged: bool, hours: int
) -> None:
    stock, zero = site
    groups = [
        Group("site", (), {"network_id": 1, "seat:matlab": sizes[0][0]}),
        Group("gateway", ("frontend",), {"vcpu": 1, "memory_mib": 1}),
    ]
    groups += [
        Group("compute", tuple(f"g{g}n{i}" for i in range(count)), {"vcpu": vcpu, "memory_mib": memory})
        for g, (count, vcpu, memory) in enumerate(sizes)
    ]
    if tagged:
        groups[-1] = replace(groups[-1], tags=frozenset({"gpu"}), least=1)
    until = zero + HORIZON * HOUR
    moments = sorted({zero, *(one.end for one in stock.taken if zero < one.end <= until)})
    fitting = (start for start in moments if stock.is_free(groups, Slot(start, start + hours * HOUR)))
    assert earliest(stock, groups, hours * HOUR, zero, until) == next(fitting, None)


@given(st.integers(2, 4), st.integers(1, 30), st.integers(1, 6), st.integers(0, 3), st.data())
def test_on_a_site_that_is_full_for_long_it_begins_when_enough_hosts_are_rid_of_it(
    number: int, days: int, length: int, lets_go: int, data: st.DataObject
) -> None:
    hosts = [Candidate(i, f"c{i}", frozenset({"compute"})) for i in range(number)]
    free_at = [24 * days + data.draw(st.integers(0, 48)) for _ in hosts]
    # Neighbours that touch, of any length, leave no hour before that.
    taken = []
    for host, last in zip(hosts, free_at, strict=True):
        begin = -1
        while begin < last:
            end = min(last, begin + data.draw(st.integers(1, 48)))
            taken.append(Taken(host.id, "vcpu", 4, ZERO + begin * HOUR, ZERO + end * HOUR))
            begin = end
    wanted = max(1, number - lets_go)
    groups = [Group("compute", tuple(f"n{i}" for i in range(wanted)), {"vcpu": 4})]
    stock = Stock(hosts, {(host.id, "vcpu"): 7 for host in hosts}, data.draw(st.permutations(taken)))
    expected = ZERO + sorted(free_at)[wanted - 1] * HOUR
    horizon = ZERO + timedelta(days=60)
    assert earliest(stock, groups, length * HOUR, ZERO, horizon) == expected
    assert earliest(stock, groups, length * HOUR, ZERO, expected) == expected
    assert earliest(stock, groups, length * HOUR, ZERO, expected - TICK) is None


@given(stocks(), clusters(), st.integers(1, HORIZON))
def test_the_latest_end_is_the_last_hour_that_fits(
    site: tuple[Stock, datetime], groups: list[Group], hours: int
) -> None:
    stock, zero = site
    fitting = [hour for hour in range(1, hours + 1) if is_free_by_the_hour(stock, groups, zero, hour)]
    expected = zero + fitting[-1] * HOUR if fitting else None
    assert latest_end(stock, groups, Slot(zero, zero + hours * HOUR)) == expected


@given(stocks(), st.data(), st.integers(1, 8), st.integers(1, 12))
def test_the_largest_number_fits_and_one_more_does_not(
    site: tuple[Stock, datetime], data: st.DataObject, hours: int, most: int
) -> None:
    stock, zero = site
    of_site, frontend, node, disks = data.draw(clusters(1))

    def groups_of(number: int) -> list[Group]:
        members = tuple(f"n{i}" for i in range(number))
        return [of_site, frontend, Group("compute", members, node.needs), disks]

    found = largest(stock, groups_of, 1, most, Slot(zero, zero + hours * HOUR))
    fitting = [n for n in range(1, most + 1) if is_free_by_the_hour(stock, groups_of(n), zero, hours)]
    assert found == max(fitting, default=0)


@given(stocks(), st.integers(0, 4), st.integers(1, HORIZON))
def test_what_is_held_can_be_kept_until_the_first_hour_without_room(
    site: tuple[Stock, datetime], amount: int, hours: int
) -> None:
    stock, zero = site
    mine: dict[tuple[int | str, str], int] = {(2, "vcpu"): amount, POOL: 1}
    until = held_until(stock.have, stock.taken, mine, Slot(zero, zero + hours * HOUR))

    def is_room(hour: int) -> bool:
        moment = zero + hour * HOUR
        return all(
            size
            + sum(
                t.amount for t in stock.taken if (t.holder, t.resource) == key and t.start <= moment < t.end
            )
            <= stock.have[key]
            for key, size in mine.items()
        )

    expected = next((zero + hour * HOUR for hour in range(hours) if not is_room(hour)), zero + hours * HOUR)
    assert until == expected


def one_host(*taken: Taken) -> Stock:
    roles = frozenset({"gateway", "compute", "storage"})
    return Stock([Candidate(1, "c1", roles)], {(1, "vcpu"): 1}, taken)


ONE = [Group("compute", ("n",), {"vcpu": 1})]
ZERO = datetime.fromisoformat("2028-02-28T00:00+00:00")


def test_a_second_between_two_is_found() -> None:
    second = timedelta(seconds=1)
    stock = one_host(
        Taken(1, "vcpu", 1, ZERO - HOUR, ZERO), Taken(1, "vcpu", 1, ZERO + second, ZERO + timedelta(days=2))
    )
    assert earliest(stock, ONE, second, ZERO - HOUR, ZERO + HOUR) == ZERO
    assert earliest(stock, ONE, 2 * second, ZERO - HOUR, ZERO + timedelta(days=9)) == ZERO + timedelta(days=2)


def test_a_year_over_a_leap_day_is_found_behind_what_is_there() -> None:
    year = timedelta(days=366)
    stock = one_host(Taken(1, "vcpu", 1, ZERO, ZERO + timedelta(days=1)))
    assert earliest(stock, ONE, year, ZERO, ZERO + year) == datetime.fromisoformat("2028-02-29T00:00+00:00")


def test_neighbours_that_touch_leave_no_gap_and_lose_none() -> None:
    stock = one_host(*[Taken(1, "vcpu", 1, ZERO + i * HOUR, ZERO + (i + 1) * HOUR) for i in range(24)])
    assert earliest(stock, ONE, HOUR, ZERO, ZERO + timedelta(days=2)) == ZERO + 24 * HOUR
    with pytest.raises(NoRoom):
        stock.fit(ONE, Slot(ZERO + 23.999 * HOUR, ZERO + 25 * HOUR))
