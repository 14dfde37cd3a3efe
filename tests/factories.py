# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Plain functions that make what tests need: valid by default, every detail open to change."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from app.booking.request import request
from app.db.account import Account
from app.db.base import Database
from app.db.site import Host, HostRole
from app.domain.request import User
from app.settings import Settings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example"
ROLLS = ("nfs", "slurm")


def make_account(
    database: Database, name: str = "alice", role: str = "service_provider", **over: Any
) -> Account:
    """An account that cannot log in (its password hash is none): for what stands behind the login."""
    with database.writing() as session:
        row = Account(
            name=name,
            role=role,
            password_hash=over.pop("password_hash", "none"),
            session_epoch=secrets.token_hex(8),
            time_zone="UTC",
            is_active=True,
            created_at=NOW,
            **over,
        )
        session.add(row)
    return row


def make_host(database: Database, name: str, *roles: str, **over: Any) -> Host:
    """An enabled host with room for a few guests."""
    values: dict[str, Any] = {
        "address": "198.18.9.1",
        "data_address": "198.18.9.1",
        "host_key": "ssh-ed25519 AAAA",
        "vcpus": 8,
        "memory_mib": 16384,
        "disk_mib": 200 * 1024,
        "added_at": NOW,
    }
    with database.writing() as session:
        row = Host(name=name, roles=[HostRole(role=role) for role in roles], **(values | over))
        session.add(row)
    return row


def make_site(database: Database) -> dict[str, Host]:
    """The demo's four hosts: one gateway, two compute hosts, one storage host that builds images."""
    return {
        "gw1": make_host(database, "gw1", "gateway", data_address="198.18.9.11"),
        "c1": make_host(database, "c1", "compute", data_address="198.18.9.12"),
        "c2": make_host(database, "c2", "compute", data_address="198.18.9.13"),
        "st1": make_host(database, "st1", "storage", "builder", data_address="198.18.9.14"),
    }


def wish(**over: Any) -> dict[str, Any]:
    """What a person asks for, as `validate` takes it: two nodes for an hour from now."""
    return {
        "name": "class",
        "start": None,
        "end": NOW + timedelta(hours=1),
        "node_count": 2,
        "node_names": [],
        "vcpus": 1,
        "memory_mib": 512,
        "disk_gib": 4,
        "home_gib": 1,
        "rolls": ["nfs", "slurm"],
        "users": [User("alice", (KEY,))],
        "note": "",
    } | over


def book(database: Database, account: Account, *, now: datetime = NOW, **over: Any) -> int:
    """Book `wish(**over)` for `account` and return the reservation's id."""
    return request(database, over.pop("settings", Settings()), account, wish(**over), rolls=ROLLS, now=now)
