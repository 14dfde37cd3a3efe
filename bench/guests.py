# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""P6: 20 guests through the whole control plane, with guests that are only files, against Ganeti's fake hypervisor.

Ours: asked for in the form over HTTP, approved on the page, built by the five passes over SSH by the helper on the
lab's hosts, until the page would say "ready". Once as one cluster of 20, once as ten clusters of two that are asked
for one after the other. In turn with it Ganeti makes 20 guests by one `gnt-instance batch-create`.

CPU is that of the servers: ours the web server, the passes (started afresh for each run, as cron does, so that each
imports what it needs within the run) and all of the hosts (sshd, helper); Ganeti's its daemons and jobs. Neither
counts its client.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from sqlalchemy import update

from app.db.site import Host
from bench import ganeti, processes, site
from bench.measure import PAIRS, Cost, Result, compare, in_turn
from bench.site import Bench

GUESTS = 20
SMALL = 10
WITHIN_S = 120.0
# After so long a pass that was started does nothing but look.
SETTLE_S = 3.0
# A round that takes longer than this is repeated no more than LONG_PAIRS times.
LONG_PAIR_S, LONG_PAIRS = 60.0, 3
PEER = "Ganeti, fake hypervisor"
# As many as will be made at once, with room: the lab's hosts have but the machine's two cores.
ROOM = {"vcpus": 100, "memory_mib": 1 << 20, "disk_mib": 1 << 22}

CAVEATS = [
    "guests are files here and in Ganeti's fake hypervisor alike; ours also have a VXLAN and a bridge on each host",
    "ours has three hosts reached by SSH, Ganeti one node reached by its own RPC on the same machine",
    "Ganeti forks a process for each job; 20 jobs take turns at its locks",
    "a run of ours begins with passes that have been started but imported nothing: the dearest moment to ask",
]
_numbers = itertools.count(1)


def measure() -> tuple[list[Result], str]:
    """The results, and Ganeti's version."""
    with ExitStack() as stack:
        bench = stack.enter_context(site.running({"": {"hypervisor": "null"}}))
        _make_room(bench)
        peer = stack.enter_context(ganeti.running())
        removals: dict[str, list[Cost]] = {"ours": [], "peer": []}
        contestants: dict[str, Callable[[], Cost]] = {
            "one cluster of 20": lambda: _ours(bench, 1, GUESTS - 1, removals["ours"]),
            "10 clusters of 2": lambda: _ours(bench, SMALL, GUESTS // SMALL - 1, []),
            "ganeti": lambda: _theirs(peer, removals["peer"]),
        }
        began = time.monotonic()
        for run in contestants.values():
            run()
        rounds = LONG_PAIRS if time.monotonic() - began > LONG_PAIR_S else PAIRS
        for kept in removals.values():
            kept.clear()
        costs = in_turn(contestants, rounds, warm_up=False)
        version = peer.version()
    return _results(costs, removals), version


def _results(costs: dict[str, list[Cost]], removals: dict[str, list[Cost]]) -> list[Result]:
    theirs = costs.pop("ganeti")
    pairs = {f"P6 20 guests as {name}": (mine, theirs) for name, mine in costs.items()}
    pairs["P6 removing 20 guests again"] = removals["ours"], removals["peer"]
    return [
        compare(f"{name}, {what}", _all(mine, what), peer=_all(other, what), peer_name=PEER)
        for name, (mine, other) in pairs.items()
        for what in ("wall", "cpu")
    ]


def _all(costs: Sequence[Cost], what: str) -> list[float]:
    return [getattr(cost, what) for cost in costs]


def _make_room(bench: Bench) -> None:
    with bench.database.writing() as session:
        session.execute(update(Host).values(**ROOM))


def _ours(bench: Bench, clusters: int, nodes: int, removals: list[Cost]) -> Cost:
    """Make the clusters and remove them: returns what making them cost, appends what removing them did."""
    names = [f"bench-{next(_numbers)}" for _ in range(clusters)]
    before = _cpu(bench, [])
    with site.passes(bench.site) as pids:
        time.sleep(SETTLE_S)
        started = time.perf_counter()
        ids = [bench.book(name, nodes) for name in names]
        for reservation_id in ids:
            bench.approve(reservation_id)
        bench.wait_for("ready", ids, WITHIN_S)
        wall, made = time.perf_counter() - started, _cpu(bench, pids)
        started = time.perf_counter()
        for reservation_id, name in zip(ids, names, strict=True):
            bench.cancel(reservation_id, name)
        bench.wait_for("ended", ids, WITHIN_S)
        removals.append(Cost(time.perf_counter() - started, _cpu(bench, pids) - made))
    return Cost(wall, made - before)


def _cpu(bench: Bench, passes: list[int]) -> float:
    return processes.cpu([bench.web, *passes]) + site.host_cpu()
