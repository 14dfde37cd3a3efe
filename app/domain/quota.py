# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What one owner may have: nodes at once, node-hours ahead, notice given; in words that say how much is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.capacity import Taken, peaks
from app.domain.errors import InvalidRequest
from app.domain.slot import Slot

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Quota:
    """Ceilings for one owner; None: there is none. `notice` is how long before its start a slot must be asked for."""

    nodes: int | None = None
    node_hours: int | None = None
    notice: timedelta = timedelta(0)


@dataclass(frozen=True)
class Holding:
    """One live reservation of the owner: its compute nodes and its slot."""

    nodes: int
    slot: Slot


def check(quota: Quota, held: Sequence[Holding], wanted: Holding, now: datetime) -> None:
    """InvalidRequest, by field, where `wanted` beside what is `held` passes the quota."""
    wrong = {}
    if wanted.slot.start < now + quota.notice:
        first = now + quota.notice
        wrong["start"] = (
            f"Ask at least {quota.notice / HOUR:g} hours ahead: the first start is {first:%Y-%m-%d %H:%M} UTC."
        )
    at_once = [Taken("owner", "node", one.nodes, one.slot.start, one.slot.end) for one in held]
    most = peaks(at_once, wanted.slot).get(("owner", "node"), 0)
    if quota.nodes is not None and most + wanted.nodes > quota.nodes:
        wrong["node_count"] = (
            f"You may have {quota.nodes:,} compute nodes at once. You hold {most:,} in that time,"
            f" so {max(0, quota.nodes - most):,} are left."
        )
    ahead = sum(node_hours(one, now) for one in held)
    asked = node_hours(wanted, now)
    if quota.node_hours is not None and ahead + asked > quota.node_hours:
        wrong.setdefault(
            "node_count",
            f"You may have {quota.node_hours:,} node-hours ahead of you. You hold {ahead:,.1f} and this is"
            f" {asked:,.1f}, so {max(0.0, quota.node_hours - ahead):,.1f} are left.",
        )
    if wrong:
        raise InvalidRequest(wrong)


def node_hours(one: Holding, now: datetime) -> float:
    """The node-hours of it that are still to come."""
    left = one.slot.end - max(one.slot.start, now)
    return one.nodes * max(left, timedelta(0)) / HOUR
