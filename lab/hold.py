# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts the first process of a host (lab/holder.py), which everything else of the host hangs on."""

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.network import NETNS
from lab.plan import Host, Lab
from lab.run import LabError

HOLDER = Path(__file__).with_name("holder.py")
# Debian's own: the folder of another one (under /root, say) may be out of sight on the host.
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def hold(lab: Lab, host: Host, netns: str, order: dict[str, Any]) -> None:
    """Start it in that named network namespace and in mount, UTS, IPC and PID namespaces of its own.

    `order` is what lab/holder.py reads, less the mark and the host's name. Returns when the daemons are started,
    which is before they answer. LabError with the reason otherwise.
    """
    # With setsid --fork the host is nobody's child: it outlives this process, and leaves it no zombie.
    argv = ["setsid", "--fork", "nsenter", f"--net={NETNS / netns}"]
    argv += ["unshare", "--mount", "--propagation", "unchanged", "--uts", "--ipc", "--pid", "--fork"]
    argv += [PYTHON, "-I", "-S", str(HOLDER)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdin.write(json.dumps({"mark": lab.netns(host), "hostname": host.name, **order}))
        starter.stdin.close()
        is_heard, _, _ = select.select([starter.stdout], [], [], 30)
        answer = starter.stdout.readline().strip() if is_heard else "no answer in 30 s"
    if answer != "ready":
        raise LabError(f"{lab.name} {host.name}: did not start: {answer}")
