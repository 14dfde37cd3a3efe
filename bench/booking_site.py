# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A site with hosts, history and a future, for the benches of booking; and Blazar in a place of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.db.account import Account
from app.db.base import Database
from app.db.ledger import SITE, Allocation, span_of
from app.db.project import Project
from app.db.reservation import Reservation
from app.db.site import Host, HostRole
from app.domain.request import User

NOW = datetime(2030, 6, 1, tzinfo=UTC)
PEERS = Path(__file__).parents[1] / ".cache" / "bench"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@example"
# What is there lies within this time; the future is the last tenth of it.
BEFORE, AFTER = timedelta(days=324), timedelta(days=36)
LENGTH = timedelta(days=1)
NODES = 8
CHUNK = 5_000


def wish(name: str, start: datetime, end: datetime, nodes: int = NODES) -> dict[str, Any]:
    """What a person asks for."""
    return {
        "name": name,
        "start": start,
        "end": end,
        "node_count": nodes,
        "node_names": [],
        "vcpus": 2,
        "memory_mib": 4000,
        "disk_gib": 10,
        "home_gib": 50,
        "rolls": ["nfs", "slurm"],
        "users": [User("alice", (KEY,))],
        "note": "",
    }


@dataclass(frozen=True)
class Booked:
    """What is booked already: `number` reservations of so many nodes for a day each, evenly over a year that ends
    soon after `now`, or all around it `at_once`."""

    number: int
    now: datetime = NOW
    nodes: int = NODES
    at_once: bool = False

    def slot(self, index: int) -> tuple[datetime, datetime]:
        """From when to when reservation `index` is."""
        start = self.now - BEFORE + (BEFORE + AFTER) * index / self.number
        if self.at_once:
            start = self.now - LENGTH / 2
        return start, start + LENGTH


def fill(database: Database, hosts: int, booked: Booked) -> Account:
    """Make the hosts and what is booked on them; who asks."""
    with database.writing() as session:
        account = Account(
            name="alice",
            role="service_provider",
            password_hash="none",
            session_epoch="0",
            created_at=NOW,
            project=Project(name="alice", created_at=NOW),
        )
        session.add(account)
    with database.writing() as session:
        session.execute(insert(Host), [_host(number) for number in range(1, hosts + 1)])
        roles = [{"host_id": number, "role": role(number)} for number in range(1, hosts + 1)]
        session.execute(insert(HostRole), roles)
    of_role = {
        name: [n for n in range(1, hosts + 1) if role(n) == name]
        for name in ("gateway", "compute", "storage")
    }
    for first in range(0, booked.number, CHUNK):
        numbers = range(first, min(first + CHUNK, booked.number))
        _insert(database, Reservation, [_reservation(n, booked, account) for n in numbers])
        _insert(database, Allocation, [row for n in numbers for row in _allocations(n, booked, of_role)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return account


def role(number: int) -> str:
    """Of twenty hosts one is a gateway and one has the disks."""
    return {0: "gateway", 1: "storage"}.get(number % 20, "compute")


def _host(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"h{number:05}",
        "address": "198.18.9.1",
        "data_address": "198.18.9.1",
        "host_key": "ssh-ed25519 AAAA",
        "vcpus": 64,
        "memory_mib": 256 * 1024,
        "disk_mib": 100 * 1024 * 1024,
        "added_at": NOW,
    }


def _reservation(number: int, booked: Booked, owner: Account) -> dict[str, Any]:
    start, end = booked.slot(number)
    return {
        "id": number + 1,
        "name": f"old{number}",
        "owner_id": owner.id,
        "project_id": owner.project_id,
        "state": "ended" if end <= booked.now else "approved",
        "version": 1,
        "start_at": start,
        "end_at": end,
        "home_gib": 50,
        "rolls": '["nfs", "slurm"]',
        "note": "",
        "requested_at": start,
        "hold_until": start,
    }


def _allocations(number: int, booked: Booked, of_role: dict[str, list[int]]) -> Iterator[dict[str, Any]]:
    start, end = booked.slot(number)
    common = {
        "reservation_id": number + 1,
        "start_at": start,
        "end_at": end,
        "span": span_of(start, end),
        "released_at": end if end <= booked.now else None,
    }

    def one(role: str, offset: int) -> int:
        hosts = of_role[role]
        return hosts[offset % len(hosts)]

    taken: dict[tuple[int | str, str], int] = {(SITE, "network_id"): 1, (SITE, "public_address"): 1}
    taken |= {(one("gateway", number), "vcpu"): 1, (one("gateway", number), "memory_mib"): 1120}
    taken[one("storage", number), "disk_mib"] = 140 * 1024
    for node in range(booked.nodes):
        host = one("compute", number * booked.nodes + node)
        taken |= {(host, "vcpu"): 2, (host, "memory_mib"): 4096}
    for (holder, resource), amount in taken.items():
        yield common | {"host_id": None if holder == SITE else holder, "resource": resource, "amount": amount}


def _insert(database: Database, table: type[Any], rows: list[dict[str, Any]]) -> None:
    """Straight through the driver: a million rows."""
    names = list(rows[0])
    if database.engine.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table.__tablename__} ({', '.join(names)}) VALUES ({marks})"
        with database.writing() as session:
            raw = session.connection().connection.driver_connection
            assert raw is not None
            raw.executemany(statement, (_texts(row.values()) for row in rows))
        return
    with database.writing() as session:
        raw = session.connection().connection.driver_connection
        assert raw is not None
        with raw.cursor().copy(f"COPY {table.__tablename__} ({', '.join(names)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(list(row.values()))
        if "id" in names:
            raw.execute(
                f"SELECT setval('{table.__tablename__}_id_seq', (SELECT max(id) FROM {table.__tablename__}))"
            )


def _texts(values: Iterable[Any]) -> list[Any]:
    return [
        value.replace(tzinfo=None).isoformat(" ", "microseconds") if isinstance(value, datetime) else value
        for value in values
    ]


def install_blazar() -> Path:
    """The Python of a virtual environment with Blazar 18 in it, made on the first call."""
    place = PEERS / "blazar"
    python = place / "bin" / "python"
    if not (place / ".ready").exists():
        print("installing blazar==18.0.0 into", place, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=120)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "blazar==18.0.0"], check=True, timeout=900)
        (place / ".ready").touch()
    return python
