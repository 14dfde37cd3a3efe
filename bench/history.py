# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A site with a past: hosts, and reservations that are over, with all their rows, written in bulk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, or_, select, text, update
from sqlalchemy.orm import Session

from app.booking.request import request
from app.db import ledger
from app.db.base import Base, Database
from app.db.event import Event
from app.db.ledger import Allocation
from app.db.reservation import ClusterUser, Node, NodeGroup, Reservation
from app.db.resource import Need, Resource
from app.db.site import Host
from app.settings import Settings
from tests.factories import ROLLS, make_account, make_host, make_resource, wish

ROLES = (("gateway",), ("compute",), ("compute",), ("storage", "builder"))
# What a cluster of 1 + 2 is made of; each needs the one before it.
STEPS = ("vxlan", "vxlan", "file", "tgt", "file", "tgt", "file", "tgt", "iso", "domain", "domain", "report")
MODELS: tuple[type[Base], ...] = (
    Reservation,
    NodeGroup,
    Node,
    ClusterUser,
    Allocation,
    Resource,
    Need,
    Event,
)
# Columns that hold the id of a row of which there are several a reservation: copies lie this far apart.
STRIDE = 100
STRIDDEN = {(Node, "id"), (Resource, "id"), (Resource, "node_id"), (Need, "resource_id"), (Need, "needs_id")}
STRIDDEN |= {(Event, "resource_id"), (NodeGroup, "id"), (Node, "group_id")}
AT_ONCE = 500
# One past reservation begins so long before the next.
APART = timedelta(minutes=15)


def write(database: Database, hosts: int, reservations: int) -> None:
    """Fill an empty database: `hosts` hosts, and `reservations` clusters of 1 + 2 nodes that have ended.

    The first is booked as any other and given resource rows; the rest are copies of it at earlier times.
    """
    for number in range(hosts):
        make_host(database, f"h{number}", *ROLES[number % len(ROLES)], vcpus=64, memory_mib=1 << 18)
    now = datetime.now(UTC) - timedelta(hours=2)
    asked = wish(end=now + timedelta(hours=1))
    pattern = request(database, Settings(), make_account(database), asked, rolls=ROLLS, now=now)
    _lay_out(database, pattern)
    with database.writing() as session:
        _end(session, pattern, now)
    with database.reading() as session:
        rows = {model: _rows(session, model, pattern) for model in MODELS}
    for first in range(1, reservations, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, reservations))
        with database.writing() as session:
            for model in MODELS:
                copies = [copy(model, row, number) for number in numbers for row in rows[model]]
                if copies:
                    session.execute(insert(model), copies)
    if database.engine.dialect.name == "postgresql":
        # Its own autovacuum would do so within a minute; SQLite does it only when told to, and nothing of ours does.
        with database.writing() as session:
            session.execute(text("ANALYZE"))


def copy(model: type[Base], row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The row once more, for the `number`-th copy of its reservation."""
    values = dict(row)
    for name, value in row.items():
        if isinstance(value, datetime):
            values[name] = value - number * APART
        elif value is not None and (model, name) in STRIDDEN:
            values[name] = value + number * STRIDE
    if model is Reservation:
        values["id"] += number
    elif model not in (NodeGroup, Node, Resource, Need):
        del values["id"]
    if "reservation_id" in values:
        values["reservation_id"] += number
    if model is Resource:
        values["name"] = f"{row['name']}-{number}"
    return values


def _lay_out(database: Database, reservation_id: int) -> None:
    with database.reading() as session:
        nodes = session.scalars(select(Node).where(Node.reservation_id == reservation_id)).all()
        hosts = [session.get_one(Host, node.host_id) for node in nodes]
    made: list[Resource] = []
    for number, op in enumerate(STEPS):
        of_node = number % len(nodes)
        needs = tuple(made[-1:])
        made.append(
            make_resource(
                database, hosts[of_node], reservation_id, op, needs=needs, node_id=nodes[of_node].id
            )
        )


def _end(session: Session, reservation_id: int, now: datetime) -> None:
    stamps = dict.fromkeys(("building_at", "ready_at", "ending_at", "ended_at"), now)
    session.execute(update(Reservation).values(state="ended", **stamps))
    stamps = dict.fromkeys(("started_at", "present_at", "removal_at", "absent_at"), now)
    session.execute(update(Resource).values(want="absent", have="absent", **stamps))
    ledger.release(session, reservation_id, now)


def _rows(session: Session, model: type[Base], reservation_id: int) -> list[dict[str, Any]]:
    columns = model.__table__.columns
    query = select(*columns)
    if model is Need:
        mine = select(Resource.id).where(Resource.reservation_id == reservation_id)
        query = query.where(or_(Need.resource_id.in_(mine), Need.needs_id.in_(mine)))
    else:
        query = query.where(columns["id" if model is Reservation else "reservation_id"] == reservation_id)
    return [dict(row) for row in session.execute(query).mappings()]
