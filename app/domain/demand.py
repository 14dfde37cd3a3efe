# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What must find room somewhere, counted: a quick no, long before hosts are chosen, that is never wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.domain.capacity import SITE, Key
from app.domain.placement import Candidate, Group, able, fits

Holder = int | str
Amounts = Mapping[Key, int]


@dataclass(frozen=True)
class Need:
    """`must` things, each of which takes these `amounts` of one holder, need room on `holders`."""

    must: int
    amounts: Mapping[str, int]
    holders: tuple[Holder, ...]


def of_site(groups: Iterable[Group]) -> dict[str, int]:
    """What the groups take of the site as a whole, by resource."""
    return {
        resource: amount for group in groups if group.role == SITE for resource, amount in group.needs.items()
    }


def needs(groups: Sequence[Group], candidates: Sequence[Candidate]) -> list[Need]:
    """What has to be met if the groups are to fit on the candidates, and what they take of the site as a whole with
    them: each alone, then together those that take the same resources."""
    alone = [_need(group, candidates) for group in groups if group.role != SITE]
    of_kind: dict[frozenset[str], list[Need]] = defaultdict(list)
    for need in alone:
        of_kind[frozenset(need.amounts)].append(need)
    # Groups that each fit may still be too many together: taken all for as small as any of them is.
    together = [
        Need(
            sum(need.must for need in alike),
            {resource: min(need.amounts[resource] for need in alike) for resource in resources},
            tuple({holder: None for need in alike for holder in need.holders}),
        )
        for resources, alike in of_kind.items()
        if len(alike) > 1
    ]
    pools = {resource: amount for resource, amount in of_site(groups).items() if amount}
    return [*alone, *together, *([Need(1, pools, (SITE,))] if pools else [])]


def _need(group: Group, candidates: Sequence[Candidate]) -> Need:
    amounts = {resource: amount for resource, amount in group.needs.items() if amount}
    return Need(group.must, amounts, tuple(host.id for host in able(group, candidates)))


class Tally:
    """How many things each holder has room for, carried from one change of what is free to the next."""

    def __init__(self, needs: Sequence[Need]) -> None:
        self._needs = needs
        self._room: list[dict[Holder, int]] = [dict.fromkeys(need.holders, 0) for need in needs]
        self._sums = [0] * len(needs)

    def look_again(self, holders: Collection[Holder], left: Amounts) -> None:
        """Count anew what these holders have room for when `left` is free."""
        for number, (need, room) in enumerate(zip(self._needs, self._room, strict=True)):
            for holder in room.keys() & holders:
                count = fits(holder, need.amounts, left)
                self._sums[number] += count - room[holder]
                room[holder] = count

    def may_be_met(self) -> bool:
        """Whether there is room enough for each need by itself."""
        return all(total >= need.must for total, need in zip(self._sums, self._needs, strict=True))
