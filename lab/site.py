# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A Leasehold site over a lab: its configuration, keys, database, accounts and hosts, made by the real commands."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.run import LabError

ROOT = Path(__file__).parent.parent
LEASEHOLD = Path(sys.executable).with_name("leasehold")


@dataclass(frozen=True)
class Site:
    """Where the site's files are and who may log in: account name -> password."""

    folder: Path
    passwords: dict[str, str]

    @property
    def config(self) -> Path:
        """The TOML file."""
        return self.folder / "leasehold.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find this site."""
        return {**os.environ, "LEASEHOLD_CONFIG": str(self.config), "PYTHONDONTWRITEBYTECODE": ""}


def make(
    folder: Path,
    described: dict[str, Any],
    *,
    database: str | None = None,
    settings: dict[str, dict[str, Any]] | None = None,
) -> Site:
    """Make the site in `folder` for the lab that `described` (lab.json) tells of, with its hosts added.

    `database` is a URL, else a SQLite file in the folder. `settings` are more settings by section, "" for the top.
    """
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder, {name: secrets.token_urlsafe(9) for name in ("alice", "carol")})
    site.config.write_text(configuration(folder, described, database, settings or {}))
    leasehold(site, "init")
    for name, role in (("alice", "service_provider"), ("carol", "cluster_provider")):
        leasehold(
            site, "account", "add", name, "--role", role, "--password-file", "-", text=site.passwords[name]
        )
    return site


def add_hosts(
    site: Site, described: dict[str, Any], timeout_s: float = 180, statuses: Collection[int] = (0,)
) -> None:
    """Add every host of the lab with its pinned key, as an operator does; status 3: it lacks something."""
    for host in described["hosts"]:
        roles = [word for role in host["roles"] for word in ("--role", role)]
        leasehold(
            site,
            *("host", "add", host["name"], host["address"], "--port", str(host["port"]), *roles),
            *("--identity", described["operator_key"], "--host-key", host["host_key"], "--yes"),
            timeout_s=timeout_s,
            statuses=statuses,
        )


def configuration(
    folder: Path, described: dict[str, Any], database: str | None, more: dict[str, dict[str, Any]]
) -> str:
    """The site's TOML."""
    public = described["public"]
    sections: dict[str, dict[str, Any]] = {
        "": {
            "site": f"Leasehold lab {described['name']}",
            "database": database or f"sqlite:///{folder}/leasehold.sqlite",
            "ssh_key_file": f"{folder}/ssh/id_ed25519",
            "site_key_file": f"{folder}/site.key",
        },
        "web": {"secret_key_file": f"{folder}/web.key", "secure_cookies": False},
        "booking": {"lead_s": 0, "frontend_memory_mib": 768},
        "network": {
            "driver": "vxlan",
            "public": public["network"],
            "public_first": public["first"],
            "public_last": public["last"],
            "public_gateway": public["gateway"],
            "public_bridge": public["bridge"],
            "dns": described["dns"],
        },
    }
    for name, values in more.items():
        sections.setdefault(name, {}).update(values)
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]"] if name else []
        # JSON's strings, numbers, booleans and lists are TOML's too.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def leasehold(
    site: Site,
    *words: str,
    text: str | None = None,
    timeout_s: float = 60,
    statuses: Collection[int] = (0,),
) -> str:
    """Run the `leasehold` command on this site and return what it printed; LabError with its words when it ends
    with none of these exit statuses."""
    done = subprocess.run(
        [str(LEASEHOLD), *words],
        input=text,
        capture_output=True,
        text=True,
        env=site.environment,
        cwd=ROOT,
        timeout=timeout_s,
    )
    if done.returncode not in statuses:
        raise LabError(
            f"leasehold {' '.join(words[:3])}: status {done.returncode}: {(done.stderr or done.stdout)[-3000:]}"
        )
    return done.stdout
