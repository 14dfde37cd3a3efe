# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The storage pass: makes, publishes and removes volumes. Cron starts it each minute."""

from __future__ import annotations

import sys

from workers.engine import watch

if __name__ == "__main__":
    sys.exit(watch.main("storage"))
