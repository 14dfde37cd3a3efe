# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""How much is taken and free over time, from allocations alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.domain.slot import Slot


@dataclass(frozen=True)
class Taken:
    """`amount` of one resource (`vcpu`, `memory_mib`, `disk_mib`, ...) of one holder for a slot.

    `holder` is a host's id, or a pool's name for what belongs to the whole site.
    """

    holder: int | str
    resource: str
    amount: int
    start: datetime
    end: datetime


def peaks(taken: Iterable[Taken], slot: Slot) -> dict[tuple[int | str, str], int]:
    """The highest sum in use at any instant of `slot`, for each (holder, resource) that is used at all.

    Ends are exclusive: what ends at an instant makes room for what starts at it.
    """
    changes: dict[tuple[int | str, str], list[tuple[datetime, int]]] = defaultdict(list)
    first, last = slot.start, slot.end
    for one in taken:
        if one.start < last and first < one.end:
            steps = changes[one.holder, one.resource]
            steps.append((one.start if one.start > first else first, one.amount))
            # What is given back after the slot lowers nothing in it.
            if one.end < last:
                steps.append((one.end, -one.amount))
    highest = {}
    for key, steps in changes.items():
        level = top = 0
        # At equal times the negative changes come first: the end is exclusive.
        steps.sort()
        for _, change in steps:
            level += change
            # The innermost line of every search: a comparison costs a third of a call of max().
            if level > top:
                top = level
        highest[key] = top
    return highest


def free(
    capacity: Mapping[tuple[int | str, str], int], taken: Iterable[Taken], slot: Slot
) -> dict[tuple[int | str, str], int]:
    """What stays free throughout `slot`, for each (holder, resource) of `capacity`; never below zero."""
    used = peaks(taken, slot)
    return {key: max(0, amount - used.get(key, 0)) for key, amount in capacity.items()}
