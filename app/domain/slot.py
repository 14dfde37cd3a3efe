# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Half-open time slots [start, end) in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, order=True)
class Slot:
    """The time [start, end): the end itself is the first moment that is free again."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a slot's times must carry a time zone")
        if self.end <= self.start:
            raise ValueError("a slot's end must be after its start")

    @property
    def length(self) -> timedelta:
        """The slot's duration."""
        return self.end - self.start

    def overlaps(self, other: Slot) -> bool:
        """Whether the two share a moment; slots that touch at an instant do not."""
        return self.start < other.end and other.start < self.end


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; a naive time is refused with ValueError rather than guessed at."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be placed")
    return moment.astimezone(UTC)
