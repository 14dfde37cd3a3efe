# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""How to get in: the ssh command of each user, and the line that lets ssh know the frontend."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from app.db.reservation import Reservation

SSH_PORT = 22


@dataclass(frozen=True)
class Access:
    """What a user needs. The last two are None as long as the host key is not recorded."""

    address: str
    commands: tuple[str, ...]
    known_hosts: str | None
    fingerprint: str | None


def access(row: Reservation) -> Access | None:
    """The way in, or None when the cluster has no address."""
    if not row.public_address:
        return None
    commands = tuple(f"ssh -p {SSH_PORT} {user.name}@{row.public_address}" for user in row.users)
    key = " ".join((row.host_public_key or "").split()[:2])
    known = f"{row.public_address} {key}" if key else None
    return Access(row.public_address, commands, known, fingerprint(key) if key else None)


def fingerprint(key: str) -> str | None:
    """The key's SHA-256 fingerprint as ssh shows it; None when the key cannot be read."""
    try:
        blob = base64.b64decode(key.split()[1], validate=True)
    except (IndexError, binascii.Error):
        return None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
