# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a refusal carries besides its reasons: who is in the way, what would fit instead, what became different."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.shape import Shape
from app.domain.slot import Slot


@dataclass(frozen=True)
class InTheWay:
    """Something that holds what was asked for: a cluster that the asker may see by its name, else another
    project's (`name` is None), or the maintenance of a host (`what` says which)."""

    what: str
    name: str | None
    until: datetime


@dataclass(frozen=True)
class Difference:
    """What somebody did to a field since one looked: times as ISO 8601 text, None where there was or is nothing."""

    field: str
    before: str | int | None
    after: str | int | None
    by: str
    at: datetime


@dataclass(frozen=True)
class Alternative:
    """The request with another slot or fewer nodes, which fits: `kind` is later, smaller or shorter, or of a series, by
    its first slot, fewer: without the slots that have no room."""

    kind: str
    slot: Slot
    shape: Shape
