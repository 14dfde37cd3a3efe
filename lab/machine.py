# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What all labs share on the machine, noted before it is changed and put back by the last lab that goes."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.network import NETNS
from lab.plan import IMAGE_CACHE, STATE
from lab.run import LabError, run

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
NOTE = STATE / "machine.json"


@contextlib.contextmanager
def lock(wait_s: float = 180) -> Iterator[None]:
    """Hold the labs of this machine for one caller; makes the state directory and removes it when empty.

    LabError when another one holds it for longer than `wait_s` seconds, or without the rights of root.
    """
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts: run this as root (or with sudo)")
    descriptor = _lock_directory(time.monotonic() + wait_s)
    try:
        yield
        with contextlib.suppress(OSError):  # not empty: another lab
            STATE.rmdir()
    finally:
        os.close(descriptor)


def prepare(mount_points: dict[str, bool]) -> None:
    """Switch on IPv4 forwarding and make the mount points that lack (path -> whether it is a file)."""
    note = _note()
    note.setdefault("ip_forward", FORWARD.read_text().strip())
    note.setdefault("netns_is_mount", os.path.ismount(NETNS))
    note.setdefault("made", [])
    mount_points = {**mount_points, str(NETNS): False}
    note["made"] += [path for target in mount_points for path in _lacking(target) if path not in note["made"]]
    _write(NOTE, json.dumps(note, indent=1))
    for target, is_file in mount_points.items():
        path = Path(target)
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if is_file else path.mkdir(mode=0o700)
    IMAGE_CACHE.mkdir(parents=True, exist_ok=True)
    FORWARD.write_text("1")


def restore() -> None:
    """Put the machine back when no lab is left on it; with one left, or nothing noted, nothing happens."""
    if any(path.is_dir() for path in STATE.iterdir()) or not NOTE.exists():
        return
    note = _note()
    # A lab of another root file system shares the network and nothing else: its table tells of it.
    if note.get("ip_forward") == "0" and "lhlab-" not in run(["nft", "list", "tables"]).stdout:
        FORWARD.write_text("0")
    if not note.get("netns_is_mount", True) and NETNS.is_dir() and not any(NETNS.iterdir()):
        run(["umount", str(NETNS)], check=False)  # ip(8) mounts this folder on itself at its first use
    for made in reversed(note.get("made", [])):
        path = Path(made)
        with contextlib.suppress(OSError):  # gone, or in use by now
            if path.is_dir():
                path.rmdir()
            elif path.stat().st_size == 0:
                path.unlink()
    NOTE.unlink()


def _lock_directory(until: float) -> int:
    while True:
        STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(STATE, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(STATE) and os.path.samestat(os.fstat(descriptor), os.stat(STATE)):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                raise LabError(
                    f"{STATE}: another lab command is at work here; repeat when it is done"
                ) from None
            time.sleep(0.1)
        os.close(descriptor)  # busy, or removed by the one before us


def _note() -> dict[str, Any]:
    try:
        note = json.loads(NOTE.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _lacking(target: str) -> list[str]:
    """The path and those folders above it that do not exist, from the top down."""
    path = Path(target)
    return [str(step) for step in (*reversed(path.parents), path) if not os.path.lexists(step)]


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
