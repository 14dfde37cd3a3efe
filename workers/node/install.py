# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Puts the helper and its forced command on a host, or takes both away again; run there, by an operator's
login.

This file alone goes to the host's python3 on standard input, followed by a call of `main` with one JSON
object: {"want": "present" | "absent", "dir", "key", "line", "helper": base64, "sha256", "dry_run"}. It
answers with one JSON line: {"did": [...], "warnings": [...]} or {"error": "..."}. Standard library only;
every step repeatable.
"""

from __future__ import annotations

import base64
import compileall
import contextlib
import hashlib
import json
import os
import shutil
import stat
import zipfile
from typing import Any


def main(text: str) -> None:
    """Do what the JSON `text` asks for and print the answer."""
    task = json.loads(text)
    did: list[str] = []
    try:
        if os.geteuid() != 0:
            raise OSError("the operator's login must be root's: the helper makes links, volumes and guests")
        warnings = (install if task["want"] == "present" else remove)(task, did)
        print(json.dumps({"did": did, "warnings": warnings}))
    except OSError as error:
        print(json.dumps({"did": did, "error": str(error)}))


def install(task: dict[str, Any], did: list[str]) -> list[str]:
    """Write the helper and the line for the manager's key where they are not yet as asked for."""
    folder, path = task["dir"], os.path.join(task["dir"], "helper.pyz")
    helper = base64.b64decode(task["helper"])
    if hashlib.sha256(helper).hexdigest() != task["sha256"]:
        raise OSError("the helper was damaged on its way; try again")
    if not task["dry_run"]:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # Passable and not readable: QEMU, which is not root on most hosts, opens its ISO and logs below.
        os.chmod(folder, 0o711)  # noqa: S103
    if _read(path) != helper:
        did.append(f"wrote {path}")
        if not task["dry_run"]:
            shutil.rmtree(f"{path}.d", ignore_errors=True)  # what is there is always of the zip beside it
            _write(path, helper, 0o700)
            if hashlib.sha256(_read(path) or b"").hexdigest() != task["sha256"]:
                raise OSError(f"{path} does not read back as it was written; is the disk sound?")
    if not os.path.isdir(f"{path}.d"):
        did.append(f"unpacked and compiled it into {path}.d")
        if not task["dry_run"]:
            _unpack(path)
    return _set_line(task["key"], task["line"], task["dry_run"], did)


def remove(task: dict[str, Any], did: list[str]) -> list[str]:
    """Take the line and the helper away; golden images and other files of the folder go with it only when
    empty."""
    warnings = _set_line(task["key"], None, task["dry_run"], did)
    folder, path = task["dir"], os.path.join(task["dir"], "helper.pyz")
    if os.path.exists(path):
        did.append(f"removed {path}")
        if not task["dry_run"]:
            shutil.rmtree(f"{path}.d", ignore_errors=True)
            os.unlink(path)
    if task["dry_run"] or not os.path.isdir(folder):
        return warnings
    for name in ("lock", "jobs"):  # of no use to anybody but the helper
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, "virt.json"))
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(folder, name))
    try:
        os.rmdir(folder)
        did.append(f"removed {folder}")
    except OSError:
        left = sorted(os.listdir(folder))  # empty where the folder is a mount point
        warnings += [f"{folder} is left: it still holds {', '.join(left)}"] if left else []
    return warnings


def edited(text: str, key: str, line: str | None) -> str:
    """The authorized_keys `text` with the lines of `key` (its base64) replaced by `line`, or without them.

    All other lines stay as they are, byte for byte. Of several lines of the key one stays: sshd takes the
    first, so an unrestricted one before ours would undo the restriction.
    """
    kept: list[str] = []
    at = None
    for old in text.splitlines(keepends=True):
        if not old.lstrip().startswith("#") and key in old.split():
            at = len(kept) if at is None else at
        else:
            kept.append(old)
    if line is not None:
        if at is None:
            at = len(kept)
            if kept and not kept[-1].endswith("\n"):
                kept[-1] += "\n"
        kept.insert(at, line + "\n")
    return "".join(kept)


def _set_line(key: str, line: str | None, dry_run: bool, did: list[str]) -> list[str]:
    folder = os.path.expanduser("~root/.ssh")
    path = os.path.realpath(os.path.join(folder, "authorized_keys"))
    if not dry_run and not os.path.isdir(folder):
        os.mkdir(folder, 0o700)
    old = (_read(path) or b"").decode("utf-8", "surrogateescape")
    new = edited(old, key, line)
    if new != old:
        did.append(f"{'wrote' if line else 'removed'} the manager's line in {path}")
        if not dry_run:
            _write(path, new.encode("utf-8", "surrogateescape"), 0o600)
    elif os.path.exists(path) and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        return [f"{path} is readable by others than root; sshd may refuse it: chmod 600 {path}"]
    return []


def _unpack(path: str) -> None:
    """Bring the zip's code, compiled by this host's Python, to where it is found first; all of it or nothing."""
    aside = f"{path}.leasehold-{os.getpid()}"
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(aside)
        if not compileall.compile_dir(aside, quiet=2, stripdir=aside, prependdir=f"{path}.d"):
            raise OSError(f"{path} cannot be compiled by this host's Python; it must be 3.11 or newer")
        os.rename(aside, f"{path}.d")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes, mode: int) -> None:
    """Replace the file at once: whoever reads it sees the old content or the new."""
    aside = f"{path}.leasehold-{os.getpid()}"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
