# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which requests a site approves by itself: rules as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.quota import HOUR, Holding


@dataclass(frozen=True)
class AutoApprove:
    """One rule: a request of `project` (empty: of any) that is granted no more than this needs no person's approval.

    What is None does not matter. `notice_s` is how long before its start it must be asked for at the least.
    """

    name: str
    project: str = ""
    nodes: int | None = None
    hours: int | None = None
    node_hours: int | None = None
    notice_s: int = 0

    def approves(self, project: str, wanted: Holding, now: datetime) -> bool:
        """Whether a request of `project` that is granted `wanted` at `now` fits the rule."""
        length = wanted.slot.length
        return (
            self.project in ("", project)
            and (self.nodes is None or wanted.nodes <= self.nodes)
            and (self.hours is None or length <= self.hours * HOUR)
            and (self.node_hours is None or wanted.nodes * length <= self.node_hours * HOUR)
            and wanted.slot.start >= now + timedelta(seconds=self.notice_s)
        )


def rule_for(
    rules: Iterable[AutoApprove], project: str, wanted: Holding, now: datetime
) -> AutoApprove | None:
    """The first of the rules that approves the request; None: a person decides."""
    return next((rule for rule in rules if rule.approves(project, wanted, now)), None)
