# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Plain functions that make what tests need: valid by default, every detail open to change."""

from __future__ import annotations

import base64
import itertools
import secrets
import struct
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import select

from app.booking.request import request
from app.booking.suspend import saved
from app.db.account import Account
from app.db.base import Database
from app.db.pass_run import PassRun
from app.db.project import Project
from app.db.reservation import Reservation
from app.db.resource import PASS_OF_OP, Need, Resource
from app.db.site import Host, HostRole
from app.domain.request import User
from app.domain.shape import Shape
from app.domain.shape_input import KEYS, validate_shape
from app.settings import Settings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example"
ROLLS = ("nfs", "slurm")
# What a wish says of its one group.
SHAPE_KEYS = sorted(KEYS - {"name"})
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


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
            project=over.pop("project", None) or Project(name=name, created_at=NOW),
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


def shape(**over: Any) -> Shape:
    """The shape of `wish(**over)`."""
    asked = wish(**over)
    keys = ("groups", "home_gib", "shared_disk_gib", "rolls", *SHAPE_KEYS)
    said = {key: asked[key] for key in keys if key in asked}
    return validate_shape(said, rolls=ROLLS)


def group(**over: Any) -> dict[str, Any]:
    """One of a wish's `groups`: one node like those of `wish`."""
    return {"node_count": 1, "vcpus": 1, "memory_mib": 512, "disk_gib": 4} | over


def grouped(*groups: dict[str, Any], **over: Any) -> dict[str, Any]:
    """What to give to `wish` or `book` for several groups."""
    return dict.fromkeys(SHAPE_KEYS) | {"groups": list(groups)} | over


def book(database: Database, account: Account, *, now: datetime = NOW, **over: Any) -> int:
    """Book `wish(**over)` for `account` and return the reservation's id."""
    return request(database, over.pop("settings", Settings()), account, wish(**over), rolls=ROLLS, now=now)


def public_key(number: int = 1) -> str:
    """A well-formed ssh-ed25519 public key line (RFC 8709 section 4), another for each number."""
    parts = (b"ssh-ed25519", number.to_bytes(32, "big"))
    blob = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def make_login(database: Database, name: str, role: str = "service_provider", **over: Any) -> Account:
    """An account that logs in with PASSWORD."""
    return make_account(database, name, role, password_hash=_hash(), **over)


@cache
def _hash() -> str:
    # As cheap as argon2 gets: a hash carries its own parameters, so checking it is quick as well.
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def book_now(database: Database, account: Account, **over: Any) -> int:
    """As `book`, by the real clock, for two hours from now, under a name of its own."""
    now = datetime.now(UTC)
    values = {"name": f"own-{next(_numbers)}", "end": now + timedelta(hours=2)} | over
    return book(database, account, now=now, **values)


def make_resource(
    database: Database,
    host: Host,
    reservation_id: int | None,
    op: str = "file",
    *,
    needs: tuple[Resource, ...] = (),
    **over: Any,
) -> Resource:
    """A resource row as the schedule pass writes it: wanted, not there yet."""
    name = f"lh{reservation_id}-thing-{next(_numbers)}"
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


def make_stand(database: Database, number: int) -> None:
    """Let the reservation be ready, with a machine for each node, as if the passes had built it."""
    with database.writing() as session:
        row = session.get_one(Reservation, number)
        row.state, row.ready_at = "ready", datetime.now(UTC)
        nodes = [(node.id, node.name, node.host_id) for node in row.nodes]
    with database.reading() as session:
        hosts = {host.id: host for host in session.scalars(select(Host))}
    for node_id, name, host_id in nodes:
        make_resource(
            database, hosts[host_id], number, name=f"lh{number}-{name}", node_id=node_id, have="present"
        )


def make_suspended(
    database: Database, number: int, settings: Settings | None = None, now: datetime | None = None
) -> None:
    """Let the reservation be suspended, as if the passes had saved its machines."""
    with database.writing(ledger=True) as session:
        row = session.get_one(Reservation, number)
        row.state = "suspended"
        saved(session, settings or Settings(), row, now or datetime.now(UTC))


def make_run(database: Database, *passes: str, ago_s: float = 5, worked: int = 0, failed: int = 0) -> None:
    """Runs of these passes, 55 s each, that ended so many seconds ago by the real clock."""
    finished = datetime.now(UTC) - timedelta(seconds=ago_s)
    with database.writing() as session:
        for name in passes:
            values = {"started_at": finished - timedelta(seconds=55), "finished_at": finished}
            session.merge(PassRun(pass_name=name, worked=worked, failed=failed, **values))
