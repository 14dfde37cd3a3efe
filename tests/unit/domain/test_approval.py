# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Rules that approve: the first that fits does, and each of its limits counts."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.approval import AutoApprove, rule_for
from app.domain.quota import HOUR, Holding
from app.domain.slot import Slot
from tests.factories import NOW

WANTED = Holding(4, Slot(NOW + HOUR, NOW + 3 * HOUR))


@pytest.mark.parametrize(
    ("limit", "reached", "missed"),
    [("nodes", 4, 3), ("hours", 2, 1), ("node_hours", 8, 7), ("notice_s", 3600, 3601)],
)
def test_each_limit_may_be_reached_and_not_passed(limit: str, reached: Any, missed: Any):
    assert AutoApprove("r", **{limit: reached}).approves("p", WANTED, NOW)
    assert not AutoApprove("r", **{limit: missed}).approves("p", WANTED, NOW)


def test_a_rule_for_a_project_is_for_no_other():
    assert AutoApprove("r", project="p").approves("p", WANTED, NOW)
    assert not AutoApprove("r", project="q").approves("p", WANTED, NOW)


def test_the_first_rule_that_fits_is_named():
    rules = [AutoApprove("tiny", nodes=1), AutoApprove("small", nodes=4), AutoApprove("all")]
    found = rule_for(rules, "p", WANTED, NOW)
    assert found is not None
    assert found.name == "small"
    assert rule_for(rules[:1], "p", WANTED, NOW) is None
    assert rule_for([], "p", WANTED, NOW) is None
