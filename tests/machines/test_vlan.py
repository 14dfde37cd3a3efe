# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""802.1Q on kernels that have it: tagged links and bridges made, used and gone, and what is another's left alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.plan import Lab
from tests.machines.machine import Machine
from tests.machines.trunk import captured, guest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]


def network(key: str, vid: int, **over: Any) -> dict[str, Any]:
    """The arguments of a cluster's network."""
    args = {"link": f"{key}-vl", "bridge": f"{key}-br", "vid": vid, "parent": "eth1", "mtu": 1500}
    return {**args, "alias": f"leasehold:{key}", **over}


def links(machine: Machine) -> dict[str, dict[str, Any]]:
    listed = json.loads(machine.run("ip", "-json", "-details", "link"))
    keep = ("mtu", "master", "ifalias", "operstate", "link", "address")
    return {link["ifname"]: {key: link.get(key) for key in keep} for link in listed}


@pytest.fixture(autouse=True)
def unchanged(x1: Machine, x2: Machine) -> Iterator[None]:
    """The hosts' links are after the test what they were before it."""
    before = links(x1), links(x2)
    yield
    assert (links(x1), links(x2)) == before


def reaches(machine: Machine, namespace: str, address: str, *, size: int = 56) -> bool:
    ping = ("ping", "-c", "3", "-i", "0.3", "-W", "3", "-M", "do", "-s", str(size), address)
    return ", 0% packet loss" in machine.run("ip", "netns", "exec", namespace, *ping, check=False)


def test_link_and_bridge_are_made_marked_and_gone_and_the_parent_is_not_touched(x1: Machine) -> None:
    before = links(x1)
    did = x1.changed("vlan", "present", network("lh7", 101, mtu=1400))
    assert did[0] == "LinkAdd name=lh7-vl kind=vlan mtu=1400 vid=101 parent=eth1"
    made = links(x1)
    assert {name: made[name] for name in before} == before
    vl, br = made["lh7-vl"], made["lh7-br"]
    assert (vl["link"], vl["master"], vl["mtu"], vl["ifalias"]) == ("eth1", "lh7-br", 1400, "leasehold:lh7")
    assert (br["mtu"], br["ifalias"], br["operstate"]) == (1400, "leasehold:lh7", "UP")
    shown = json.loads(x1.run("ip", "-json", "-details", "address", "show"))
    ours = {link["ifname"]: link for link in shown if link["ifname"].startswith("lh7")}
    assert ours["lh7-vl"]["linkinfo"]["info_data"]["id"] == 101
    assert all(link["addr_info"] == [] for link in ours.values()), "the host is no member of the network"
    assert x1.changed("vlan", "absent", network("lh7", 101, mtu=1400))
    assert links(x1) == before


def test_same_addresses_in_two_clusters_and_each_frame_with_its_tag(
    machine_lab: Lab, x1: Machine, x2: Machine
) -> None:
    clusters = {"lh7": 101, "lh8": 102}
    for machine in (x1, x2):
        for key, vid in clusters.items():
            machine.changed("vlan", "present", network(key, vid))
    with contextlib.ExitStack() as guests:
        for key in clusters:
            guests.enter_context(guest(x1, key, "10.20.1.1"))
            guests.enter_context(guest(x2, key, "10.20.1.2"))
        guests.enter_context(guest(x2, "lh8", "10.20.1.3", 2))
        with captured(machine_lab, "x2") as frames:
            for key in clusters:
                assert reaches(x1, f"{key}-guest1", "10.20.1.2"), key
            assert reaches(x1, "lh8-guest1", "10.20.1.3", size=1472), "a full frame passes with its tag"
            assert not reaches(x1, "lh7-guest1", "10.20.1.3"), "that address is in the other cluster only"
    assert {frame.vid for frame in frames if "10.20.1." in frame.words} == {101, 102}, (
        "and none without a tag"
    )
    assert {frame.vid for frame in frames if "who-has 10.20.1.3" in frame.words} == {101, 102}
    assert {frame.vid for frame in frames if "10.20.1.3 is-at" in frame.words} == {102}
    for machine in (x1, x2):
        for key, vid in clusters.items():
            machine.changed("vlan", "absent", network(key, vid))


def test_bridge_with_a_guest_on_it_stays(x1: Machine) -> None:
    x1.changed("vlan", "present", network("lh7", 101))
    with guest(x1, "lh7", "10.20.1.1"):
        code, message = x1.refusal("vlan", "absent", network("lh7", 101))
        assert (code, "lh7-t1" in message) == ("busy", True)
    x1.changed("vlan", "absent", network("lh7", 101))


def test_tag_of_another_hand_is_recognised_and_left_alone(x1: Machine) -> None:
    x1.run("ip", "link", "add", "link", "eth1", "name", "eth1.101", "type", "vlan", "id", "101")
    try:
        code, message = x1.refusal("vlan", "present", network("lh7", 101))
        assert code == "not_ours"
        assert "VLAN 101 is on eth1 already, as link eth1.101" in message
        assert x1.ask(("vlan", "absent", network("lh7", 101)))[0].did == ()
        assert "eth1.101" in links(x1)
    finally:
        x1.run("ip", "link", "del", "eth1.101")


def test_tag_that_another_cluster_still_has_is_waited_for(x1: Machine) -> None:
    x1.changed("vlan", "present", network("lh6", 101))
    code, message = x1.refusal("vlan", "present", network("lh7", 101))
    assert (code, "lh6-vl" in message) == ("busy", True)
    x1.changed("vlan", "absent", network("lh6", 101))


@pytest.mark.parametrize(
    ("over", "code", "words"),
    [
        ({"vid": 0}, "bad_request", "vid must be from 1 to 4094"),
        ({"vid": 4095}, "bad_request", "vid must be from 1 to 4094"),
        ({"parent": "eth9"}, "tool_failed", "this host has no link eth9"),
        ({"mtu": 9000}, "tool_failed", "has an MTU of 1500"),
        ({"parent": "lh6-br"}, "out_of_remit", "is a link of ours"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    x1: Machine, over: dict[str, Any], code: str, words: str
) -> None:
    refused = x1.refusal("vlan", "present", network("lh7", 101) | over)
    assert refused[0] == code
    assert words in refused[1]


def test_what_was_broken_by_hand_is_mended(x1: Machine) -> None:
    args = network("lh7", 101)
    x1.changed("vlan", "present", args)
    for damage in (
        ("link", "set", "lh7-br", "down"),
        ("link", "set", "lh7-vl", "nomaster"),
        ("link", "set", "lh7-vl", "mtu", "1300"),
        ("link", "del", "lh7-vl"),
    ):
        x1.run("ip", *damage)
        assert x1.changed("vlan", "present", args), damage
    assert x1.changed("vlan", "present", network("lh7", 102)), "another VLAN ID: the link is made anew"
    x1.changed("vlan", "absent", network("lh7", 102))
