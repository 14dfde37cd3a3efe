# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Choosing hosts (P5): against Ganeti's hail on the same sites, and how much fits against hspace.

hail is a program that reads a file: its time is from start to answer. Ours reads the same file's text in this
process, so that both decode the site; the start of a Python is not in it. Usage: python -m bench.placement
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.domain.errors import NoRoom
from app.domain.placement import Candidate, Group, place
from bench import measure

PLACE = Path(__file__).parents[1] / ".cache" / "bench" / "htools"
PACKAGE = "ganeti-htools-3.0"
# A node of 16 processors (four guests' to one), 64 GiB and 2 TB; a guest of 1, 2 GiB and 20 GB, as in Ganeti's words.
CPUS, RATIO, MEMORY, DISK = 16, 4, 65_536, 2_000_000
NEEDS = {"vcpu": 1, "memory_mib": 2_048, "disk_mib": 20_480}
ROLES = frozenset({"compute"})
RUNS = 3


def main() -> None:
    """Run hail and ours in turn on each site and publish."""
    hail = install("hail")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for hosts, guests in ((1_000, 1), (100, 100)):
            file = Path(folder) / f"{hosts}-{guests}.json"
            file.write_text(json.dumps(site(hosts, guests)))
            text = file.read_text()
            theirs, ours = [], []
            for number in range(RUNS + 1):
                begin = time.perf_counter()
                argv = [hail, "--no-capacity-checks", str(file)]
                answer = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
                assert json.loads(answer.stdout)["success"], answer.stdout[:500]
                seconds = time.perf_counter() - begin
                mine = _seconds(lambda text=text, guests=guests: _from_text(text, guests))  # type: ignore[misc]
                if number:
                    theirs.append(seconds)
                    ours.append(mine)
            name = f"place {guests} on {hosts} hosts"
            results.append(measure.compare(name, ours, peer=theirs, peer_name="hail 3.0.2"))
        for hosts, guests, policy in ((4_000, 1, "spread"), (4_000, 100, "spread"), (4_000, 100, "pack")):
            candidates, free = _site(site(hosts, guests))
            group = _group(guests, policy)
            times = [_seconds(lambda c=candidates, f=free, g=group: place([g], c, f)) for _ in range(6)]  # type: ignore[misc]
            results.append(
                measure.compare(f"place {guests} on {hosts} hosts, {policy}, read already", times[1:])
            )
        results.append(_fits(Path(folder)))
    measure.publish(
        "placement",
        results,
        versions={"ganeti-htools": "3.0.2"},
        caveats=[
            "hail's time holds its start and optimises a score of balance over the whole site; ours takes the emptiest",
            "hail on 4,000 hosts took 125 s when it was measured apart, and is left out here",
        ],
    )


def install(name: str) -> str:
    """The path of one of htools' programs, from Debian's package, unpacked in a place of its own."""
    program = PLACE / "usr/lib/ganeti/3.0/usr/bin/htools"
    if not program.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=PLACE, check=True, timeout=300)
        (package,) = PLACE.glob(f"{PACKAGE}_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(PLACE)], check=True, timeout=60)
    link = PLACE / name
    if not link.is_symlink():
        link.symlink_to(program)
    return str(link)


def site(hosts: int, guests: int) -> dict[str, Any]:
    """An allocator request in Ganeti's form: one guest on each host already, and `guests` to place."""
    vcpu, memory, disk = NEEDS.values()
    guest = {
        "disk_space_total": disk,
        "disk_template": "plain",
        "disks": [{"mode": "rw", "size": disk, "spindles": 1}],
        "hypervisor": "kvm",
        "memory": memory,
        "nics": [{"bridge": "br0", "ip": None, "link": "br0", "mac": "aa:00:00:00:00:01", "mode": "bridged"}],
        "os": "x",
        "spindle_use": 1,
        "tags": [],
        "vcpus": vcpu,
    }
    new = [guest | {"name": f"new{number}", "required_nodes": 1} for number in range(guests)]
    request = new[0] | {"type": "allocate"} if guests == 1 else {"type": "multi-allocate", "instances": new}
    group = {"alloc_policy": "preferred", "ipolicy": _policy(), "name": "default", "networks": [], "tags": []}
    there = {"admin_state": "up", "admin_state_source": "admin"}
    return {
        "cluster_tags": [],
        "enabled_hypervisors": ["kvm"],
        "cluster_name": "c",
        "version": 2,
        "nodegroups": {"g": group},
        "instances": {
            f"i{n}": guest | there | {"name": f"i{n}", "nodes": [f"node{n}"]} for n in range(hosts)
        },
        "nodes": {f"node{number}": _node(number) for number in range(hosts)},
        "request": request,
    }


def _policy() -> dict[str, Any]:
    least = {
        "cpu-count": 1,
        "disk-count": 1,
        "disk-size": 128,
        "memory-size": 128,
        "nic-count": 1,
        "spindle-use": 1,
    }
    most = {
        "cpu-count": 16,
        "disk-count": 16,
        "disk-size": 1 << 20,
        "memory-size": 65_536,
        "nic-count": 8,
        "spindle-use": 12,
    }
    templates = ["plain", "diskless", "file", "sharedfile", "drbd"]
    std = least | {"disk-size": 1024}
    return {
        "disk-templates": templates,
        "minmax": [{"max": most, "min": least}],
        "spindle-ratio": 64.0,
        "vcpu-ratio": float(RATIO),
        "std": std,
    }


def _node(number: int) -> dict[str, Any]:
    _, memory, disk = NEEDS.values()
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    flags = {
        "drained": False,
        "offline": False,
        "master_candidate": True,
        "master_capable": True,
        "vm_capable": True,
    }
    return flags | {
        "free_disk": DISK - disk,
        "free_memory": MEMORY - memory,
        "free_spindles": 12,
        "group": "g",
        "i_pri_memory": memory,
        "i_pri_up_memory": memory,
        "ndparams": {"exclusive_storage": False, "oob_program": None, "spindle_count": 12, "cpu_speed": 1.0},
        "primary_ip": address,
        "secondary_ip": address,
        "reserved_cpus": 0,
        "reserved_memory": 0,
        "tags": [],
        "total_cpus": CPUS,
        "total_disk": DISK,
        "total_memory": MEMORY,
        "total_spindles": 12,
    }


def _site(document: dict[str, Any]) -> tuple[list[Candidate], dict[tuple[int | str, str], int]]:
    candidates, free = [], dict[tuple[int | str, str], int]()
    used = [guest["nodes"][0] for guest in document["instances"].values()]
    number_of = {name: number for number, name in enumerate(document["nodes"])}
    for name, node in document["nodes"].items():
        number = number_of[name]
        candidates.append(Candidate(number, name, ROLES))
        free[number, "vcpu"] = node["total_cpus"] * RATIO
        free[number, "memory_mib"] = node["free_memory"]
        free[number, "disk_mib"] = node["free_disk"]
    for name in used:
        free[number_of[name], "vcpu"] -= 1
    return candidates, free


def _group(guests: int, policy: str = "spread") -> Group:
    return Group("compute", tuple(f"new{number}" for number in range(guests)), NEEDS, policy=policy)


def _from_text(text: str, guests: int) -> None:
    candidates, free = _site(json.loads(text))
    assert len(place([_group(guests)], candidates, free).hosts) == guests


def _fits(folder: Path) -> measure.Result:
    """How many more guests hspace and we get onto 100 hosts with ten each, as hosts a guest: less is better."""
    hosts, there = 100, 10
    lines = ["default|g|preferred||", ""]
    vcpu, memory, disk = NEEDS.values()
    for number in range(hosts):
        left = f"{MEMORY}|0|{MEMORY - there * memory}|{DISK}|{DISK - there * disk}|{CPUS}"
        lines.append(f"node{number}|{left}|{'N' if number else 'M'}|g|12||N|12|0|1.0")
    lines.append("")
    for number in range(hosts * there):
        node = f"node{number % hosts}"
        lines.append(f"i{number}|{memory}|{disk}|{vcpu}|running|Y|{node}||plain||1|-")
    least, most = "128,1,128,1,1,1", "65536,16,1048576,16,8,12"
    lines += ["", "", f"|128,1,1024,1,1,1|{least};{most}|plain,diskless,file|{float(RATIO)}|64.0", ""]
    file = folder / "site.txt"
    file.write_text("\n".join(lines))
    argv = [install("hspace"), "-t", str(file), f"--standard-alloc={disk},{memory},{vcpu}"]
    argv += ["--no-capacity-checks", "--disk-template", "plain", "--machine-readable=yes"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True).stdout
    found = re.search(r"HTS_ALLOC_INSTANCES='?(\d+)", told)
    assert found, told[-2000:]
    free: dict[tuple[int | str, str], int] = {}
    for number in range(hosts):
        free[number, "vcpu"] = CPUS * RATIO - there * vcpu
        free[number, "memory_mib"], free[number, "disk_mib"] = MEMORY - there * memory, DISK - there * disk
    candidates = [Candidate(number, f"node{number}", ROLES) for number in range(hosts)]
    most_ours = _most(lambda count: place([_group(count)], candidates, free), 100_000)
    return measure.compare(
        "room a guest takes, 100 hosts filled up",
        [hosts / most_ours],
        peer=[hosts / int(found[1])],
        peer_name="hspace 3.0.2",
        unit="hosts",
    )


def _most(attempt: Callable[[int], object], bound: int) -> int:
    good, bad = 0, bound
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            attempt(middle)
        except NoRoom:
            bad = middle
        else:
            good = middle
    return good


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
