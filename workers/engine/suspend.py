# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Let the machines of a cluster be saved to disk, and run again: in which order their rows ask for it."""

from __future__ import annotations

from collections.abc import Sequence

from app.db import resource
from app.db.resource import Resource

# The operations with machines that have a memory to be saved.
SAVED = ("domain",)


def tell(rows: Sequence[Resource], frontend_id: int, is_wanted: bool) -> bool:
    """Let the machines among the reservation's rows ask to be saved, or to run; whether all of them do by now.

    The frontend is saved when all others are, for they live on its disks and names. It runs again before them without
    being told to: their rows need its row.
    """
    machines = [row for row in rows if row.op in SAVED]
    computes = [row for row in machines if row.node_id != frontend_id]
    late = [row for row in machines if _asks_for_saving(row) != is_wanted]
    if is_wanted and not all(_asks_for_saving(row) and row.have == "present" for row in computes):
        late = [row for row in late if row.node_id != frontend_id]
    for row in late:
        others = {name: value for name, value in row.args.items() if name != "saved"}
        resource.ask_anew(row, others | ({"saved": True} if is_wanted else {}))
    return all(_asks_for_saving(row) == is_wanted for row in machines)


def _asks_for_saving(row: Resource) -> bool:
    return bool(row.args.get("saved"))
