# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a frontend makes of its site roll: head and nodes are configured from one list (R18), held to golden files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TESTS = Path(__file__).parents[2]
ROLLS = TESTS.parent / "rolls"
GOLDEN = TESTS / "data" / "site-vc-42"
LIB = "files/frontend/usr/lib/leasehold"


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def guest(roll: str, path: str) -> ModuleType:
    """A module that runs inside the frontend, loaded from its roll."""
    source = ROLLS / roll / LIB / path
    spec = importlib.util.spec_from_file_location(f"guest_{source.stem.replace('-', '_')}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def site() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((GOLDEN / "leasehold/site.json").read_text())
    return parsed | {"private_interface": "private", "public_interface": "public"}


@pytest.mark.parametrize(
    ("roll", "module", "path", "golden"),
    [
        ("frontend", "site.d/10-network.py", "/etc/hosts", "hosts"),
        ("frontend", "site.d/10-network.py", "/etc/dnsmasq.conf", "dnsmasq.conf"),
        ("frontend", "site.d/10-network.py", "/etc/nftables.conf", "nftables.conf"),
        ("nfs", "site.d/20-nfs.py", "/etc/exports", "exports"),
        ("slurm", "site.d/50-slurm.py", "/etc/slurm/slurm.conf", "slurm.conf"),
    ],
)
def test_the_frontend_is_configured_as_the_golden_file_says(
    roll: str, module: str, path: str, golden: str
) -> None:
    assert guest(roll, module).frontend(site())[path][2] == (GOLDEN / golden).read_text()


@pytest.mark.parametrize(
    ("roll", "module", "path"),
    [
        ("slurm", "site.d/50-slurm.py", "/etc/slurm/slurm.conf"),
        ("frontend", "site.d/10-network.py", "/etc/hosts"),
    ],
)
def test_head_and_nodes_get_the_same_text(roll: str, module: str, path: str) -> None:
    loaded = guest(roll, module)
    assert loaded.frontend(site())[path] == loaded.nodes(site())[path]


def test_the_scheduler_knows_each_node_of_the_list_and_no_other() -> None:
    lines = guest("slurm", "site.d/50-slurm.py").slurm_conf(site()).splitlines()
    named = [line.split()[0] for line in lines if line.startswith("NodeName=")]
    assert named == [f"NodeName={node['name']}" for node in site()["nodes"]]
    assert f"PartitionName=main Nodes={','.join(n['name'] for n in site()['nodes'])} " in "\n".join(lines)


def test_each_of_several_groups_is_a_partition() -> None:
    roll, parsed = guest("slurm", "site.d/50-slurm.py"), site()
    node1, node2 = parsed["nodes"]
    several = parsed | {
        "nodes": [node1, node2 | {"group": "big"}, node2 | {"name": "node3", "group": "default"}]
    }
    partitions = [line.split()[:2] for line in roll.slurm_conf(several).splitlines() if "Partition" in line]
    assert partitions == [
        ["PartitionName=main", "Nodes=node1,node2,node3"],
        ["PartitionName=node", "Nodes=node1"],
        ["PartitionName=big", "Nodes=node2"],
    ]


def test_only_the_listed_macs_get_a_lease() -> None:
    lines = guest("frontend", "site.d/10-network.py").dnsmasq(site()).splitlines()
    assert sorted(line for line in lines if line.startswith("dhcp-host=")) == sorted(
        f"dhcp-host={node['mac']},{node['name']},{node['address']},infinite" for node in site()["nodes"]
    )
    assert "dhcp-range=10.20.0.0,static,255.255.0.0,infinite" in lines


def good_visit() -> dict[str, list[str]]:
    lines = ["home t0ken", "user ada 2001", "user ben 2002", "outside reached"]
    return {name: [*lines, f"wrote {name}"] for name in ("node1", "node2")}


@pytest.mark.parametrize(
    ("gone", "check"),
    [
        ("home t0ken", "home"),
        ("wrote node2", "home"),
        ("user ben 2002", "users"),
        ("outside reached", "outside"),
    ],
)
def test_a_node_that_lacks_something_fails_that_check_alone(gone: str, check: str) -> None:
    accept = guest("frontend", "accept.py")
    seen = good_visit()
    assert [failing for _, failing in accept.judge(site(), "t0ken", seen)] == [[], [], []]
    seen["node2"].remove(gone)
    assert dict(accept.judge(site(), "t0ken", seen)) == {
        "home": [],
        "users": [],
        "outside": [],
        check: ["node2"],
    }


def test_a_stale_home_does_not_pass() -> None:
    verdict = dict(guest("frontend", "accept.py").judge(site(), "another", good_visit()))
    assert verdict["home"] == ["node1", "node2"]
