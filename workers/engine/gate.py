# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The one place every side effect of a pass goes by, so that a test can crash there.

In production LEASEHOLD_GATE is not set and `step` returns at once. A test sets it to `log:FILE` (write each gate's
name there) or `kill:NAME:N` (SIGKILL this process the N-th time it comes by NAME).
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

_order = os.environ.get("LEASEHOLD_GATE", "")
_passed: Counter[str] = Counter()


def step(name: str) -> None:
    """Go by the gate `name`, like `storage.call.before`."""
    if not _order:
        return
    what, _, rest = _order.partition(":")
    if what == "log":
        with Path(rest).open("a") as log:
            log.write(f"{name}\n")
    elif what == "kill":
        wanted, _, nth = rest.rpartition(":")
        _passed[name] += 1
        if name == wanted and _passed[name] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
