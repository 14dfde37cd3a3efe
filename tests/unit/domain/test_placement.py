# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Placement: policies, tags, and a reason for every host that was passed over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.errors import NoRoom
from app.domain.placement import MOST_REASONS, Candidate, Group, place


def host(number: int, *roles: str, tags: tuple[str, ...] = ()) -> Candidate:
    return Candidate(number, f"c{number}", frozenset(roles or ("compute",)), frozenset(tags))


def room(**vcpus: int) -> dict[tuple[int | str, str], int]:
    return {(int(name[1:]), "vcpu"): amount for name, amount in vcpus.items()}


def nodes(number: int, **over) -> Group:
    group = Group("compute", tuple(f"node{i}" for i in range(1, number + 1)), {"vcpu": 2})
    return replace(group, **over)


HOSTS = [host(1), host(2), host(3)]


def test_spreading_takes_the_emptiest_first_and_equal_ones_by_name():
    placement = place([nodes(4)], HOSTS, room(c1=4, c2=8, c3=4))
    assert dict(placement.hosts) == {"node1": 2, "node2": 2, "node3": 1, "node4": 2}


def test_packing_takes_the_fewest_hosts_and_the_last_one_just_enough():
    placement = place([nodes(5, policy="pack")], HOSTS, room(c1=4, c2=8, c3=2))
    assert dict(placement.hosts) == {"node1": 2, "node2": 2, "node3": 2, "node4": 2, "node5": 3}


def test_only_pinned_hosts_are_taken_and_avoided_ones_never():
    free = room(c1=8, c2=8, c3=8)
    assert set(place([nodes(3, pin=frozenset({"c3"}))], HOSTS, free).hosts.values()) == {3}
    assert set(place([nodes(4, avoid=frozenset({"c3"}))], HOSTS, free).hosts.values()) == {1, 2}


def test_a_host_must_have_every_tag():
    hosts = [host(1, tags=("amd64",)), host(2, tags=("amd64", "gpu"))]
    placement = place([nodes(2, tags=frozenset({"gpu", "amd64"}))], hosts, room(c1=8, c2=8))
    assert set(placement.hosts.values()) == {2}


def test_groups_of_other_size_have_places_of_their_own():
    large = Group("compute", ("big1", "big2"), {"vcpu": 4})
    placement = place([nodes(2), large], HOSTS, room(c1=4, c2=4, c3=4))
    assert sorted(placement.hosts[name] for name in ("big1", "big2")) != [placement.hosts["node1"]] * 2
    assert len(placement.hosts) == 4


def test_a_group_that_finds_no_room_is_tried_before_the_others():
    # Spread, the small ones would take a piece of each host.
    small, large = nodes(2), Group("compute", ("big",), {"vcpu": 4})
    placement = place([small, large], [host(1), host(2)], room(c1=4, c2=4))
    assert placement.hosts["big"] not in {placement.hosts["node1"], placement.hosts["node2"]}


def test_every_host_of_the_role_has_its_reason():
    hosts = [host(1), host(2, tags=("gpu",)), host(3, tags=("gpu",)), host(4, "storage")]
    group = nodes(1, tags=frozenset({"gpu"}), avoid=frozenset({"c3"}))
    with pytest.raises(NoRoom) as caught:
        place([group], hosts, room(c1=8, c2=1, c3=8))
    assert caught.value.reasons[1:] == (
        "c1: it is not marked gpu.",
        "c2: 1 of 2 vCPU free.",
        "c3: the request avoids it.",
    )
    assert caught.value.hosts == (2,)


def test_many_reasons_are_summed_up():
    hosts = [host(number) for number in range(1, 101)]
    with pytest.raises(NoRoom) as caught:
        place([nodes(1)], hosts, {})
    assert len(caught.value.reasons) == MOST_REASONS
    assert caught.value.reasons[-1] == "So with 90 more hosts."


def test_what_needs_nothing_takes_nothing_from_an_empty_site():
    assert place([], [], {}).hosts == {}
