# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The image pass: builds golden images and writes the frontends' ISOs. Cron starts it each minute."""

from __future__ import annotations

import sys

from workers.engine import watch

if __name__ == "__main__":
    sys.exit(watch.main("image"))
