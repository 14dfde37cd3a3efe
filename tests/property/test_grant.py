# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is granted of several groups with a least, against trying every way there is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.booking import room
from app.db.ledger import SITE
from app.domain.errors import NoRoom
from app.domain.opening import Stock
from app.domain.placement import Candidate
from app.domain.shape import NodeGroup, Shape
from app.domain.slot import Slot
from app.settings import Settings
from tests.factories import NOW

SETTINGS = Settings()
SLOT = Slot(NOW, NOW.replace(hour=13))
PLENTY = 1 << 30


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """One to three groups of up to three nodes of one or two vCPUs and one GiB."""
    groups = []
    for index in range(draw(st.integers(1, 3))):
        most = draw(st.integers(1, 3))
        names = tuple(f"g{index}-{n}" for n in range(most))
        groups.append(
            NodeGroup(f"g{index}-", names, draw(st.integers(1, most)), draw(st.integers(1, 2)), 384, 1)
        )
    return Shape(tuple(groups), 1)


def stock(vcpus: list[int], disk_gib: int) -> Stock:
    """A gateway, a storage host with so many GiB, and compute hosts with so many vCPUs."""
    hosts = [Candidate(1, "gw", frozenset({"gateway"})), Candidate(2, "st", frozenset({"storage"}))]
    hosts += [Candidate(3 + n, f"c{n}", frozenset({"compute"})) for n in range(len(vcpus))]
    have: dict[tuple[int | str, str], int] = {(host.id, "memory_mib"): PLENTY for host in hosts}
    have |= {(1, "vcpu"): PLENTY, (2, "disk_mib"): disk_gib * 1024}
    have |= {(3 + n, "vcpu"): number for n, number in enumerate(vcpus)}
    have |= {(SITE, "network_id"): 1, (SITE, "public_address"): 1, (SITE, "node"): PLENTY}
    return Stock(hosts, have, [])


def ways(shape: Shape, vcpus: list[int], disk_gib: int) -> list[tuple[int, ...]]:
    """Every number of nodes of each group, from its least on, that some way of placing has room for."""
    fixed = max(SETTINGS.booking.frontend_disk_gib, 1) + shape.home_gib
    found = []
    for counts in itertools.product(*[range(group.least, group.most + 1) for group in shape.groups]):
        sizes = sorted(
            (group.vcpus for group, count in zip(shape.groups, counts, strict=True) for _ in range(count)),
            reverse=True,
        )
        if fixed + sum(counts) <= disk_gib and placeable(tuple(sizes), tuple(vcpus)):
            found.append(counts)
    return found


def placeable(sizes: tuple[int, ...], left: tuple[int, ...]) -> bool:
    if not sizes:
        return True
    rest = [(*left[:n], room - sizes[0], *left[n + 1 :]) for n, room in enumerate(left) if room >= sizes[0]]
    return any(placeable(sizes[1:], one) for one in {tuple(sorted(one)) for one in rest})


@given(shapes(), st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(5, 16))
def test_what_is_granted_has_room_and_every_group_its_least(
    shape: Shape, vcpus: list[int], disk_gib: int
) -> None:
    possible = ways(shape, vcpus, disk_gib)
    try:
        granted, placement = room.grant(stock(vcpus, disk_gib), SETTINGS, shape, SLOT)
    except NoRoom:
        # One group alone is refused only where there is no way; several are placed by a rule, not by every try.
        assert not possible or len(shape.groups) > 1
        return
    counts = tuple(group.most for group in granted.groups)
    assert counts in possible
    assert set(placement.hosts) == {"frontend", room.DISKS, *granted.node_names}
    if len(shape.groups) == 1:
        assert counts == max(possible)


@given(shapes(), st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_where_all_fits_nothing_is_held_back(shape: Shape, vcpus: list[int]) -> None:
    whole = stock([PLENTY, *vcpus], PLENTY // 1024)
    assert room.grant(whole, SETTINGS, shape, SLOT)[0] == shape
    with pytest.raises(NoRoom):
        room.grant(stock([0 for _ in vcpus], 1000), SETTINGS, shape, SLOT)
