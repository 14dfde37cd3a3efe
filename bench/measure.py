# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What all benches share: runs in turn, medians, and the results file.

A figure is only compared inside one run of one bench: the machine's load moves wall times two- to threefold.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PAIRS = 5


@dataclass(frozen=True)
class Cost:
    """One run: wall time and this process's CPU time (its ended children included), in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Result:
    """One line of a results file: medians; `ratio` = peer / ours, above 1 where we win."""

    name: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    floor: float | None
    unit: str
    runs: int
    ours_min: float
    ours_max: float


def timed(run: Callable[[], object]) -> Cost:
    """What `run()` costs this process."""
    cpu, wall = _cpu(), time.perf_counter()
    run()
    return Cost(time.perf_counter() - wall, _cpu() - cpu)


def in_turn(contestants: Mapping[str, Callable[[], Cost]], rounds: int = PAIRS) -> dict[str, list[Cost]]:
    """One warm-up and then `rounds` counted runs of each contestant, A B C A B C ..."""
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            cost = run()
            if number:
                costs[name].append(cost)
    return costs


def compare(
    name: str,
    ours: Sequence[float],
    *,
    peer: Sequence[float] | None = None,
    peer_name: str = "",
    floor: Sequence[float] | None = None,
    unit: str = "s",
) -> Result:
    """The Result of our figures against a peer's and a floor's, all of the same run."""
    mine = statistics.median(ours)
    theirs = None if peer is None else statistics.median(peer)
    return Result(
        name=name,
        ours=_short(mine),
        peer=None if theirs is None else _short(theirs),
        peer_name=peer_name,
        ratio=None if theirs is None else _short(theirs / mine),
        floor=None if floor is None else _short(statistics.median(floor)),
        unit=unit,
        runs=len(ours),
        ours_min=_short(min(ours)),
        ours_max=_short(max(ours)),
    )


def publish(
    bench: str, results: Sequence[Result], *, versions: Mapping[str, str], caveats: Sequence[str]
) -> None:
    """Print the results with their caveats, and put them into bench/results/BENCH.json.

    Lines of the file that this run did not measure stay as they are.
    """
    path = RESULTS / f"{bench}.json"
    path.parent.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **versions}
    old = json.loads(path.read_text()) if path.exists() else []
    fresh = {(result.name, result.peer_name) for result in results}
    lines = [line for line in old if (line["name"], line["peer_name"]) not in fresh]
    lines += [{**asdict(result), "versions": machine} for result in results]
    path.write_text(json.dumps(lines, indent=1) + "\n")
    for result in results:
        print(_sentence(result))
    for caveat in caveats:
        print(f"  note: {caveat}")


def _sentence(result: Result) -> str:
    text = (
        f"{result.name:<34} {result.ours:>9.4g} {result.unit} [{result.ours_min:.4g}..{result.ours_max:.4g}]"
    )
    if result.floor is not None:
        text += f"  floor {result.floor:.4g} (x{result.ours / result.floor:.2f})"
    if result.ratio is not None:
        verdict = "faster" if result.ratio >= 1 else "SLOWER"
        text += f"  {result.peer_name} {result.peer:.4g}: {result.ratio:.3g} times, we are {verdict}"
    return text


def _short(figure: float) -> float:
    return float(f"{figure:.4g}")


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
