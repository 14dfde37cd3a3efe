# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""How early building has to begin, from what building took before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

# With fewer builds than this behind us the configured lead is the better guess.
ENOUGH = 5


def lead(past_s: Sequence[float], configured_s: float) -> timedelta:
    """The lead before a slot's start: the 95th percentile of past builds (nearest rank), else `configured_s`."""
    if len(past_s) < ENOUGH:
        return timedelta(seconds=configured_s)
    ranked = sorted(past_s)
    return timedelta(seconds=ranked[min(len(ranked) - 1, -(-len(ranked) * 95 // 100) - 1)])
