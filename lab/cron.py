# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Debian's own cron daemon, run beside the machine's: it sees our crontab file and nothing else.

It lives in mount and PID namespaces of its own, so that neither the machine's crontabs are run twice nor anything
outlives `stop`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab.holder import part_from_the_machine
from lab.run import LabError, run

# Those that this process started: one that nobody holds is complained of when it is collected.
_started: dict[Path, subprocess.Popen[bytes]] = {}
CRONTAB = "/etc/cron.d/leasehold"


def start(folder: Path) -> None:
    """Start cron with `folder`/cron.d in place of /etc/cron.d; it keeps running when the caller ends.

    A cron started before for the same folder is stopped first.
    """
    stop(folder)
    for name in ("cron.d", "crontabs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "crontab").write_text("")
    with (folder / "cron.log").open("ab") as log:
        started = subprocess.Popen(
            [
                # "unchanged", and made private inside: in a chroot / is no mount point, and unshare would refuse.
                *("unshare", "--mount", "--propagation", "unchanged"),
                *("--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", "lab.cron", str(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started[folder] = started
    (folder / "cron.pid").write_text(str(started.pid))
    # It either stands after a moment or has said in its log why not.
    time.sleep(0.5)
    if started.poll() is not None:
        raise LabError(f"cron did not start: {(folder / 'cron.log').read_text()[-1000:].strip()}")


def stop(folder: Path) -> None:
    """End the cron of this folder and every pass it started; nothing happens where there is none."""
    file = folder / "cron.pid"
    try:
        pid = int(file.read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        file.unlink(missing_ok=True)
        return
    if str(folder).encode() in argv and b"lab.cron" in argv:
        os.kill(pid, signal.SIGKILL)
        ours = _started.pop(folder, None)
        if ours is not None:
            ours.wait(10)
        _wait_until_gone(pid)
    file.unlink(missing_ok=True)


def _wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return
        time.sleep(0.05)


def _become_cron(folder: Path) -> None:
    """In the fresh namespaces: put our files in place of the machine's and turn into cron."""
    part_from_the_machine()
    for name, place in (
        ("cron.d", "/etc/cron.d"),
        ("crontabs", "/var/spool/cron/crontabs"),
        ("crontab", "/etc/crontab"),
    ):
        run(["mount", "--bind", str(folder / name), place])
    # cron's pid file lies here: the machine's own cron must not be taken for this one.
    run(["mount", "-t", "tmpfs", "leasehold-cron", "/run"])
    os.execv("/usr/sbin/cron", ["cron", "-f"])  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    _become_cron(Path(sys.argv[1]))
