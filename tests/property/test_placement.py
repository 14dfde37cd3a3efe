# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Placement against trying every way there is, on sites small enough for that."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import NoRoom
from app.domain.placement import Candidate, Group, place

FreeOf = dict[tuple[int | str, str], int]


@st.composite
def sites(draw: st.DrawFn, most: int = 5) -> tuple[list[Candidate], FreeOf]:
    """Up to `most` compute hosts with a little room each."""
    rooms = draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=most))
    hosts = [Candidate(i, f"c{i}", frozenset({"compute"})) for i in range(1, len(rooms) + 1)]
    free: FreeOf = {}
    for host, (vcpu, memory) in zip(hosts, rooms, strict=True):
        free[host.id, "vcpu"], free[host.id, "memory_mib"] = vcpu, memory
    return hosts, free


@st.composite
def group_lists(draw: st.DrawFn, policy: str) -> list[Group]:
    sizes = draw(
        st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3)
    )
    return [
        Group(
            "compute",
            tuple(f"g{g}n{i}" for i in range(count)),
            {"vcpu": vcpu, "memory_mib": memory},
            policy=policy,
        )
        for g, (count, vcpu, memory) in enumerate(sizes)
    ]


def used(groups: Sequence[Group], hosts: Mapping[str, int]) -> Counter[tuple[int, str]]:
    total: Counter[tuple[int, str]] = Counter()
    for group in groups:
        for member in group.members:
            if member in hosts:
                for resource, amount in group.needs.items():
                    total[hosts[member], resource] += amount
    return total


def every_way(groups: Sequence[Group], hosts: Sequence[Candidate], free: FreeOf) -> Iterator[dict[str, int]]:
    """Every placement that fits, like members of a group counted once."""
    ways = [itertools.combinations_with_replacement([h.id for h in hosts], len(g.members)) for g in groups]
    for way in itertools.product(*[list(way) for way in ways]):
        placed = {
            m: host
            for g, ids in zip(groups, way, strict=True)
            for m, host in zip(g.members, ids, strict=True)
        }
        if all(amount <= free.get(key, 0) for key, amount in used(groups, placed).items()):
            yield placed


@given(sites(), st.data(), st.sampled_from(["spread", "pack"]))
def test_no_host_gets_more_than_it_has(
    site: tuple[list[Candidate], FreeOf], data: st.DataObject, policy: str
) -> None:
    hosts, free = site
    groups = data.draw(group_lists(policy))
    try:
        placement = place(groups, hosts, free)
    except NoRoom:
        return
    assert set(placement.hosts) == {member for group in groups for member in group.members}
    assert all(amount <= free[key] for key, amount in used(groups, placement.hosts).items())


@given(sites(), st.data(), st.sampled_from(["spread", "pack"]))
def test_like_nodes_are_refused_only_where_there_is_no_way(
    site: tuple[list[Candidate], FreeOf], data: st.DataObject, policy: str
) -> None:
    hosts, free = site
    groups = data.draw(group_lists(policy))[:1]
    fits = next(every_way(groups, hosts, free), None) is not None
    try:
        place(groups, hosts, free)
    except NoRoom:
        assert not fits
    else:
        assert fits


@given(sites(most=4), group_lists("pack"))
def test_packing_takes_one_host_more_than_the_fewest_at_the_most(
    site: tuple[list[Candidate], FreeOf], groups: list[Group]
) -> None:
    hosts, free = site
    try:
        placement = place(groups, hosts, free)
    except NoRoom:
        return
    fewest = min(len(set(way.values())) for way in every_way(groups, hosts, free))
    assert len(set(placement.hosts.values())) <= fewest + (len(groups) > 1)


@given(sites(), group_lists("spread"), st.randoms())
def test_the_order_of_the_hosts_does_not_matter(
    site: tuple[list[Candidate], FreeOf], groups: list[Group], random
) -> None:
    hosts, free = site
    shuffled = hosts[:]
    random.shuffle(shuffled)
    answers = []
    for order in (hosts, shuffled):
        try:
            answers.append(dict(place(groups, order, free).hosts))
        except NoRoom as why:
            answers.append(dict.fromkeys(why.reasons, 0))
    assert answers[0] == answers[1]


@given(sites(), st.integers(1, 6), st.integers(0, 6))
def test_between_least_and_most_as_many_as_fit_are_placed(
    site: tuple[list[Candidate], FreeOf], most: int, least: int
) -> None:
    hosts, free = site
    group = Group(
        "compute", tuple(f"n{i}" for i in range(most)), {"vcpu": 2, "memory_mib": 2}, least=min(least, most)
    )
    room = sum(min(free[h.id, "vcpu"], free[h.id, "memory_mib"]) // 2 for h in hosts)
    if room < group.must:
        with pytest.raises(NoRoom):
            place([group], hosts, free)
    else:
        assert len(place([group], hosts, free).hosts) == min(most, room)
