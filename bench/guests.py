# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""P6: 20 guests through the whole control plane, with guests that are only files, against Ganeti's fake hypervisor.

Ours: asked for in the form over HTTP, approved on the page, built by the five passes over SSH by the helper on the
lab's hosts, until the page would say "ready". In turn with it Ganeti makes 20 guests by one `batch-create`.

CPU is that of the servers: ours the web server, the passes and all of the hosts (sshd, helper); Ganeti's its daemons
and jobs. Neither counts its client.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import update

from app.db.site import Host
from bench import ganeti, processes, site
from bench.ganeti import Ganeti
from bench.measure import PAIRS, Cost, Result, compare
from bench.site import Bench

GUESTS = 20
SMALL = 10
WITHIN_S = 120.0
# After so long a pass that was started does nothing but look.
SETTLE_S = 3.0
# A round that takes longer than this is counted LONG_ROUNDS times instead of PAIRS.
LONG_S, LONG_ROUNDS = 60.0, 3
PEER = "Ganeti, fake hypervisor"
# As many as will be made at once, with room: the lab's hosts have but the machine's two cores.
ROOM = {"vcpus": 100, "memory_mib": 1 << 20, "disk_mib": 1 << 22}

CAVEATS = [
    "guests are files here and in Ganeti's fake hypervisor alike; ours also have a VXLAN and a bridge on each host",
    "ours has three hosts reached by SSH, Ganeti one node reached by its own RPC on the same machine",
    "Ganeti forks a process for each job; 20 jobs take turns at its locks",
    "fresh passes were just started and import what they need within the run, so each minute's first booking;"
    " passes at work have built something in the same minute",
]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Round:
    """What each contestant's work cost in one round."""

    cold: Cost
    warm: Cost
    small: Cost
    removal: Cost
    peer: Cost
    peer_removal: Cost


def measure() -> tuple[list[Result], str]:
    """The results, and Ganeti's version."""
    with ExitStack() as stack:
        bench = stack.enter_context(site.running({"": {"hypervisor": "null"}}))
        _make_room(bench)
        peer = stack.enter_context(ganeti.running())
        began = time.monotonic()
        _round(bench, peer)
        wanted = LONG_ROUNDS if time.monotonic() - began > LONG_S else PAIRS
        rounds = [_round(bench, peer) for _ in range(wanted)]
        version = peer.version()
    return _results(rounds), version


def _round(bench: Bench, peer: Ganeti) -> Round:
    """Ours, then Ganeti's."""
    before = _cpu(bench, [])
    with site.passes(bench.site) as pids:
        time.sleep(SETTLE_S)
        ids, cold = _make(bench, pids, 1, before)
        removal = _remove(bench, pids, ids)
        ids, warm = _make(bench, pids, 1)
        _remove(bench, pids, ids)
        ids, small = _make(bench, pids, SMALL)
        _remove(bench, pids, ids)
    return Round(cold, warm, small, removal, peer.make(GUESTS), peer.remove(GUESTS))


def _make(
    bench: Bench, passes: list[int], clusters: int, before: float | None = None
) -> tuple[dict[int, str], Cost]:
    """Make GUESTS guests in that many clusters; `before` is the CPU used when the counting is to have begun."""
    names = [f"bench-{next(_numbers)}" for _ in range(clusters)]
    before = _cpu(bench, passes) if before is None else before
    started = time.perf_counter()
    ids = {bench.book(name, GUESTS // clusters - 1): name for name in names}
    for reservation_id in ids:
        bench.approve(reservation_id)
    bench.wait_for("ready", list(ids), WITHIN_S)
    return ids, Cost(time.perf_counter() - started, _cpu(bench, passes) - before)


def _remove(bench: Bench, passes: list[int], ids: dict[int, str]) -> Cost:
    before, started = _cpu(bench, passes), time.perf_counter()
    for reservation_id, name in ids.items():
        bench.cancel(reservation_id, name)
    bench.wait_for("ended", list(ids), WITHIN_S)
    return Cost(time.perf_counter() - started, _cpu(bench, passes) - before)


def _cpu(bench: Bench, passes: list[int]) -> float:
    return processes.cpu([bench.web, *passes]) + site.host_cpu()


def _results(rounds: Sequence[Round]) -> list[Result]:
    contests = {
        "P6 one cluster of 20, fresh passes": ("cold", "peer"),
        "P6 one cluster of 20, passes at work": ("warm", "peer"),
        "P6 10 clusters of 2, passes at work": ("small", "peer"),
        "P6 removing the cluster of 20": ("removal", "peer_removal"),
    }
    return [
        compare(
            f"{name}, {what}",
            [getattr(getattr(round_, ours), what) for round_ in rounds],
            peer=[getattr(getattr(round_, theirs), what) for round_ in rounds],
            peer_name=PEER,
        )
        for name, (ours, theirs) in contests.items()
        for what in ("wall", "cpu")
    ]


def _make_room(bench: Bench) -> None:
    with bench.database.writing() as session:
        session.execute(update(Host).values(**ROOM))
