# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the environment overrides, in sections and at the top."""

from __future__ import annotations

from app.settings import load


def test_the_environment_overrides_keys_of_sections_and_at_the_top() -> None:
    environment = {"LEASEHOLD_WEB__SESSION_HOURS": "8", "LEASEHOLD__SITE": "Elsewhere", "LEASEHOLD_GATE": "x"}
    found = load(environ=environment)
    assert (found.web.session_hours, found.site) == (8, "Elsewhere")
