# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The `leasehold` command.

What reaches hosts lives in `workers` and runs as a process of its own: this package never imports it. An idle pass
goes through here each minute, so nothing is imported before it is known to be needed.
"""

from __future__ import annotations

import os
import sys

# First words that are handed on, with all that follows, to `python -m MODULE`.
ELSEWHERE = {
    ("pass", "schedule"): "workers.schedule",
    ("pass", "network"): "workers.network",
    ("pass", "storage"): "workers.storage",
    ("pass", "image"): "workers.image",
    ("pass", "machine"): "workers.machine",
    ("host",): "workers.host",
    ("simulate",): "workers.simulate",
    ("plan",): "workers.preview",
}
# The exceptions to it: what is only written to the database.
HERE = (("host", "set"),)


def main() -> None:
    """Run the command line; exits with its status."""
    for words, module in ELSEWHERE.items():
        if tuple(sys.argv[1 : 1 + len(words)]) == words and tuple(sys.argv[1:3]) not in HERE:
            rest = sys.argv[1 + len(words) :]
            os.execv(sys.executable, [sys.executable, "-m", module, *rest])  # noqa: S606 - no shell is the point
    from app.cli.commands import leasehold

    leasehold.main(prog_name="leasehold")
