# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a guest reported through its virtio-serial channel, or over its console where Xen gives it none.

The guest may be hostile: nothing in it is trusted.
"""

from __future__ import annotations

import json
from typing import Any

MAX_READ = 64 * 1024  # of the channel's file, from its end
MAX_CONSOLE_READ = 1024 * 1024  # of a console, where reports stand among all else
MAX_REPORT = 8 * 1024  # of one report, as JSON


def xen_console(dir: str, domain: str) -> str:
    """Where xenconsoled, told to log guests into our directory, keeps what a domain writes to its console."""
    return f"{dir}/domains/guest-{domain}.log"


def find_event(text: str | None, event: str, edition: str | None = None) -> dict[str, Any] | None:
    """The last report of that event, by that edition of the site roll if one is named, in the channel's text.

    Lines that are no reports are passed over.
    """
    for line in reversed((text or "").splitlines()):
        if len(line) > MAX_REPORT or f'"{event}"' not in line:
            continue
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(report, dict) or report.get("event") != event:
            continue
        if edition is None or report.get("edition") == edition:
            return report
    return None


def last_words(serial: str | None, limit: int = 120) -> str:
    """The last line on a guest's console that says something, made printable."""
    for line in reversed((serial or "").splitlines()):
        words = "".join(char for char in line if char.isprintable()).strip()
        if words:
            return words[-limit:]
    return ""
