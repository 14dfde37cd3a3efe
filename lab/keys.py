# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""SSH keys of the lab, the operator's and one a host, and the login by them."""

from pathlib import Path

from lab.plan import Host, Lab
from lab.run import run


def make_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair without a passphrase, unless there is one."""
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return
    fresh = path.with_name(f"{path.name}.new")
    for left in (fresh, fresh.with_name(f"{fresh.name}.pub")):
        left.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh)])
    fresh.with_name(f"{fresh.name}.pub").replace(public)
    fresh.replace(path)


def host_key(lab: Lab, host: Host) -> str:
    """The host's public key as known_hosts has it: type and key, no comment."""
    words = (lab.folder(host) / "etc-ssh" / "ssh_host_ed25519_key.pub").read_text().split()
    return " ".join(words[:2])


def ssh(lab: Lab, host: Host, key: Path | None = None, **more: object) -> list[str]:
    """The argv of an SSH login to the host, with the host's key pinned, by `key` (else the operator's) and with
    `more` options."""
    options: dict[str, object] = {
        "UserKnownHostsFile": lab.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        # Until the greeting; a machine host whose every instruction is translated may take its time.
        "ConnectTimeout": 5 if host.kind == "namespace" else 45,
        # OpenSSH's default exchange takes a processor a tenth of a second at each end, and such a host several.
        "KexAlgorithms": "curve25519-sha256",
        **more,
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(key or lab.operator_key), *words, f"root@{lab.address(host)}"]
