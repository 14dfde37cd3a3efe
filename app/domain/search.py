# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The earliest start of all, with little read of what is taken.

A slot is held whole: no holder has more room for it than at any moment of it. So one look at moments near the end of a
slot may refuse nearly a whole length of starts, all of which hold these. What no look refuses is read, of those holders
that still have room, and swept (`opening.earliest`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from app.domain import opening
from app.domain.capacity import SITE, TICK, Key, Taken
from app.domain.demand import Holder, Need, needs, of_site
from app.domain.opening import Stock
from app.domain.placement import Group
from app.domain.slot import Slot

# A length has so many parts, a power of two, each of which may be looked at, in so many moments at once.
PARTS = 16
MOMENTS = 4
# Starts that are no further apart are swept together: it costs less than to tell them apart by looks.
NEAR = timedelta(hours=12)
MINUTE = timedelta(minutes=1)
# The holders that are tried first have room for so many times as much, and are so many at the least.
PLENTY = 4
FEW = 8


class Ledger(Protocol):
    """What is taken, read when it is asked for."""

    def highest(self, moments: Sequence[datetime], resource: str) -> Mapping[Holder, int]:
        """How much of the resource each holder lends at that of the moments at which it is the most; never too much."""

    def pools(self, slot: Slot) -> Mapping[Key, int]:
        """How much of the site's pools is taken in `slot` at the most; never too little."""

    def taken(self, slot: Slot, holders: Collection[Holder]) -> Iterable[Taken]:
        """Whatever is taken of these holders at some moment of `slot`; there may be some of others with it."""


class Search:
    """When `groups` fit for `length` on what `site` has; `ledger` says what of that is taken."""

    def __init__(self, site: Stock, ledger: Ledger, groups: Sequence[Group], length: timedelta) -> None:
        self._site, self._ledger, self._groups, self._length = site, ledger, groups, length
        self._part = length // PARTS
        # What takes nothing has room nowhere (`placement.fits`); the sweep finds that out.
        bounds = [_bound(need, site.have) for need in needs(groups, site.candidates) if need.amounts]
        # What is likely to be short comes first: then nobody asks for the rest.
        self._bounds = sorted(bounds, key=lambda bound: sum(bound.room({})) / max(1, bound.must))
        self._seen: dict[tuple[datetime, _Bound], list[int]] = {}

    def earliest(self, since: datetime, until: datetime) -> datetime | None:
        """The earliest start in [since, until] from which the groups fit; None when there is none.

        One later than `since` is moved on to the whole minute where that fits, too.
        """
        if self._is_short([]):
            return None
        if self._fits_on_few(since):
            return since
        looks = self._length > NEAR
        width = least = self._part * -(-NEAR // self._part) if looks else NEAR
        passed = since - TICK
        while passed < until:
            if looks and (refused := self._refused(passed)):
                passed += refused * self._part
                width = least if refused == PARTS - 1 else width
                continue
            first, last = passed + TICK, min(passed + width, until)
            stock, groups = self._stock(
                Slot(first, last + self._length + MINUTE), self._in_play(self._held(passed, last))
            )
            start = opening.earliest(stock, groups, self._length, first, last)
            if start is not None:
                return start if start == since else self._to_the_minute(start, last, stock, groups)
            # A sweep reads a length more than it gets on: where looks are of no use, the next one gets on further.
            passed, width = last, width * 2
        return None

    def _to_the_minute(
        self, start: datetime, last: datetime, stock: Stock, groups: Sequence[Group]
    ) -> datetime:
        """`start`, or the whole minute after it if that is one, too; all that matters until `last` is in `stock`."""
        whole = start.replace(second=0, microsecond=0)
        if whole == start:
            return start
        whole += MINUTE
        if stock.is_free(groups, Slot(whole, whole + self._length)):
            return whole
        return whole if whole > last and self._is_free(whole, self._in_play([])) else start

    def _fits_on_few(self, start: datetime) -> bool:
        """Whether they fit on a few holders, which is all that is read of most sites: never wrong where it says yes."""
        end = start - TICK + PARTS * self._part
        if self._is_short([end]):
            return False
        few: set[Holder] = set()
        for bound in self._bounds:
            total = 0
            room = sorted(zip(self._room(bound, [end]), bound.holders, strict=True), reverse=True)
            for number, (count, holder) in enumerate(room):
                if not count or (number >= FEW and total >= PLENTY * bound.must):
                    break
                few.add(holder)
                total += count
        return self._is_free(start, few)

    def _refused(self, passed: datetime) -> int:
        """How many parts of the time after `passed` have no start in them, as far as looks tell."""
        step = PARTS
        while step > 1:
            # All starts until step - 1 parts after `passed` hold the part after that and every step-th one from there.
            if self._is_short([passed + number * self._part for number in range(step, PARTS + 1, step)]):
                return step - 1
            step //= 2
        return 0

    def _is_short(self, ends: Sequence[datetime]) -> bool:
        """Whether there is too little of something for slots that hold the parts with these ends."""
        return any(sum(self._room(bound, ends)) < bound.must for bound in self._bounds)

    def _room(self, bound: _Bound, ends: Sequence[datetime]) -> list[int]:
        """How many things each of the bound's holders has room for at all moments looked at in these parts."""
        room = bound.room({})
        for end in ends:
            room = list(map(min, room, self._look(bound, end)))
        return room

    def _look(self, bound: _Bound, end: datetime) -> list[int]:
        if (end, bound) not in self._seen:
            moments = [end - number * self._part / MOMENTS for number in range(MOMENTS)]
            taken = self._ledger.highest(moments, bound.resource)
            self._seen |= {
                (end, one): one.room(taken) for one in self._bounds if one.resource == bound.resource
            }
        return self._seen[end, bound]

    def _held(self, passed: datetime, last: datetime) -> list[datetime]:
        """The ends of those parts looked at that each slot holds which begins after `passed` until `last`."""
        return [
            end
            for end in {end for end, _ in self._seen}
            if last + self._part <= end <= passed + PARTS * self._part
        ]

    def _in_play(self, ends: Sequence[datetime]) -> set[Holder]:
        """The holders that may have room for something in slots that hold these parts, as far as was looked."""
        return {
            holder
            for bound in self._bounds
            for holder, count in zip(
                bound.holders,
                self._room(bound, [end for end in ends if (end, bound) in self._seen]),
                strict=True,
            )
            if count
        }

    def _is_free(self, start: datetime, holders: set[Holder]) -> bool:
        slot = Slot(start, start + self._length)
        stock, groups = self._stock(slot, holders)
        return stock.is_free(groups, slot)

    def _stock(self, slot: Slot, holders: set[Holder]) -> tuple[Stock, Sequence[Group]]:
        """What these holders have and what is taken of it in `slot`, and what has to find room there."""
        groups, have = self._groups, self._site.have
        at_most = self._ledger.pools(slot)
        if all(have.get((SITE, r), 0) - at_most.get((SITE, r), 0) >= n for r, n in of_site(groups).items()):
            # The pools are never short, so it does not matter when they are less full.
            groups = [group for group in groups if group.role != SITE]
            holders = holders - {SITE}
        candidates = [host for host in self._site.candidates if host.id in holders]
        mine = {key: amount for key, amount in have.items() if key[0] in holders}
        return Stock(candidates, mine, self._ledger.taken(slot, holders)), groups


@dataclass(frozen=True, eq=False)
class _Bound:
    """`must` things need room for `amount` each of that resource of which the site has the least for them.

    What else they need is left to the sweep: this is enough for a quick no.
    """

    must: int
    resource: str
    amount: int
    holders: tuple[Holder, ...]
    have: tuple[int, ...]

    def room(self, taken: Mapping[Holder, int]) -> list[int]:
        """How many such things each holder has room for beside what is taken."""
        amount = self.amount
        return [
            max(0, (have - taken.get(holder, 0)) // amount)
            for holder, have in zip(self.holders, self.have, strict=True)
        ]


def _bound(need: Need, have: Mapping[Key, int]) -> _Bound:
    each = []
    for resource, amount in need.amounts.items():
        there = tuple(have.get((holder, resource), 0) for holder in need.holders)
        each.append(_Bound(need.must, resource, amount, need.holders, there))
    return min(each, key=lambda bound: sum(bound.room({})))
