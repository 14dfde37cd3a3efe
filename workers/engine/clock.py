# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the passes have the time from: the one thing, beside the door to hosts, that a simulation replaces."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time by the manager's own clock."""
    return datetime.now(UTC)
