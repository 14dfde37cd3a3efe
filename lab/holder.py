# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The first process of a lab host: arranges the host's mounts, starts its daemons, reaps what ends.

Started by lab/host.py in fresh mount, UTS, IPC and PID namespaces and in the host's network namespace. Reads
one JSON object from standard input: `mark` (source name of the tmpfs mounts, by which the host's processes
are found), `hostname`, `mounts`, `folders` with their modes, `daemons` (argv and log file of each). Writes
"ready" or what went wrong to standard output. Imports nothing of the project: it outlives the checkout.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any


def _mount(mark: str, entry: dict[str, Any]) -> None:
    """Make one mount; its target, and the folders above, come to be if they lack (on a tmpfs made before)."""
    target = os.path.realpath(entry["target"])
    if entry.get("file"):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(OSError), open(target, "x"):
            pass  # a place to mount on: exists already, or lies on /proc
    else:
        os.makedirs(target, exist_ok=True)
    if entry["type"] == "bind":
        argv = ["mount", "--bind", entry["source"], target]
    elif entry["type"] == "tmpfs":
        argv = ["mount", "-t", "tmpfs", "-o", entry["options"], mark, target]
    else:
        argv = ["mount", "-t", entry["type"], entry["type"], target]
    subprocess.run(argv, check=True, timeout=20, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def part_from_the_machine() -> None:
    """Let no mount of the host show on the machine."""
    if subprocess.run(["mount", "--make-rprivate", "/"], timeout=20, stderr=subprocess.PIPE).returncode:
        # In a chroot / itself is no mount point. What is mounted below it, and not covered by another, is.
        with open("/proc/self/mountinfo") as lines:
            points = [line.split(" ")[4] for line in lines]
        for point in points:
            subprocess.run(["mount", "--make-private", point], timeout=20, stderr=subprocess.PIPE)


def _drop_other_namespaces() -> None:
    """Let go of the copies of named network namespaces: they would keep another lab's alive."""
    subprocess.run(
        ["umount", "--recursive", "--lazy", "/run/netns"], timeout=20, check=False, stderr=subprocess.DEVNULL
    )


def _start(argv: list[str], log: str) -> None:
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "ab") as output:
        subprocess.Popen(  # reaped by the loop at the end, as any orphan of the host is
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath + ":/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"},
        )


def main() -> None:
    host = json.load(sys.stdin)
    try:
        part_from_the_machine()
        _drop_other_namespaces()
        for entry in host["mounts"]:
            _mount(host["mark"], entry)
        for folder, mode in host["folders"].items():
            os.makedirs(folder, exist_ok=True)
            os.chmod(folder, mode)
        socket.sethostname(host["hostname"])
        for daemon in host["daemons"]:
            _start(daemon["argv"], daemon["log"])
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or b""
        print(f"{error} {detail.decode(errors='replace')}".strip(), flush=True)
        sys.exit(1)
    print("ready", flush=True)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1)  # no child at present; an orphan of an SSH session may still become one


if __name__ == "__main__":
    main()
