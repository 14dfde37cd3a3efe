# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""When something fits: the earliest start, the latest end, the largest number, by a sweep over points of change."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter

from app.domain.capacity import Taken, free, peaks
from app.domain.errors import NoRoom
from app.domain.placement import Candidate, Group, Placement, able, fits, place
from app.domain.slot import Slot

Holder = int | str
Amounts = Mapping[tuple[Holder, str], int]
# The smallest step of a datetime.
_TICK = timedelta(microseconds=1)


class Stock:
    """What there is and what is taken of it: hosts, amounts by (holder, resource), and who holds what when.

    `pools` is what every cluster takes of the site as a whole, by (holder, resource).
    """

    def __init__(
        self, candidates: Sequence[Candidate], have: Amounts, taken: Iterable[Taken], pools: Amounts
    ) -> None:
        self.candidates, self.have, self.taken, self.pools = candidates, have, list(taken), pools

    def fit(self, groups: Sequence[Group], slot: Slot) -> Placement:
        """Where the groups fit throughout `slot`; NoRoom says what is short."""
        return self.fit_into(groups, free(self.have, self.taken, slot))

    def fit_into(self, groups: Sequence[Group], left: Amounts) -> Placement:
        """Where the groups fit into these free amounts; NoRoom says what is short."""
        reasons = [POOL_REASONS[key[1]] for key, amount in self.pools.items() if left.get(key, 0) < amount]
        if reasons:
            raise NoRoom(reasons)
        return place(groups, self.candidates, left)

    def is_free(self, groups: Sequence[Group], slot: Slot) -> bool:
        """Whether the groups fit throughout `slot`."""
        try:
            self.fit(groups, slot)
        except NoRoom:
            return False
        return True


POOL_REASONS = {
    "network_id": "No private network is free in this slot: all network IDs of the site are taken.",
    "public_address": "No public address is free in this slot.",
}


def earliest(
    stock: Stock, groups: Sequence[Group], length: timedelta, since: datetime, until: datetime
) -> datetime | None:
    """The earliest start in [since, until] from which the groups fit for `length`; None when there is none.

    Room only grows where something ends, so only `since` and the ends are tried. `stock.taken` must hold whatever is
    taken at some moment of [since, until + length).
    """
    window = _Window(stock, groups, length, since)
    for start in sorted({since, *(one.end for one in stock.taken if since < one.end <= until)}):
        window.move_to(start)
        if not window.may_fit():
            continue
        try:
            stock.fit_into(groups, window.free())
        except NoRoom:
            continue
        return start
    return None


class _Window:
    """What is free throughout [start, start + length) while start moves on; only holders that change are looked at."""

    def __init__(self, stock: Stock, groups: Sequence[Group], length: timedelta, since: datetime) -> None:
        self._stock, self._groups, self._length = stock, groups, length
        self._slot = Slot(since, since + length)
        self._of: dict[Holder, list[Taken]] = defaultdict(list)
        # From when on a holder must be looked at again: where something leaves it, and just after the start from
        # which something is reached.
        changes = []
        for one in stock.taken:
            self._of[one.holder].append(one)
            changes.append((one.end, one.holder))
            if one.start - length >= since:
                changes.append((one.start - length + _TICK, one.holder))
        for mine in self._of.values():
            mine.sort(key=attrgetter("start"))
        self._changes = sorted(changes, key=itemgetter(0))
        self._next = 0
        self._left: dict[tuple[Holder, str], int] = dict(stock.have)
        self._resources: dict[Holder, list[str]] = defaultdict(list)
        for holder, resource in stock.have:
            self._resources[holder].append(resource)
        self._room = [
            {host.id: fits(host.id, group.needs, self._left) for host in able(group, stock.candidates)}
            for group in groups
        ]
        self._sums = [sum(room.values()) for room in self._room]
        # The pools change with every cluster and matter only where the hosts have room: they are looked at last.
        self._pools = {holder for holder in self._resources if not isinstance(holder, int)}
        self._look_again([holder for holder in self._of if holder not in self._pools])

    def move_to(self, start: datetime) -> None:
        """Let the window begin at `start`, not before where it began so far."""
        self._slot = Slot(start, start + self._length)
        changed: set[Holder] = set()
        while self._next < len(self._changes) and self._changes[self._next][0] <= start:
            changed.add(self._changes[self._next][1])
            self._next += 1
        self._look_again(changed - self._pools)

    def may_fit(self) -> bool:
        """Whether the hosts able to take each group have room enough, looked at group by group: quick, and never
        wrong where it says no."""
        return all(total >= group.must for total, group in zip(self._sums, self._groups, strict=True))

    def free(self) -> Amounts:
        """What is free throughout the window, by (holder, resource)."""
        self._look_again(self._pools)
        return self._left

    def _look_again(self, holders: Iterable[Holder]) -> None:
        for holder in holders:
            used = peaks(self._within(holder), self._slot)
            for resource in self._resources[holder]:
                key = holder, resource
                self._left[key] = max(0, self._stock.have[key] - used.get(key, 0))
            if not isinstance(holder, int):
                continue
            for number, group in enumerate(self._groups):
                if holder in self._room[number]:
                    count = fits(holder, group.needs, self._left)
                    self._sums[number] += count - self._room[number][holder]
                    self._room[number][holder] = count

    def _within(self, holder: Holder) -> list[Taken]:
        """What of the holder is taken in the window. What has ended is dropped for good: the window only moves on."""
        mine = self._of[holder]
        reached = bisect_left(mine, self._slot.end, key=attrgetter("start"))
        within = [one for one in mine[:reached] if one.end > self._slot.start]
        self._of[holder] = within + mine[reached:]
        return within


def latest_end(stock: Stock, groups: Sequence[Group], slot: Slot) -> datetime | None:
    """The latest end within `slot` until which the groups fit from its start on; None when they do not fit at all.

    What fits for a time fits for a shorter one, so the points at which something begins are searched by halves.
    """
    ends = sorted({slot.end, *(one.start for one in stock.taken if slot.start < one.start < slot.end)})
    good, bad = -1, len(ends)
    while bad - good > 1:
        middle = (good + bad) // 2
        if stock.is_free(groups, Slot(slot.start, ends[middle])):
            good = middle
        else:
            bad = middle
    return ends[good] if good >= 0 else None


def largest(stock: Stock, groups_of: Callable[[int], Sequence[Group]], most: int, slot: Slot) -> int:
    """The largest number up to `most` for which `groups_of(number)` fit throughout `slot`; 0 when not even one does."""
    left = free(stock.have, stock.taken, slot)
    good, bad = 0, most + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            stock.fit_into(groups_of(middle), left)
        except NoRoom:
            bad = middle
        else:
            good = middle
    return good


def held_until(have: Amounts, taken: Iterable[Taken], mine: Amounts, slot: Slot) -> datetime:
    """Until when, within `slot`, `mine` can be kept beside `taken`; slot.start when not at all."""
    changes: dict[tuple[Holder, str], list[tuple[datetime, int]]] = defaultdict(list)
    for one in taken:
        key = one.holder, one.resource
        if key in mine and one.start < slot.end and slot.start < one.end:
            changes[key] += [(max(one.start, slot.start), one.amount), (one.end, -one.amount)]
    until = slot.end
    for key, amount in mine.items():
        level = amount
        room = have.get(key, 0)
        if level > room:
            return slot.start
        for moment, change in sorted(changes[key]):
            level += change
            if level > room:
                until = min(until, moment)
                break
    return until
