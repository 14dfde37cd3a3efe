# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPU time of processes that are not this one's children, read from /proc (proc(5), fields 14 to 17 of stat)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pids: Iterable[int]) -> float:
    """Seconds of CPU that these processes and the children they have waited for have used; the gone count nothing."""
    return sum(_ticks(pid) for pid in pids) / TICKS


def of_namespace(pid: int) -> list[int]:
    """All processes in the PID namespace of process `pid`, the ones in namespaces below it left out."""
    inside = os.readlink(f"/proc/{pid}/ns/pid")
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _namespace(entry) == inside]


def _namespace(entry: Path) -> str | None:
    try:
        return os.readlink(entry / "ns" / "pid")
    except OSError:
        return None


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return ticks_of(text)


def ticks_of(stat: str) -> int:
    """utime + stime + cutime + cstime out of the text of /proc/PID/stat, whatever the process calls itself."""
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])
