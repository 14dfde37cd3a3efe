# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What one project may have (nodes, node-hours, length, number, notice), in words that say how much is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.capacity import Taken, free_from, peaks
from app.domain.errors import InvalidRequest
from app.domain.slot import Slot

HOUR = timedelta(hours=1)
# The project as the one who has its nodes.
NODES = ("project", "node")


@dataclass(frozen=True)
class Quota:
    """Ceilings for one project; None: there is none, 0: nothing at all.

    `reservations` is the stacking limit: how many may be live, now and ahead. Chained back to back they reach no
    further than that many times `length_hours`. `notice` is how long before its start a slot must be asked for.
    """

    nodes: int | None = None
    node_hours: int | None = None
    length_hours: int | None = None
    reservations: int | None = None
    notice: timedelta = timedelta(0)


@dataclass(frozen=True)
class Holding:
    """One live reservation of the project: its compute nodes and its slot."""

    nodes: int
    slot: Slot


@dataclass(frozen=True)
class Line:
    """How far one ceiling is used: `held` without what is wanted, `projected` with it; None: there is no ceiling."""

    what: str
    held: float
    projected: float
    ceiling: int | None

    @property
    def is_over(self) -> bool:
        """Whether it would be passed."""
        return self.ceiling is not None and self.projected > self.ceiling


def check(
    quota: Quota,
    held: Sequence[Holding],
    wanted: Holding,
    now: datetime,
    *,
    is_new: bool = True,
    count_field: str = "node_count",
) -> None:
    """InvalidRequest, by field, where `wanted` beside what is `held` passes the quota.

    Something that is there and is to become `wanted` is not among `held`; its notice was given (`is_new` False). Too
    many nodes are told as `count_field`.
    """
    wrong = {}
    if is_new and wanted.slot.start < now + quota.notice:
        first = now + quota.notice
        wrong["start"] = (
            f"Ask at least {quota.notice / HOUR:g} hours ahead: the first start is {first:%Y-%m-%d %H:%M} UTC."
        )
    if quota.length_hours is not None and wanted.slot.length > quota.length_hours * HOUR:
        wrong["end"] = f"A slot of your project lasts at most {quota.length_hours:,} hours."
    if quota.reservations is not None and len(held) >= quota.reservations:
        wrong.setdefault(
            "start",
            f"Your project may have {quota.reservations:,} reservations that are not over, and has {len(held):,}:"
            " wait for one to end, or cancel one.",
        )
    most = _at_once(held, wanted.slot)
    if quota.nodes is not None and most + wanted.nodes > quota.nodes:
        wrong[count_field] = (
            f"Your project may have {quota.nodes:,} compute nodes at once. It holds {most:,} in that time,"
            f" so {max(0, quota.nodes - most):,} are left."
        )
    ahead = sum(node_hours(one, now) for one in held)
    asked = node_hours(wanted, now)
    if quota.node_hours is not None and ahead + asked > quota.node_hours:
        wrong.setdefault(
            count_field,
            f"Your project may have {quota.node_hours:,} node-hours ahead of it. It holds {ahead:,.1f} and this is"
            f" {asked:,.1f}, so {max(0.0, quota.node_hours - ahead):,.1f} are left.",
        )
    if wrong:
        raise InvalidRequest(wrong)


def nodes_left(quota: Quota, held: Sequence[Holding], slot: Slot, now: datetime) -> int | None:
    """The most nodes that one more holding in `slot` may have; None: there is no ceiling."""
    left = []
    if quota.nodes is not None:
        left.append(quota.nodes - _at_once(held, slot))
    each = node_hours(Holding(1, slot), now)
    if quota.node_hours is not None and each:
        ahead = sum(node_hours(one, now) for one in held)
        # A billionth of a node more: hours are no whole numbers, and their sums a little off.
        left.append(int((quota.node_hours - ahead) / each + 1e-9))
    return max(0, min(left)) if left else None


def first_start(quota: Quota, held: Sequence[Holding], wanted: Holding) -> datetime | None:
    """The first start, that of `wanted` or a later one, from which its nodes may be had at once for as long as it
    lasts; None: there is none."""
    if quota.nodes is None:
        return wanted.slot.start
    changes = free_from({NODES: quota.nodes}, _taken(held), wanted.slot.length, wanted.slot.start)
    # Of several changes at one start the last is what is left from it on.
    left = {start: number for start, _, number in changes}
    return next((start for start, number in left.items() if number >= wanted.nodes), None)


def lines(quota: Quota, held: Sequence[Holding], wanted: Sequence[Holding], now: datetime) -> list[Line]:
    """How far what counts up is used, now and with what is `wanted`, no two of which are in one slot: of the nodes
    at once, where they are the most."""
    at_once = [(_at_once(held, one.slot), one.nodes) for one in wanted]
    most, more = max(at_once, key=sum, default=(0, 0))
    ahead = sum(node_hours(one, now) for one in held)
    asked = sum(node_hours(one, now) for one in wanted)
    return [
        Line("Compute nodes at once", most, most + more, quota.nodes),
        Line("Node-hours ahead", ahead, ahead + asked, quota.node_hours),
        Line("Reservations not over", len(held), len(held) + len(wanted), quota.reservations),
    ]


def node_hours(one: Holding, now: datetime) -> float:
    """The node-hours of it that are still to come."""
    left = one.slot.end - max(one.slot.start, now)
    return one.nodes * max(left, timedelta(0)) / HOUR


def _at_once(held: Sequence[Holding], slot: Slot) -> int:
    return peaks(_taken(held), slot).get(NODES, 0)


def _taken(held: Sequence[Holding]) -> list[Taken]:
    return [Taken(*NODES, one.nodes, one.slot.start, one.slot.end) for one in held]
