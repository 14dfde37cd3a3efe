# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The revision of the node groups over clusters that were there before: each becomes one group, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from alembic import command
from sqlalchemy import Connection, text

from app.db.base import Database, open_engine
from app.db.reservation import Reservation
from tests.factories import NOW
from tests.migration.test_migrations import config

BEFORE, AFTER = "8b1f4c2d7a60", "9b1e6f20c7d8"


def test_a_cluster_of_like_nodes_becomes_one_group(empty_database_url: str) -> None:
    url = empty_database_url
    command.upgrade(config(url), BEFORE)
    _fill(url)
    command.upgrade(config(url), AFTER)
    command.upgrade(config(url), "head")
    database = Database(url)
    with database.reading() as session:
        first, second = session.query(Reservation).order_by(Reservation.id).all()
        (group,) = first.groups
        asked = (
            group.name,
            group.appliance,
            group.least,
            group.most,
            group.vcpus,
            group.memory_mib,
            group.disk_gib,
        )
        assert asked == ("node", "compute", 2, 2, 2, 512, 5)
        assert (group.policy, group.tags, group.pin, group.avoid) == ("pack", ["gpu"], [], [])
        assert [node.group_id for node in first.nodes] == [None, group.id, group.id]
        assert [(g.policy, g.tags, g.most) for g in second.groups] == [("spread", [], 1)]
        # What refers to a node is there as before.
        assert session.execute(text("SELECT node_id FROM resource")).scalars().all() == [12]
    database.close()
    command.downgrade(config(url), BEFORE)
    engine = open_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT policy, CAST(tags AS TEXT) FROM reservation ORDER BY id")
        ).all()
    assert [tuple(row) for row in rows] == [("pack", '["gpu"]'), ("spread", "[]")]
    engine.dispose()
    command.upgrade(config(url), "head")


def _fill(url: str) -> None:
    """Two clusters of 1 + 2 and 1 + 1 nodes, in the words of BEFORE."""
    engine = open_engine(url)
    sqlite = engine.dialect.name == "sqlite"

    def at(moment: datetime) -> object:
        return moment.replace(tzinfo=None).isoformat(" ", "microseconds") if sqlite else moment

    with engine.connect().execution_options(writes=True) as connection:
        _site(connection, at(NOW))
        for number, policy, tags, nodes in ((1, "pack", '["gpu"]', 2), (2, "spread", "[]", 1)):
            _reservation(connection, number, policy, tags, at(NOW), at(NOW + timedelta(hours=1)))
            for position in range(nodes + 1):
                _node(connection, number, position)
        _volume(connection, node_id=12)
        connection.commit()
    engine.dispose()


def _site(connection: Connection, now: object) -> None:
    _insert(connection, "project", {"id": 1, "name": "alice", "created_at": now})
    account = {
        "id": 1,
        "name": "alice",
        "role": "service_provider",
        "password_hash": "none",
        "session_epoch": "e",
        "time_zone": "UTC",
        "is_active": True,
        "created_at": now,
        "project_id": 1,
    }
    _insert(connection, "account", account)
    host = {
        "id": 1,
        "name": "c1",
        "address": "a",
        "port": 22,
        "host_key": "k",
        "data_address": "a",
        "state": "enabled",
        "vcpus": 8,
        "memory_mib": 8,
        "disk_mib": 8,
        "tags": "[]",
        "facts": "{}",
        "failures": 0,
        "added_at": now,
    }
    _insert(connection, "host", host)


def _reservation(
    connection: Connection, number: int, policy: str, tags: str, start: object, end: object
) -> None:
    reservation = {
        "id": number,
        "name": f"vc{number}",
        "owner_id": 1,
        "project_id": 1,
        "state": "approved",
        "version": 1,
        "start_at": start,
        "end_at": end,
        "home_gib": 1,
        "rolls": "[]",
        "note": "",
        "policy": policy,
        "tags": tags,
        "requested_at": start,
        "hold_until": start,
    }
    _insert(connection, "reservation", reservation)


def _node(connection: Connection, number: int, position: int) -> None:
    node = {
        "id": 10 * number + position,
        "reservation_id": number,
        "position": position,
        "name": f"node{position}" if position else "frontend",
        "kind": "compute" if position else "frontend",
        "vcpus": 2 if position else 1,
        "memory_mib": 512 if position else 1024,
        "disk_gib": 5,
        "host_id": 1,
        "storage_id": 1,
    }
    _insert(connection, "node", node)


def _volume(connection: Connection, node_id: int) -> None:
    resource = {
        "id": 1,
        "reservation_id": 1,
        "node_id": node_id,
        "host_id": 1,
        "pass_name": "storage",
        "op": "file",
        "name": "lh1-node2-root",
        "label": "volume",
        "args": "{}",
        "want": "present",
        "have": "absent",
        "seen": "{}",
        "failures": 0,
    }
    _insert(connection, "resource", resource)


def _insert(connection: Connection, table: str, values: Mapping[str, object]) -> None:
    columns = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)
