# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The one door to the host: every process, file and network link is asked for and changed here.

Programs are started from argument lists, in a process group of their own, with a small fixed environment, a
time-out, and a limit on what is kept of their output. File commands outside the helper's directory are refused
here once more, whatever an operation planned.
"""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from workers.node import job, lio, node_record, tgtd
from workers.node.protocol import Refused
from workers.node.steps import (
    Addresses,
    Command,
    Detach,
    EndJob,
    Exec,
    FileCommand,
    FileSeen,
    Flood,
    Free,
    GetJob,
    GetLink,
    GetLio,
    LinkCommand,
    LioExport,
    LioRemove,
    LioSave,
    MakeDir,
    Output,
    Ports,
    Query,
    ReadTail,
    Remove,
    RemoveTree,
    Rename,
    SetSize,
    Show,
    Stat,
    Tagged,
    TgtAccount,
    WriteFile,
    WriteNode,
    describe,
)

if TYPE_CHECKING:
    from workers.node.links import Links

MAX_OUTPUT = 4 * 1024 * 1024
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}
PACKAGES = {  # program -> the Debian package that brings it, for the message when it is missing
    "tgtadm": "tgt",
    "virsh": "libvirt-clients",
    "xorriso": "xorriso",
    "fai-diskimage": "fai-server",
    "qemu-img": "qemu-utils",
    **dict.fromkeys(("lvs", "lvcreate", "lvchange", "lvextend", "lvremove"), "lvm2"),
    "nft": "nftables",
    "blkdiscard": "util-linux",
    "iscsiadm": "open-iscsi",
    "qemu-system-x86_64": "qemu-system-x86",
}


class Door:
    """Asks and changes one host on behalf of the operations; `dir` is the helper's directory there."""

    def __init__(self, dir: str) -> None:
        self.dir = dir
        self._links: Links | None = None

    def ask(self, query: Query) -> Any:
        """The host's answer to the query, of the type that steps.Ask promises; changes nothing."""
        with _refusals(self.dir, str(query)):
            if isinstance(query, Show):
                return run_program(query.argv, None, query.timeout_s)
            if isinstance(query, Stat):
                return _stat(query.path)
            if isinstance(query, Free):
                return _free(query.path)
            if isinstance(query, ReadTail):
                return _read_tail(query.path, query.limit)
            if isinstance(query, GetJob):
                return job.look(self._job_dir(query.job))
            if isinstance(query, GetLio):
                return lio.look(query)
            if isinstance(query, GetLink):
                return self.links.get(query.name)
            if isinstance(query, Tagged):
                return self.links.tagged(query.parent, query.vid)
            if isinstance(query, Addresses):
                return self.links.addresses()
            if isinstance(query, Ports):
                return self.links.ports(query.bridge)
            if isinstance(query, Flood):
                return self.links.flood(query.link)
        raise TypeError(f"no such query: {type(query).__name__}")

    def run(self, command: Command) -> None:
        """Carry the command out; raises Refused naming the command and why it failed."""
        into = command.into if isinstance(command, Exec) else getattr(command, "path", None)
        with _refusals(into or self.dir, describe(command), getattr(command, "needs_bytes", 0)):
            if isinstance(command, Exec):
                _check_output(command, run_program(command.argv, command.stdin, command.timeout_s))
            elif isinstance(command, FileCommand):
                self._change_file(command)
            elif isinstance(command, LinkCommand):
                self.links.change(command)
            elif isinstance(command, TgtAccount):
                tgtd.add_account(command.user, command.password)
            elif isinstance(command, LioExport):
                lio.export(command)
            elif isinstance(command, LioRemove):
                lio.remove(command)
            elif isinstance(command, LioSave):
                lio.save(command)
            elif isinstance(command, WriteNode):
                path = node_record.path(command.target, command.portal)
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                write_file(path, command.text)
            elif isinstance(command, Detach):
                job.start(
                    self._job_dir(command.job), command.argv, {**ENVIRONMENT, **dict(command.environment)}
                )
            elif isinstance(command, EndJob):
                job.clear(self._job_dir(command.job), command.part)
            else:
                raise TypeError(f"no such command: {type(command).__name__}")

    @property
    def links(self) -> Links:
        """The netlink side, opened when it is first needed: importing pyroute2 takes longer than most requests."""
        if self._links is None:
            from workers.node.links import Links

            self._links = Links()
        return self._links

    def close(self) -> None:
        """Close the netlink socket, if one was opened."""
        if self._links is not None:
            self._links.close()
            self._links = None

    def _job_dir(self, name: str) -> str:
        return os.path.join(self.dir, "jobs", name)

    def _change_file(self, command: FileCommand) -> None:
        for path in filter(None, (command.path, getattr(command, "to", None))):
            if os.path.normpath(path) != path or not path.startswith(self.dir + "/"):
                raise Refused("out_of_remit", f"{path} is not below {self.dir}")
        if isinstance(command, WriteFile):
            write_file(command.path, command.text, command.mode)
        elif isinstance(command, MakeDir):
            os.makedirs(command.path, 0o700, exist_ok=True)
            os.chmod(command.path, command.mode)
        elif isinstance(command, Remove):
            with suppress(FileNotFoundError):
                os.unlink(command.path)
        elif isinstance(command, RemoveTree):
            with suppress(FileNotFoundError):
                shutil.rmtree(command.path)
        elif isinstance(command, SetSize):
            with open(os.open(command.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
                os.ftruncate(file.fileno(), command.size)
        elif isinstance(command, Rename):
            _sync(command.path)
            os.rename(command.path, command.to)
            _sync(os.path.dirname(command.to))


def run_program(argv: tuple[str, ...], stdin: str | None, timeout_s: float) -> Output:
    """Run a program to its end and give what it said; both outputs are read whole but kept up to MAX_OUTPUT.

    At the time-out its whole process group is killed and Refused("timeout") raised.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        package = PACKAGES.get(argv[0], argv[0])
        raise Refused(
            "tool_missing", f"{argv[0]} is not installed on this host: install the Debian package {package}"
        ) from None
    with process:
        try:
            out, err = _talk(process, (stdin or "").encode(), time.monotonic() + timeout_s)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise Refused("timeout", f"{argv[0]} did not end within {timeout_s:g} s and was killed") from None
        return Output(process.wait(), out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _talk(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> tuple[bytes, bytes]:
    """Feed `data` and read both outputs until the program has ended; TimeoutError at the deadline."""
    assert process.stdout is not None
    assert process.stderr is not None
    kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            selector.register(fd, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fd in kept:
                    chunk, buffer = os.read(key.fd, 65536), kept[key.fd]
                    buffer += chunk[: MAX_OUTPUT - len(buffer)]
                    more = bool(chunk)
                else:
                    data = _feed(key.fd, data)
                    more = bool(data)
                if not more:
                    selector.unregister(key.fd)
                    if key.fd not in kept and process.stdin is not None:
                        process.stdin.close()
    try:
        process.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    out, err = kept.values()
    return bytes(out), bytes(err)


def _feed(fd: int, data: bytes) -> bytes:
    """What is left of `data` after the program took some of it; nothing when it no longer listens."""
    try:
        return data[os.write(fd, data) :] if data else b""
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def _check_output(command: Exec, output: Output) -> None:
    if output.rc == 0:
        return
    said = (output.stderr.strip() or output.stdout.strip() or "it said nothing")[-1000:]
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, said)
    if "insufficient free space" in said or "Insufficient free space" in said:  # LVM's words
        raise Refused("no_space", f"{describe(command)}: {said}")
    raise Refused("tool_failed", f"{describe(command)}: exit status {output.rc}: {said}")


@contextmanager
def _refusals(path: str, what: str, needs_bytes: int = 0) -> Iterator[None]:
    """Turn what the operating system refuses into the protocol's errors; `path` is where `what` writes to."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            needs = f", {needs_bytes >> 20} MiB needed" if needs_bytes else ""
            free = f"{_free(path) >> 20} MiB free{needs}"
            raise Refused(
                "no_space", f"the disk of {path} is full ({free}); make room there: {what}"
            ) from None
        raise Refused("tool_failed", f"{what}: {error.strerror or error}") from None


def write_file(path: str, text: str, mode: int = 0o600) -> None:
    """Write the text into the file as a whole: after a crash there is the old content or the new one."""
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    with suppress(FileNotFoundError):
        os.unlink(new)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(new, flags, mode), "w", encoding="utf-8", newline="") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)
    _sync(os.path.dirname(path))


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _stat(path: str) -> FileSeen | None:
    try:
        seen = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kind = "file" if stat.S_ISREG(seen.st_mode) else "dir" if stat.S_ISDIR(seen.st_mode) else "other"
    return FileSeen(kind, seen.st_size, seen.st_blocks * 512)


def _free(path: str) -> int:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    seen = os.statvfs(path)
    return seen.f_bfree * seen.f_frsize


def _read_tail(path: str, limit: int) -> str | None:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read(limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
