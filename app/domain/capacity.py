# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""How much is taken and free over time, from allocations alone."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from app.domain.slot import Slot

Key = tuple[int | str, str]
# The holder of what belongs to no host.
SITE = "site"
# The smallest step of a datetime.
TICK = timedelta(microseconds=1)


class Taken(NamedTuple):
    """`amount` of one resource (`vcpu`, `memory_mib`, `disk_mib`, ...) of one holder for a slot.

    `holder` is a host's id, or a pool's name for what belongs to the whole site.
    """

    holder: int | str
    resource: str
    amount: int
    start: datetime
    end: datetime


def peaks(taken: Iterable[Taken], slot: Slot) -> dict[Key, int]:
    """The highest sum in use at any instant of `slot`, for each (holder, resource) that is used at all.

    Ends are exclusive: what ends at an instant makes room for what starts at it.
    """
    changes: dict[Key, list[tuple[datetime, int]]] = defaultdict(list)
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


def beyond(wanted: Iterable[Taken], held: Iterable[Taken]) -> list[Taken]:
    """What has to be taken besides what is `held`, so that all that is `wanted` is covered at every instant.

    Of each (holder, resource), `wanted` has one at the most.
    """
    mine: dict[Key, list[Taken]] = defaultdict(list)
    for one in held:
        mine[one.holder, one.resource].append(one)
    more = []
    for want in wanted:
        beside = [
            one for one in mine[want.holder, want.resource] if one.start < want.end and want.start < one.end
        ]
        edges = {want.start, want.end}
        edges |= {edge for one in beside for edge in (one.start, one.end) if want.start < edge < want.end}
        for start, end in pairwise(sorted(edges)):
            lack = want.amount - sum(one.amount for one in beside if one.start <= start and end <= one.end)
            if lack > 0:
                more.append(want._replace(amount=lack, start=start, end=end))
    return more


def free(capacity: Mapping[Key, int], taken: Iterable[Taken], slot: Slot) -> dict[Key, int]:
    """What stays free throughout `slot`, for each (holder, resource) of `capacity`; never below zero."""
    left = dict(capacity)
    for key, used in peaks(taken, slot).items():
        if key in left:
            left[key] = max(0, left[key] - used)
    return left


def free_from(
    capacity: Mapping[Key, int], taken: Iterable[Taken], length: timedelta, since: datetime
) -> list[tuple[datetime, Key, int]]:
    """What stays free throughout [start, start + length) as `start` moves on from `since`.

    (start, (holder, resource), free from this start on), by start: first each of `capacity` as it is at `since`, then
    every change.
    """
    steps: dict[Key, list[tuple[datetime, int]]] = {key: [] for key in capacity}
    for holder, resource, amount, start, end in taken:
        mine = steps.get((holder, resource))
        if mine is not None and end > since:
            mine.append((start if start > since else since, amount))
            mine.append((end, -amount))
    changes = [
        (start, key, max(0, capacity[key] - peak))
        for key, mine in steps.items()
        for start, peak in _peaks_from(mine, length, since)
    ]
    changes.sort(key=itemgetter(0))
    return changes


def _peaks_from(
    steps: list[tuple[datetime, int]], length: timedelta, since: datetime
) -> Iterator[tuple[datetime, int]]:
    """(start, highest level within [start, start + length)) at `since` and wherever it changes as start moves on."""
    levels, level = [(since, 0)], 0
    for moment, change in sorted(steps):
        level += change
        if moment == levels[-1][0]:
            levels[-1] = moment, level
        else:
            levels.append((moment, level))
    # Those levels in the window that are or may yet be its highest: each is higher than all behind it. A level comes
    # in just after the start from which its first moment is reached, and leaves where the next one begins.
    window: deque[tuple[int, datetime]] = deque()
    peak, reach = -1, length - TICK
    for number, (begin, level) in enumerate(levels, start=1):
        enters = max(since, begin - reach)
        while window and window[0][1] < enters:
            start = window.popleft()[1]
            peak = window[0][0]
            yield start, peak
        while window and window[-1][0] <= level:
            window.pop()
        # The last level is left for good, and never leaves.
        window.append((level, levels[number][0] if number < len(levels) else begin))
        if level > peak:
            peak = level
            yield enters, peak
    while len(window) > 1:
        start = window.popleft()[1]
        yield start, window[0][0]
