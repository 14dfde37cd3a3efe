# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Detached jobs: long work that goes on after the SSH session, its state kept in files that later requests read.

A job's directory holds `argv.json`, `runner` (process id and start time, so that a recycled id is not taken for
it), `log` and, once it has ended, `rc`. The program runs below a runner of ours, which alone writes `rc`. One
whose runner is gone without that is "lost"; what it left is found by a marker in the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from workers.node.protocol import Refused
from workers.node.steps import JobSeen

LOG_TAIL = 3000
MARKER = "LEASEHOLD_JOB"  # in the environment of all that belongs to a job: how its remains are found
START_WAIT_S = KILL_WAIT_S = 10


def look(dir: str) -> JobSeen:
    """How the job stands."""
    if not os.path.isdir(dir):
        return JobSeen("none")
    rc, log = _read(f"{dir}/rc"), _tail(f"{dir}/log")
    if rc is not None:
        return JobSeen("ended", int(rc), log)
    return JobSeen("running" if _lives(_read(f"{dir}/runner")) else "lost", None, log)


def start(dir: str, argv: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Start the job's runner in a session of its own, and come back when it has told who it is."""
    os.makedirs(dir, 0o700, exist_ok=True)
    with open(f"{dir}/argv.json", "w") as file:
        json.dump(list(argv), file)
    log = os.open(f"{dir}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        runner = subprocess.Popen(
            [sys.executable, "-I", os.path.abspath(sys.argv[0]), "job", dir],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, MARKER: dir},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)
    until = time.monotonic() + START_WAIT_S
    while _read(f"{dir}/runner") is None:
        if runner.poll() is not None or time.monotonic() > until:
            raise Refused("tool_failed", f"the job in {dir} did not start: {_tail(f'{dir}/log')[-500:]}")
        time.sleep(0.02)


def run(dir: str) -> int:
    """Be the runner: tell who this is, run the program to its end, write its exit status."""
    with open(f"{dir}/argv.json") as file:
        argv = json.load(file)
    _write(f"{dir}/runner", f"{os.getpid()} {_started(os.getpid())}")
    try:
        rc = subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        rc = 127
    _write(f"{dir}/rc", str(rc))
    return 0


def clear(dir: str, part: str) -> None:
    """Kill what is left of the job, free its mounts and the loop devices on `part`, drop its files.

    Its log stays as DIR.log.
    """
    until = time.monotonic() + KILL_WAIT_S
    while pids := _processes(dir):
        if time.monotonic() > until:
            raise Refused("busy", f"processes of the job in {dir} do not end: {', '.join(map(str, pids))}")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for mount in sorted(_mounts(dir), reverse=True):
        _say("umount", "--lazy", mount)
    # losetup compares device and inode: the path that sysfs shows is the one in the job's own mount table.
    for loop in _say("losetup", "--noheadings", "--output", "NAME", "--associated", part).split():
        _say("losetup", "--detach", loop)
    with suppress(FileNotFoundError):
        os.replace(f"{dir}/log", f"{dir}.log")
    with suppress(FileNotFoundError):
        shutil.rmtree(dir)


def _say(*argv: str) -> str:
    """What the program prints; whether it worked is seen when the job is looked at again."""
    done = subprocess.run(argv, check=False, timeout=30, capture_output=True, text=True)
    return done.stdout


def _lives(runner: str | None) -> bool:
    pid, _, started = (runner or "").partition(" ")
    return pid.isdigit() and bool(started) and _started(int(pid)) == started


def _started(pid: int) -> str | None:
    """When the process was started, with the boot it belongs to: together with its id that is unique."""
    try:
        with open(f"/proc/{pid}/stat") as file, open("/proc/sys/kernel/random/boot_id") as boot:
            fields = file.read().rpartition(")")[2].split()
            # Fields 3 and 22 of proc(5); a zombie has ended.
            return None if fields[0] == "Z" else f"{fields[19]} {boot.read().strip()}"
    except (FileNotFoundError, ProcessLookupError):
        return None


def _processes(dir: str) -> list[int]:
    """Everything that has the job's marker in its environment, whatever became of its parents."""
    mark, found = f"{MARKER}={dir}".encode(), []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                found.append(int(entry))
    return found


def _mounts(dir: str) -> list[str]:
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    return [point for point in points if point.startswith(dir + "/")]


def _write(path: str, text: str) -> None:
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
