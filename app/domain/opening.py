# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""When something fits: the earliest start, the latest end, the largest number, by a sweep over points of change."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter

from app.domain.capacity import SITE, Key, Taken, free, free_from
from app.domain.demand import Amounts, Holder, Tally, needs, of_site
from app.domain.errors import NoRoom
from app.domain.placement import Candidate, Group, Placement, place
from app.domain.slot import Slot


class Stock:
    """What there is and what is taken of it: hosts, amounts by (holder, resource), and who holds what when.

    A group of the role SITE has no members: it takes its needs of the site as a whole.
    """

    def __init__(self, candidates: Sequence[Candidate], have: Amounts, taken: Iterable[Taken]) -> None:
        self.candidates, self.have, self.taken = candidates, have, list(taken)

    def fit(self, groups: Sequence[Group], slot: Slot) -> Placement:
        """Where the groups fit throughout `slot`; NoRoom says what is short."""
        return self.fit_into(groups, free(self.have, self.taken, slot))

    def fit_into(self, groups: Sequence[Group], left: Amounts) -> Placement:
        """Where the groups fit into these free amounts; NoRoom says what is short."""
        reasons = [
            self._short(resource, amount, left.get((SITE, resource), 0))
            for resource, amount in of_site(groups).items()
            if left.get((SITE, resource), 0) < amount
        ]
        if reasons:
            raise NoRoom(reasons)
        return place([group for group in groups if group.role != SITE], self.candidates, left)

    def _short(self, resource: str, amount: int, left: int) -> str:
        if resource.startswith(SEAT):
            roll, have = resource.removeprefix(SEAT), self.have.get((SITE, resource), 0)
            return (
                f"The roll {roll!r} needs {amount:,} licence seats here:"
                f" {left:,} of the site's {have:,} are free in this slot."
            )
        return POOL_REASONS[resource]

    def is_free(self, groups: Sequence[Group], slot: Slot) -> bool:
        """Whether the groups fit throughout `slot`."""
        try:
            self.fit(groups, slot)
        except NoRoom:
            return False
        return True


# Before the name of a roll: the pool of its licence seats.
SEAT = "seat:"
POOL_REASONS = {
    "network_id": "No private network is free in this slot: all network IDs of the site are taken.",
    "public_address": "No public address is free in this slot.",
}


def earliest(
    stock: Stock, groups: Sequence[Group], length: timedelta, since: datetime, until: datetime
) -> datetime | None:
    """The earliest start in [since, until] from which the groups fit for `length`; None when there is none.

    They may begin to fit only where room grows, so only `since` and those moments are tried. `stock.taken` must hold
    whatever is taken at some moment of [since, until + length).
    """
    wanted = needs(groups, stock.candidates)
    counted = {(holder, resource) for need in wanted for holder in need.holders for resource in need.amounts}
    have = {key: amount for key, amount in stock.have.items() if key in counted}
    tally = Tally(wanted)
    left: dict[Key, int] = {}
    changed: set[Holder] = set()
    for start, changes in groupby(free_from(have, stock.taken, length, since), key=itemgetter(0)):
        if start > until:
            break
        has_grown = False
        for _, key, amount in changes:
            has_grown |= amount > left.get(key, -1)
            left[key] = amount
            changed.add(key[0])
        if not has_grown:
            continue
        tally.look_again(changed, left)
        changed.clear()
        if not tally.may_be_met():
            continue
        try:
            stock.fit_into(groups, left)
        except NoRoom:
            continue
        return start
    return None


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


def largest(
    stock: Stock, groups_of: Callable[[int], Sequence[Group]], least: int, most: int, slot: Slot
) -> int:
    """The largest number in [least, most] for which `groups_of(number)` fit throughout `slot`; 0 when none does."""
    left = free(stock.have, stock.taken, slot)
    good, bad = least - 1, most + 1
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            stock.fit_into(groups_of(middle), left)
        except NoRoom:
            bad = middle
        else:
            good = middle
    return good if good >= least else 0


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


def free_since(have: Amounts, taken: Iterable[Taken], mine: Amounts, slot: Slot) -> datetime | None:
    """From when on `mine` can be kept beside `taken` to the end of `slot`; None when not even at its end."""
    beside = list(taken)
    moments = sorted({slot.start, *(one.end for one in beside if slot.start < one.end < slot.end)})
    # What fits from a moment on fits from any later one, so the ends of what is taken are searched by halves.
    good = bisect_left(
        moments, True, key=lambda moment: held_until(have, beside, mine, Slot(moment, slot.end)) == slot.end
    )
    return moments[good] if good < len(moments) else None
