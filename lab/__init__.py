# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts made on one machine, for the demo, the tests and the benches.

All functions take the lab's name, and where it matters the host's. docs/lab.rst tells how to use them.
"""

from lab.fault import change_host_key, cut, fill, join, reboot, replace, start_host, stop_host, unfill
from lab.host import enter, on
from lab.keys import ssh
from lab.lifecycle import down, status, up
from lab.plan import lab
from lab.run import LabError
from lab.seen import snapshot

__all__ = [
    "LabError",
    "change_host_key",
    "cut",
    "down",
    "enter",
    "fill",
    "join",
    "lab",
    "on",
    "reboot",
    "replace",
    "snapshot",
    "ssh",
    "start_host",
    "status",
    "stop_host",
    "unfill",
    "up",
]
