# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A real sshd of the test's own on 127.0.0.1, for root, with one forced command behind one key.

It runs in a mount namespace in which root's shell start files are empty: what the machine's owner has put
there must neither slow the tests down nor print into them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import namespace

SSHD = "/usr/sbin/sshd"
# In a chroot / is no mount point and needs nothing: its mounts are private there already, and unshare's own attempt
# to make them so would fail.
PRIVATE = """
    mount --make-rprivate / 2>/dev/null
    for f in /root/.bashrc /root/.profile; do [ ! -e "$f" ] || mount --bind /dev/null "$f"; done
    exec "$@"
"""

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 300
MaxSessions 300
LogLevel INFO
PrintMotd no
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd: `host_key` is its public key line, `identity` the private key file that may log in."""

    folder: Path
    port: int
    pid: int
    host_key: str
    identity: Path

    @property
    def log(self) -> str:
        """What sshd has written so far."""
        return (self.folder / "log").read_text()

    def sessions(self) -> list[int]:
        """The processes of the connections that are open; as of OpenSSH 9.8 each has two, one below the other."""
        return [pid for pid in _tree(self.pid) if _program(pid) in ("sshd", "sshd-session")][:-1]


def new_key(path: Path) -> str:
    """Make an ed25519 key in the file `path`; returns the public key line without its comment."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=30)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@contextlib.contextmanager
def running(folder: Path, command: str) -> Iterator[Sshd]:
    """An sshd in `folder` whose one key may only run `command`; it and all its sessions end with the
    block."""
    folder.mkdir(parents=True, exist_ok=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    host_key, user_key = new_key(folder / "host"), new_key(folder / "identity")
    (folder / "authorized_keys").write_text(f'restrict,command="{command}" {user_key}\n')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder) + namespace.lenient())
    argv = [SSHD, "-D", "-E", f"{folder}/log", "-f", f"{folder}/config"]
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", PRIVATE, "sh", *argv]
    )
    sshd = Sshd(folder, port, process.pid, host_key, folder / "identity")
    try:
        _wait_until_open(port)
        yield sshd
    finally:
        # A stopped process dies of SIGKILL as well. The sessions first: afterwards nobody knows whose they
        # were.
        for pid in _tree(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_open(port: int) -> None:
    limit = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)


def _program(pid: int) -> str:
    """What /proc calls the process, nothing when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _tree(pid: int) -> list[int]:
    """The process and all below it, the deepest first."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [below for child in children for below in _tree(int(child))] + [pid]
