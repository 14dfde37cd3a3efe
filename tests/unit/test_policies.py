# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Ceilings and rules as the settings' file has them: as documented, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.approval import AutoApprove
from app.domain.errors import SiteError
from app.settings import Booking, load


def read(folder: Path, text: str) -> Booking:
    file = folder / "leasehold.toml"
    file.write_text(text)
    return load(str(file), environ={}).booking


def test_a_ceiling_that_is_not_set_is_none_and_zero_is_zero(tmp_path: Path):
    assert read(tmp_path, "").quota_nodes is None
    assert read(tmp_path, "[booking]\nquota_nodes = 0").quota_nodes == 0


def test_rules_are_read_in_their_order(tmp_path: Path):
    rules = '[[booking.auto_approve]]\nname = "small"\nnodes = 4\n'
    rules += '[[booking.auto_approve]]\nname = "physics by day"\nproject = "physics"\nnotice_s = 86400\n'
    assert read(tmp_path, rules).auto_approve == (
        AutoApprove("small", nodes=4),
        AutoApprove("physics by day", project="physics", notice_s=86400),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[booking]\nquota_nodes = -1", "not below 0"),
        ("[booking]\nquota_nodes = nan", "quota_nodes is nan"),
        ("[booking]\nquota_node_hours = inf", "quota_node_hours is inf"),
        ('[booking]\nauto_approve = "all"', "must be tables"),
        ("[[booking.auto_approve]]\nnodes = 4", "name is missing"),
        ('[[booking.auto_approve]]\nname = "a"\nnode = 4', "no setting 'node'"),
        ('[[booking.auto_approve]]\nname = "a"\n[[booking.auto_approve]]\nname = "a"', "a name of its own"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str):
    with pytest.raises(SiteError, match=words):
        read(tmp_path, text)
