# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Who gives a command, for the events it leaves."""

from __future__ import annotations

import getpass


def operator() -> str:
    """The actor of what this command does: the account of the machine it is run from."""
    return f"operator:{getpass.getuser()}"
