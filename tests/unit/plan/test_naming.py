# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Names lead back to their reservation, fit where they go, and never meet."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.node.names import alias_for, key_of, marked, target
from workers.node.protocol import Remit
from workers.plan.naming import LINK_NAME_MAX, Names

IQN_BASE = "iqn.2026-11.org.leasehold"
reservations = st.integers(1, 0xFFFFFF)
marks = st.from_regex(r"[a-z]{1,4}", fullmatch=True)
positions = st.integers(0, 999)
labels = st.from_regex(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", fullmatch=True)


def of(reservation: int, mark: str = "lh") -> Names:
    return Names(mark, reservation, IQN_BASE)


@given(reservations, positions)
@example(0xFFFFFF, 999)
def test_link_names_fit_the_kernel(reservation: int, position: int) -> None:
    names = of(reservation)
    uplinks = [names.uplink("vxlan"), names.uplink("vlan")]
    links = [names.bridge, *uplinks, names.tap(position), names.public_tap]
    assert max(map(len, links)) <= LINK_NAME_MAX
    assert len(set(links)) == len(links)


def test_link_name_that_would_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="abcd1234567-t1000 is too long"):
        of(1234567, "abcd").tap(1000)


@given(marks, reservations, labels, st.sampled_from(["root", "home"]))
def test_every_name_leads_back_to_its_reservation(mark: str, reservation: int, node: str, what: str) -> None:
    names, remit = of(reservation, mark), Remit(mark, "/var/lib/leasehold", ())
    volume = names.volume(node, what)
    for name in (names.domain(node), volume, names.bridge):
        assert key_of(marked(name, remit, "name")) == f"{mark}{reservation}"
    assert target(names.target(volume), remit)
    assert alias_for(names.alias, names.key) == f"leasehold:{mark}{reservation}"


@given(st.data(), reservations, reservations)
def test_names_of_two_reservations_never_meet(data: st.DataObject, one: int, other: int) -> None:
    if one == other:
        other = one % 0xFFFFFF + 1
    node, twin = data.draw(labels), data.draw(labels)
    assert of(one).domain(node) != of(other).domain(twin)
    assert of(one).volume(node, "root") != of(other).volume(twin, "root")
    assert of(one).uuid(node) != of(other).uuid(twin)
    assert of(one).bridge != of(other).bridge


interfaces = st.tuples(reservations, st.integers(0, 0xFFF), st.integers(0, 1))


@given(st.lists(interfaces, min_size=2, max_size=50, unique=True))
def test_macs_are_unique_local_unicast_and_can_be_read_back(cards: list[tuple[int, int, int]]) -> None:
    macs = [of(reservation).mac(position, card) for reservation, position, card in cards]
    assert len(set(macs)) == len(macs)
    for mac, (reservation, position, card) in zip(macs, cards, strict=True):
        assert re.fullmatch(r"02(:[0-9a-f]{2}){5}", mac)
        number = int(mac.replace(":", ""), 16) & 0xFFFFFFFFFF
        assert (number >> 16, number >> 12 & 0xF, number & 0xFFF) == (reservation, card, position)


@pytest.mark.parametrize(("reservation", "position"), [(1 << 24, 0), (1, 1 << 12)])
def test_mac_that_would_not_be_unique_is_refused(reservation: int, position: int) -> None:
    with pytest.raises(ValueError, match="too many nodes or reservations"):
        of(reservation).mac(position, 0)


@given(reservations, labels)
def test_names_are_the_same_each_time(reservation: int, node: str) -> None:
    assert of(reservation).uuid(node) == of(reservation).uuid(node)
    assert uuid.UUID(of(reservation).uuid(node)).version == 5
