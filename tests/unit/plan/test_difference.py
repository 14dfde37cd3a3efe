# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of standing rows when a cluster is laid out with more nodes or fewer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.unit.plan.test_layout import laid_out, reservation  # noqa: F401 - a fixture
from tests.unit.plan.test_shared_disk import with_shared_disk
from workers.plan.difference import difference
from workers.plan.layout import Key, Row

LaidOut = Callable[..., list[Row]]


def standing(rows: Iterable[Row]) -> dict[Key, Any]:
    """The rows as the database gives their arguments back."""
    return {row.key: json.loads(json.dumps(row.args)) for row in rows if not row.is_shared}


def keys(rows: Iterable[Row]) -> set[tuple[str, str]]:
    return {(row.op, row.name.partition("-")[2]) for row in rows}


def test_the_same_layout_again_is_no_difference(laid_out: LaidOut) -> None:  # noqa: F811
    found = difference(laid_out(), standing(laid_out()))
    assert (found.new, found.changed, found.going) == ((), (), ())


def test_a_node_more_brings_its_own_rows_and_a_new_site_roll(laid_out: LaidOut) -> None:  # noqa: F811
    two, three = laid_out(), laid_out(reservation(["node1", "node2", "node3"]))
    found = difference(three, standing(two))
    (iso,) = [row for row in found.new if row.op == "iso"]
    new = [row for row in found.new if not row.is_shared]
    assert keys(new) == {
        *(("file", "node3-root"), ("tgt", "node3-root"), ("domain", "node3")),
        ("iso", iso.name.partition("-")[2]),
    }
    assert keys(found.changed) == {("domain", "frontend"), ("report", "frontend")}
    assert [key[1:] for key in found.going] == [row.key[1:] for row in two if row.op == "iso"]
    places = {key: number for number, key in enumerate([*standing(two), *(row.key for row in found.new)])}
    assert all(places[need] < places[row.key] for row in found.new for need in row.needs)


def test_a_node_on_a_host_of_its_own_widens_the_network(laid_out: LaidOut) -> None:  # noqa: F811
    one, two = laid_out(reservation(["node1"])), laid_out()
    found = difference(two, standing(one))
    assert ("c2", "vxlan", "lh7-br") in {row.key for row in found.new}
    assert {row.key for row in found.changed if row.op == "vxlan"} == {
        *(("gw1", "vxlan", "lh7-br"), ("c1", "vxlan", "lh7-br"))
    }


def test_a_node_on_a_host_of_its_own_is_let_in_to_the_shared_volume(laid_out: LaidOut) -> None:  # noqa: F811
    """R83; and what is a node's own stays as it was made."""
    one, two = laid_out(with_shared_disk(("node1",))), laid_out(with_shared_disk())
    found = difference(two, standing(one))
    assert [row.key for row in found.changed if row.op == "tgt"] == [("st1", "tgt", "lh7-shared")]
    assert not [row for row in found.new if row.name == "lh7-shared"]
    kept = standing(two)
    kept["st1", "tgt", "lh7-node1-root"]["initiator"] = "198.18.9.99"
    assert not difference(two, kept).changed


def test_a_node_fewer_takes_its_own_rows_and_the_host_it_had_for_itself(laid_out: LaidOut) -> None:  # noqa: F811
    one, two = laid_out(reservation(["node1"])), laid_out()
    found = difference(one, standing(two))
    going = {(key[0], key[1], key[2].partition("-")[2]) for key in found.going if key[1] != "iso"}
    assert going == {
        *(("st1", "file", "node2-root"), ("st1", "tgt", "node2-root")),
        *(("c2", "domain", "node2"), ("c2", "vxlan", "br")),
    }
    assert not [row for row in found.new if row.op not in ("iso",)]


def test_what_stands_keeps_the_image_it_was_cloned_from(laid_out: LaidOut) -> None:  # noqa: F811
    two, three = laid_out(), laid_out(reservation(["node1", "node2", "node3"]))
    kept = standing(two)
    for key, args in kept.items():
        if key[1] == "file" and args["image"]:
            args["image"] = "an-older-image"
    found = difference(three, kept)
    assert not [row for row in found.changed if row.op == "file"]
    assert [row.name for row in found.new if row.is_shared and row.name.startswith("frontend-")] == []
    assert [row.name for row in found.new if row.is_shared and row.name.startswith("compute-")] != []
