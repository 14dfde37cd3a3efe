# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds what belongs to a lab on this machine, by marks that no crash can take away: processes, loops."""

import json
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.network import NETNS
from lab.plan import HOST_DIR, IMAGE_CACHE, STATE, Lab
from lab.run import LabError, run

NOWHERE = (0, 0)


@dataclass(frozen=True)
class Process:
    """A process of the lab: `host` is empty for one that only sits in one of the lab's network namespaces;
    `is_first` marks the first process of a host (lab/holder.py)."""

    pid: int
    host: str
    is_first: bool
    argv: tuple[str, ...]


def processes(lab: Lab) -> list[Process]:
    """All processes in the lab's mount or network namespaces, in the order of their ids."""
    spaces = _network_namespaces(lab)
    found = (_process(lab, int(entry), spaces) for entry in os.listdir("/proc") if entry.isdigit())
    return sorted((process for process in found if process), key=lambda process: process.pid)


def of_host(lab: Lab, host: str) -> list[Process]:
    """The processes inside the namespaces of one host, its first one included."""
    return [process for process in processes(lab) if process.host == host]


def first_process(lab: Lab, host: str) -> int | None:
    """The process id of the host's first process; None when the host is off."""
    return next((process.pid for process in of_host(lab, host) if process.is_first), None)


def kill(lab: Lab, host: str | None = None, within_s: float = 15) -> None:
    """Kill with signal 9 every process of the lab, or of one host, and wait until none is left.

    LabError when this very process is among them, or when some do not go in `within_s` seconds.
    """
    until = time.monotonic() + within_s
    while found := [process for process in processes(lab) if host in (None, process.host)]:
        if os.getpid() in {process.pid for process in found}:
            raise LabError(f"lab {lab.name}: this command runs inside the lab; run it on the machine itself")
        if time.monotonic() > until:
            stuck = ", ".join(f"{process.pid} {process.argv[:1]}" for process in found)
            raise LabError(f"lab {lab.name}: processes that do not die: {stuck}; look at them, then repeat")
        # The first process takes all others of its host with it.
        for process in sorted(found, key=lambda process: not process.is_first):
            send(process.pid, signal.SIGKILL)
        time.sleep(0.02)


def send(pid: int, number: int) -> None:
    """Send a signal; a process that is gone already is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def loops(lab: Lab) -> dict[str, str]:
    """Loop devices on files of the lab: device -> backing file as the kernel names it.

    A device counts when its file lies below the lab's state directory or on a file system of its hosts, or is
    mounted on one of them. A file in the image cache, or one below the hosts' own directory that is removed by
    now, may be another lab's as well: such a device counts only while this lab is the machine's only one, and
    never when it was set up on the machine itself, which shows in the path.
    """
    listed = run(["losetup", "--list", "--json", "--output", "NAME,BACK-INO,BACK-MAJ:MIN,BACK-FILE"]).stdout
    devices = json.loads(listed or '{"loopdevices": []}')["loopdevices"]
    if not devices:
        return {}
    own = _files(lab)
    mounted = _mounted_devices(lab)
    is_alone = not any(path.is_dir() and path != lab.state for path in STATE.glob("*"))
    cached = _files_below(str(IMAGE_CACHE))
    found = {}
    for device in devices:
        name, file = device["name"], device["back-file"] or ""
        key = (str(device["back-maj:min"]).strip(), int(device["back-ino"]))
        is_removed = file.startswith(f"{HOST_DIR}/") and file.endswith(" (deleted)")
        is_cached = key in cached and not file.startswith(f"{IMAGE_CACHE}/")
        if key in own or name in mounted or (is_alone and (is_cached or is_removed)):
            found[name] = file
    return found


def detach(devices: Iterable[str]) -> None:
    """Detach loop devices; to be called when the processes that use them are gone."""
    for device in devices:
        run(["losetup", "--detach", device], check=False)


def _network_namespaces(lab: Lab) -> dict[tuple[int, int], str]:
    """(device, inode) of each of the lab's named network namespaces -> its name."""
    own = _identity("/proc/self/ns/net")
    names = NETNS.glob(f"{lab.mark}-*") if NETNS.is_dir() else ()
    spaces = {_identity(str(path)): path.name for path in names}
    return {identity: name for identity, name in spaces.items() if identity not in (own, NOWHERE)}


def _identity(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return NOWHERE
    return (found.st_dev, found.st_ino)


def _process(lab: Lab, pid: int, spaces: dict[tuple[int, int], str]) -> Process | None:
    """The process if it is one of the lab's."""
    folder = Path("/proc", str(pid))
    try:
        sources = {line.split(" ", 1)[0] for line in (folder / "mounts").read_text().splitlines()}
        marks = {source for source in sources if source.startswith(f"{lab.mark}-")}
        if not marks and _identity(f"{folder}/ns/net") not in spaces:
            return None
        argv = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
        status = (folder / "status").read_text().splitlines()
    except OSError:
        return None  # ended while we looked
    numbers = next((line.split()[1:] for line in status if line.startswith("NSpid:")), [])
    host = min(marks).removeprefix(f"{lab.mark}-") if marks else ""
    is_first = bool(host) and len(numbers) > 1 and numbers[-1] == "1" and not _is_nested(pid, numbers)
    return Process(pid, host, is_first, argv)


def _is_nested(pid: int, numbers: list[str]) -> bool:
    """Whether the process is the first one of a PID namespace that was made inside a host."""
    own = Path("/proc/self/status").read_text().splitlines()
    depth = next(len(line.split()) - 1 for line in own if line.startswith("NSpid:"))
    return len(numbers) != depth + 1


def _files(lab: Lab) -> set[tuple[str, int]]:
    """("major:minor", inode) of every file below the state directory, and on what hosts mounted on theirs."""
    roots = [str(lab.state)]
    firsts = (process for process in processes(lab) if process.is_first)
    roots += [f"/proc/{process.pid}/root{HOST_DIR}/volumes" for process in firsts]
    return set().union(*(_files_below(root) for root in roots))


def _files_below(root: str) -> set[tuple[str, int]]:
    found = set()
    for folder, _, names in os.walk(root):
        for name in names:
            device, inode = _identity(os.path.join(folder, name))
            found.add((f"{os.major(device)}:{os.minor(device)}", inode))
    return found


def _mounted_devices(lab: Lab) -> set[str]:
    """The loop devices that are mounted on the lab's hosts, whole or by a partition."""
    found = set()
    for process in processes(lab):
        if process.is_first:
            text = Path(f"/proc/{process.pid}/mounts").read_text()
            found |= set(re.findall(r"^(/dev/loop\d+)(?:p\d+)? ", text, re.MULTILINE))
    return found
