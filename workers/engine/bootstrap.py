# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings the helper to a host over an operator's own login, and takes it away again."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.errors import SiteError
from app.settings import Settings, Storage
from workers.engine import ssh
from workers.engine.drivers import PACKAGES, fitting
from workers.engine.ssh import Endpoint
from workers.node import install

# What a host of each role is asked to do; its forced command allows these operations and no other.
ROLE_OPS = {
    "gateway": ("vxlan", "vlan", "address", "open_iscsi", "iso", "domain", "xen", "null", "report"),
    "compute": ("vxlan", "vlan", "address", "open_iscsi", "domain", "xen", "null", "report"),
    "storage": ("vlan", "address", "file", "lvm", "lvm_thick", "golden", "tgt", "lio"),
    "builder": ("image",),
}
# The programs they need whichever drivers the site has chosen.
ROLE_TOOLS: dict[str, tuple[str, ...]] = {
    "gateway": ("xorriso",),
    "compute": (),
    "storage": (),
    "builder": ("fai-diskimage", "qemu-img"),
}
DEADLINE_S = 60.0
OUTPUT_BYTES = 64 * 1024
# The program comes on standard input, so nothing of it is ever in an argument list; -I keeps the host's own
# environment out of it.
COMMAND = "/usr/bin/python3 -I -"


@dataclass(frozen=True)
class Done:
    """What was changed on the host, in words, and what the operator should know about it."""

    did: tuple[str, ...]
    warnings: tuple[str, ...]


def public_key(identity: Path) -> str:
    """The line ("ssh-ed25519 AAAA...") of a private key file's public half, without a comment."""
    key = ssh.load_identity(identity)
    return f"{key.get_name()} {key.get_base64()}"


def forced_line(
    key: str, *, folder: str, mark: str, roles: Iterable[str], public_bridges: Iterable[str], storage: Storage
) -> str:
    """The line of authorized_keys that lets the manager's `key` run the helper within its remit and nothing
    else."""
    ops = dict.fromkeys(op for role in sorted(roles) for op in ROLE_OPS[role])
    # -I: nothing of the host's environment; -S: no packages of the host's, which only take time to look for.
    words = ["/usr/bin/python3", "-IS", f"{folder}/helper.pyz", "serve", "--mark", mark, "--dir", folder]
    words += ["--ops", ",".join(ops)]
    if "gateway" in roles:
        words += [word for bridge in public_bridges for word in ("--public-bridge", bridge)]
    if "storage" in roles:
        words += ["--volume-group", storage.volume_group, "--thin-pool", storage.thin_pool]
    for word in words:
        # They end up in a shell's hands on the host; what is allowed here means nothing to any shell.
        if not word or not all(c.isascii() and (c.isalnum() or c in "/._,-") for c in word):
            raise SiteError(f"{word!r} may not stand in a forced command: letters, digits and / . _ , - only")
    return f'restrict,command="{" ".join(words)}" {key} leasehold-manager'


def bring(
    host: Endpoint, operator: Path, *, folder: str, line: str, key: str, helper: bytes, dry_run: bool
) -> Done:
    """Install the helper (a zipapp's bytes) and the forced command; raises SiteError for what went wrong."""
    task = {"want": "present", "dir": folder, "line": line, "key": key.split()[1], "dry_run": dry_run}
    task |= {"helper": base64.b64encode(helper).decode(), "sha256": hashlib.sha256(helper).hexdigest()}
    return _do(host, operator, task)


def take_away(host: Endpoint, operator: Path, *, folder: str, key: str, dry_run: bool) -> Done:
    """Remove the forced command and the helper; raises SiteError saying what went wrong."""
    task = {"want": "absent", "dir": folder, "key": key.split()[1], "dry_run": dry_run}
    return _do(host, operator, task)


def _do(host: Endpoint, operator: Path, task: dict[str, Any]) -> Done:
    identity = ssh.load_identity(operator)
    until = time.monotonic() + DEADLINE_S
    program = Path(install.__file__).read_text() + f"\nmain({json.dumps(task)!r})\n"
    output = bytearray()

    def take(chunk: bytes) -> bool:
        output.extend(chunk)
        return len(output) > OUTPUT_BYTES

    try:
        link = ssh.open_link(host, identity, until)
        try:
            link.wire.allow(until, ssh.LOGIN_BYTES)
            outcome = ssh.exchange(link, link.start(COMMAND), program.encode(), take)
        finally:
            ssh.close([link])
    except ssh.Broken as broken:
        if broken.code == "access_refused":
            raise SiteError(
                f"{host} does not let {host.user} log in with the key {operator}: put its public half into root's "
                "authorized_keys there, or name another key with --identity"
            ) from None
        raise SiteError(broken.message) from None
    status = None if outcome is None else outcome.status
    said = outcome.stderr.decode(errors="replace").strip() if outcome else ""
    try:
        answer = json.loads(output.decode().splitlines()[-1])
    except (ValueError, IndexError):
        hint = " Is python3 installed there?" if status == 127 else ""
        raise SiteError(f"{host}: `{COMMAND}` ended with exit status {status}: {said[-500:]}{hint}") from None
    if "error" in answer:
        raise SiteError(f"{host}: {answer['error']}")
    return Done(tuple(answer["did"]), tuple(answer["warnings"]))


def needed_tools(roles: Iterable[str], settings: Settings) -> frozenset[str]:
    """The programs that a host of these roles must have, with the drivers that the site has chosen."""
    chosen = [driver.tools for driver, is_chosen in fitting(roles, settings) if is_chosen]
    return frozenset(tool for tools in (*chosen, *(ROLE_TOOLS[role] for role in roles)) for tool in tools)


def lacking(roles: Iterable[str], facts: dict[str, Any], settings: Settings) -> dict[str, list[str]]:
    """What each role lacks on a host with these facts, the site's drivers included: role -> sentences; a role
    that lacks nothing is left out."""
    tools = facts.get("tools") or {}
    lacks: dict[str, list[str]] = {}
    for role in sorted(roles):
        missing = [
            f"{tool} is missing: apt install {PACKAGES[tool]}"
            for tool in ROLE_TOOLS[role]
            if not tools.get(tool)
        ]
        for driver, is_chosen in fitting([role], settings):
            if is_chosen:
                words = driver.lacks(settings, facts)
                missing += [f"{driver.kind} {driver.name}: {one}" for one in words if one not in missing]
        if missing:
            lacks[role] = missing
    return lacks
