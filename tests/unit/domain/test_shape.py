# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The shape of a cluster: which group gives and takes nodes, and what is told of a shape that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidRequest
from app.domain.shape import NodeGroup, Shape
from app.domain.shape_input import Limits, read_shape, validate_shape
from tests.factories import group, grouped, shape


def counts(of: Shape) -> list[int]:
    return [one.most for one in of.groups]


def made(*sizes: tuple[int, int]) -> Shape:
    """Groups of `least`..`most` nodes."""
    groups = [
        NodeGroup(f"g{n}-", tuple(f"g{n}-{i}" for i in range(1, most + 1)), least, 1, 512, 4)
        for n, (least, most) in enumerate(sizes)
    ]
    return Shape(tuple(groups), 1)


def wrong(*groups: Any, limits: Limits = Limits(), **over: Any) -> dict[str, str]:  # noqa: B008
    with pytest.raises(InvalidRequest) as caught:
        validate_shape({"groups": list(groups), "home_gib": 1} | over, limits=limits)
    return caught.value.fields


def test_sizes_without_groups_are_the_one_group_called_node() -> None:
    assert shape(node_count=2) == shape(**grouped(group(node_count=2)))
    assert shape(node_count=2).groups[0].name == "node"
    assert shape(node_count=5, least=2).least == 2


def test_a_disk_that_every_node_may_write_is_there_when_it_is_asked_for() -> None:
    assert [shape(**over).shared_disk_gib for over in ({}, {"shared_disk_gib": 0})] == [0, 0]
    assert shape(shared_disk_gib=3).smallest.shared_disk_gib == 3
    told = wrong(group(), shared_disk_gib=1, limits=Limits(shared_disk_gib=0))
    assert set(told) == {"shared_disk_gib"}
    assert "hypervisor" in told["shared_disk_gib"]


def test_nodes_are_named_after_their_group() -> None:
    both = shape(**grouped(group(node_count=2), group(name="big", node_names=["huge"])))
    assert both.node_names == ("node1", "node2", "huge")


def test_the_group_with_the_most_nodes_gives_first_and_none_goes_below_its_least() -> None:
    asked = made((2, 8), (1, 3), (3, 3))
    assert [counts(asked.of(number)) for number in (13, 10, 8, 7, 6, 1)] == [
        [7, 3, 3],
        [4, 3, 3],
        [2, 3, 3],
        [2, 2, 3],
        [2, 1, 3],
        [2, 1, 3],
    ]


def test_of_groups_with_as_many_nodes_the_first_gives() -> None:
    assert counts(made((1, 2), (1, 2)).of(3)) == [1, 2]


def test_what_comes_on_top_goes_to_the_group_with_the_most_nodes_by_names_that_are_free() -> None:
    taken = NodeGroup("node", ("node2",), 1, 1, 512, 4)
    asked = Shape((made((1, 2)).groups[0], taken), 1)
    assert asked.of(5).node_names == ("g0-1", "g0-2", "g0-3", "g0-4", "node2")
    assert Shape((taken,), 1).of(3).node_names == ("node2", "node1", "node3")


def test_a_least_that_was_asked_for_does_not_yield() -> None:
    assert [one.least for one in made((2, 8), (3, 3)).yielding.groups] == [2, 1]


@given(st.lists(st.integers(1, 6).flatmap(lambda m: st.tuples(st.integers(1, m), st.just(m))), min_size=1))
def test_any_number_between_least_and_most_is_met_exactly(sizes: list[tuple[int, int]]) -> None:
    asked = made(*sizes)
    for number in range(asked.least, asked.most + 1):
        cut = asked.of(number)
        assert cut.most == number
        assert all(g.least <= c for g, c in zip(asked.groups, counts(cut), strict=True))
        assert set(cut.node_names) <= set(asked.node_names)


@pytest.mark.parametrize(
    ("field", "groups"),
    [
        ("groups", []),
        ("groups", ["node"]),
        ("groups", [group(name=f"g{n}-") for n in range(11)]),
        ("groups-1-name", [group(), group(node_names=["a"])]),
        ("groups-0-name", [group(name="Big Ones")]),
        ("groups-0-name", [group(name="main")]),
        ("groups-0-name", [group(name="x" * 21)]),
        ("groups-0-least", [group(node_count=2, least=3)]),
        ("groups-0-least", [group(node_count=2, least=0)]),
        ("groups-0-least", [group(node_count=2, least=float("nan"))]),
        ("groups-0-node_count", [group(node_count=-1)]),
        ("groups-0-node_count", [group(node_count=10**30)]),
        ("groups-0-vcpus", [group(vcpus=float("nan"))]),
        ("groups-1-node_names", [group(node_count=11), group(name="node1")]),
        ("groups-1-node_names", [group(), group(name="b", node_names=["node1"])]),
        ("groups-0-node_names", [group(node_names=["frontend"])]),
        ("groups-0-node_names", [group(node_names="node1")]),
        ("groups-0-appliance", [group(appliance="mainframe")]),
        ("groups-0-appliance", [group(appliance=["compute"])]),
        ("groups-0-policy", [group(policy="scatter")]),
        ("groups-0-tags", [group(tags="gpu")]),
        ("groups-0-tags", [group(tags=["; rm"])]),
        ("groups-0-pin", [group(pin=["c1; x"])]),
        ("groups-0-pin", [group(pin=True)]),
        ("groups-0-avoid", [group(pin=["c1", "c2"], avoid=["c2"])]),
        ("groups-0-vcpu", [group(vcpu=1)]),
    ],
)
def test_bad_groups_are_told_at_their_field(field: str, groups: list[Any]) -> None:
    assert list(wrong(*groups)) == [field]


def test_all_groups_together_stay_within_the_limit() -> None:
    told = wrong(group(node_count=6), group(name="big", node_count=5), limits=Limits(nodes=10))
    assert told == {"groups": "The groups have 11 nodes together. Ask for 10 at the most."}


def test_sizes_stand_in_the_groups_or_beside_them_but_not_in_both_places() -> None:
    assert wrong(group(), vcpus=2) == {"groups": "Say vcpus in the groups, not beside them."}


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_of_any_kind_makes_reading_a_group_stumble(value: Any) -> None:
    for key in group(name=1, appliance=1, least=1, node_names=1, policy=1, tags=1, pin=1, avoid=1):
        wrong: dict[str, str] = {}
        read_shape({"home_gib": 1, "groups": [group(**{key: value})]}, (), ("compute",), Limits(), wrong)
        assert set(wrong) <= {f"groups-0-{key}", "groups-0-node_names"}
