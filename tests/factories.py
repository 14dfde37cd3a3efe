# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows for tests: plain functions that write one thing each, with every value open to be chosen."""

from __future__ import annotations

import base64
import itertools
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from app.booking import account as accounts
from app.booking import decide, request
from app.db.account import Account
from app.db.base import Database
from app.db.resource import PASS_OF_OP, Need, Resource
from app.db.site import Host, HostRole
from app.domain.request import User
from app.settings import Settings

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def public_key(number: int = 1) -> str:
    """A well-formed ssh-ed25519 public key line (RFC 8709 section 4); nobody has its private half."""
    parts = (b"ssh-ed25519", number.to_bytes(32, "big"))
    blob = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def make_account(
    database: Database, name: str = "sp", role: str = "service_provider", **over: Any
) -> Account:
    """An account that logs in with PASSWORD."""
    accounts.create(database, name, role, over.pop("password", PASSWORD), now=datetime.now(UTC))
    with database.writing() as session:
        row = session.query(Account).filter_by(name=name).one()
        for column, value in over.items():
            setattr(row, column, value)
    return row


def make_host(database: Database, name: str, *roles: str, **over: Any) -> Host:
    """A host with room for a few small guests."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": name,
        "address": f"198.51.100.{number % 250 + 1}",
        "host_key": public_key(number),
        "data_address": f"198.51.100.{number % 250 + 1}",
        "vcpus": 16,
        "memory_mib": 32768,
        "disk_mib": 1 << 20,
        "added_at": datetime.now(UTC),
    }
    with database.writing() as session:
        row = Host(**values | over)
        row.roles = [HostRole(role=role) for role in roles]
        session.add(row)
    return row


def make_site(database: Database) -> dict[str, Host]:
    """The four hosts of a small site by name: gw1, c1, c2, st1."""
    roles = {"gw1": ("gateway",), "c1": ("compute",), "c2": ("compute",), "st1": ("storage", "builder")}
    return {name: make_host(database, name, *own) for name, own in roles.items()}


def wanted(**over: Any) -> dict[str, Any]:
    """What a person may ask for, as `domain.request.validate` reads it."""
    values: dict[str, Any] = {
        "name": f"vc-{next(_numbers)}",
        "start": None,
        "end": datetime.now(UTC) + timedelta(hours=2),
        "node_count": 2,
        "node_names": (),
        "vcpus": 1,
        "memory_mib": 512,
        "disk_gib": 4,
        "home_gib": 2,
        "rolls": ("nfs", "slurm"),
        "users": (User("alice", (public_key(),)),),
        "note": "",
    }
    return values | over


def make_reservation(
    database: Database,
    owner: Account,
    settings: Settings | None = None,
    *,
    now: datetime | None = None,
    **over: Any,
) -> int:
    """The id of a reservation that was asked for the ordinary way, on hosts that are there."""
    raw = wanted(**over)
    rolls = ("nfs", "slurm")
    now = now or datetime.now(UTC)
    return request.request(database, settings or Settings(), owner, raw, rolls=rolls, now=now)


def approve(database: Database, provider: Account, reservation_id: int, version: int = 1) -> None:
    """Let the request pass, as its approval page does."""
    decide.approve(database, provider, reservation_id, version, now=datetime.now(UTC))


def make_resource(
    database: Database,
    host: Host,
    reservation_id: int | None,
    op: str = "file",
    name: str | None = None,
    *,
    needs: tuple[Resource, ...] = (),
    **over: Any,
) -> Resource:
    """A resource row as the schedule pass writes it."""
    name = name or f"lh{reservation_id}-thing-{next(_numbers)}"
    values: dict[str, Any] = {
        "reservation_id": reservation_id,
        "host_id": host.id,
        "pass_name": PASS_OF_OP[op],
        "op": op,
        "name": name,
        "label": f"{op} {name}",
        "args": {},
    }
    with database.writing() as session:
        row = Resource(**values | over)
        session.add(row)
        session.flush()
        session.add_all(Need(resource_id=row.id, needs_id=other.id) for other in needs)
    return row
