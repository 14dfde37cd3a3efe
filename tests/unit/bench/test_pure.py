# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pure parts of the benches: what they make of what they measured."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from app.db.resource import Need, Resource
from bench.chart import bars, growth
from bench.history import APART, STRIDE, copy
from bench.idle import read_whole
from bench.measure import compare
from bench.processes import ticks_of
from bench.provision import Run, Step, Times, by_paper, results

HEAD, NODES = "lh1-frontend", ["lh1-node1", "lh1-node2"]
EVENTS = {
    (HEAD, "started"): 3.0,
    (HEAD, "ready"): 60.0,
    ("lh1-node1", "started"): 61.0,
    ("lh1-node2", "started"): 62.0,
    ("lh1-node1", "ready"): 90.0,
    ("lh1-node2", "ready"): 95.0,
    (HEAD, "accepted"): 100.0,
}
STEPS = [Step("golden image", "image", 0.0, 1.0), Step("site roll", "iso", 1.0, 1.5)]


def a_run(late: float) -> Run:
    """A run of ours that took 102 s, beside a hand that wasted `late` seconds before it started."""
    hand = Times({key: value - 3.0 + late for key, value in EVENTS.items()}, 97.0 + late)
    return Run(Times(EVENTS, 102.0), hand, STEPS, HEAD, NODES)


def test_a_processs_name_may_hold_blanks_and_brackets() -> None:
    stat = "7 (a ) b) S 1 7 7 0 -1 4194560 10 20 30 40 11 12 13 14 20 0 1 0 100 0 0"
    assert ticks_of(stat) == 11 + 12 + 13 + 14


def test_the_time_in_which_no_guest_works_is_that_between_the_guests() -> None:
    assert Times(EVENTS, 102.0).idle(HEAD, NODES) == 3.0 + 2.0 + 2.0


def test_our_share_is_taken_directly_and_by_difference() -> None:
    found = {result.name: result for result in results([a_run(late=0.5)], 2)}
    assert found["P13 1 + 2, slot start to READY"].ours == 102.0
    assert found["P13 1 + 2, slot start to READY"].peer == 97.5
    assert found["P13 1 + 2, no guest at work"].peer == 2.5
    assert found["P13 1 + 2, our share, directly"].ours == round(100 * 4.5 / 102, 3)
    assert found["P13 1 + 2, our share, by difference"].ours == round(100 * 4.5 / 102, 3)
    assert found["Fig. 5, each compute node of 2, start to ready"].ours == 31.0


def test_our_figures_stand_under_the_papers_names() -> None:
    assert by_paper(a_run(0.0)) == {
        "ISO": 0.5,
        "distribution": 1.0,
        "frontend": 57.0,
        "frontend in all": 60.0,
    }


def test_a_ratio_above_one_is_a_win() -> None:
    result = compare("x", [2.0, 1.0, 4.0], peer=[10.0, 20.0, 30.0], peer_name="peer")
    assert (result.ours, result.peer, result.ratio) == (2.0, 20.0, 10.0)


def test_a_table_read_whole_is_found_in_both_kinds_of_plan() -> None:
    sqlite = [
        "1 0 0 SCAN reservation",
        "2 0 0 SEARCH r USING INDEX ix_resource_due (pass_name=?)",
        "3 0 0 SCAN n",
        "4 0 0 SCAN h",
        "5 0 0 SCAN r USING COVERING INDEX ix",
    ]
    assert read_whole(sqlite) == [sqlite[0], sqlite[2]]
    postgresql = [
        "  ->  Seq Scan on host h  (cost=0.00..4.00)",
        "  ->  Seq Scan on resource r  (cost=0.00..1.00)",
        "  ->  Index Scan using ix_resource_due on resource r  (cost=0.28..8.30)",
    ]
    assert read_whole(postgresql) == [postgresql[1]]


def test_the_copy_of_a_row_refers_to_the_copies_of_others_and_is_older() -> None:
    moment = datetime(2026, 11, 20, 12, tzinfo=UTC)
    row = {"id": 4, "reservation_id": 1, "node_id": 2, "host_id": 9, "name": "lh1-a", "present_at": moment}
    assert copy(Resource, row, 3) == {
        "id": 4 + 3 * STRIDE,
        "reservation_id": 4,
        "node_id": 2 + 3 * STRIDE,
        "host_id": 9,
        "name": "lh1-a-3",
        "present_at": moment - 3 * APART,
    }
    need = {"resource_id": 5, "needs_id": 4}
    assert copy(Need, need, 1) == {"resource_id": 5 + STRIDE, "needs_id": 4 + STRIDE}


def test_bars_are_well_formed_and_one_a_step() -> None:
    drawing = ElementTree.fromstring(bars("a < b", [("first & last", 0.0, 10.0), ("none", 10.0, 10.0)]))
    found = drawing.findall("{http://www.w3.org/2000/svg}rect")
    assert [float(rect.attrib["width"]) for rect in found] == [560.0, 1.0]


def test_growth_is_drawn_on_axes_of_powers_of_ten() -> None:
    tree = ElementTree.fromstring(
        growth("T & U", "rows", {"a < b": [(100, 0.02), (10_000, 0.2)], "c": [(100, 2.0)]})
    )
    texts = ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["T & U", "rows"]
    assert {"100", "1,000", "10,000", "0.01 s", "0.1 s", "1 s", "10 s", "a < b", "c"} <= set(texts)
    # A hundred times as many to the right, ten times as long upwards.
    spots = [
        (float(node.attrib["cx"]), float(node.attrib["cy"]))
        for node in tree.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert spots == [(60.0, 383.9), (620.0, 263.9), (60.0, 143.9)]
