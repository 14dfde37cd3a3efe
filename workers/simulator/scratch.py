# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A throw-away copy of a site's database, and what the site has measured of its own steps."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Select, Table, event, insert, or_, select, text, update
from sqlalchemy.orm import Session

from app.db import schema
from app.db.base import Base, Database
from app.db.reservation import Reservation
from app.db.resource import Need, Resource
from app.db.revision import newest_revision
from app.db.site import Host
from app.domain.lifecycle import LIVE
from app.settings import Settings

# What has no part in what will happen, or must not be copied.
LEFT_OUT = {"event", "pass_run", "login_attempt", "api_token"}
# So many past steps of each operation are looked at, and with fewer than ENOUGH nothing is concluded.
MOST_STEPS, ENOUGH = 200, 5
SITE_KEY_BYTES = 32
CHUNK = 1000


@contextmanager
def scratch(settings: Settings) -> Iterator[tuple[Database, Settings]]:
    """An empty database with all tables, gone after the block, and the settings of a site on it.

    The site's key is a made-up one: no secret of the real site gets into anything that is laid out here.
    """
    assert schema.MODULES
    with TemporaryDirectory(prefix="leasehold-simulation-") as name:
        key = Path(name) / "site.key"
        key.touch(0o600)
        key.write_bytes(bytes(SITE_KEY_BYTES))
        settings = replace(
            settings, database=f"sqlite:///{name}/site.sqlite", site_key_file=str(key), ssh_key_file=""
        )
        database = Database(settings.database)
        # Nobody needs it after a crash, and waiting for the disk is most of the time a simulation would take.
        event.listen(database.engine, "connect", lambda db, _: db.execute("PRAGMA synchronous=OFF"))
        Base.metadata.create_all(database.engine)
        with database.writing() as session:
            session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            session.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": newest_revision()})
        try:
            yield database, settings
        finally:
            database.close()


def copy_site(source: Session, target: Session) -> None:
    """Copy hosts, accounts and all that is not over yet, with what stands of it; history stays where it is."""
    for table in Base.metadata.sorted_tables:
        if table.name not in LEFT_OUT:
            rows = source.execute(_what_counts(table)).mappings()
            for chunk in rows.partitions(CHUNK):
                target.execute(insert(table), [dict(row) for row in chunk])
    # Leases are those of real passes, and simulated hosts were not started by anybody.
    target.execute(update(Resource).values(lease_owner=None, lease_until=None))
    target.execute(update(Host).values(boot_id=None))


def _what_counts(table: Table) -> Select[Any]:
    live = select(Reservation.id).where(Reservation.state.in_(LIVE))
    resources = select(Resource.id).where(
        or_(Resource.reservation_id.is_(None), Resource.reservation_id.in_(live))
    )
    query = select(table)
    if table is Reservation.__table__:
        return query.where(table.c.id.in_(live))
    if table is Need.__table__:
        return query.where(table.c.resource_id.in_(resources), table.c.needs_id.in_(resources))
    if table is Resource.__table__:
        return query.where(table.c.id.in_(resources))
    if "reservation_id" in table.c:
        return query.where(table.c.reservation_id.in_(live))
    return query


def measured(session: Session, defaults: Mapping[str, float]) -> dict[str, float]:
    """Seconds that making takes by operation: the site's own medians, else `defaults`."""
    found = dict(defaults)
    for op in defaults:
        query = (
            select(Resource.started_at, Resource.present_at)
            .where(Resource.op == op, Resource.present_at.is_not(None), Resource.started_at.is_not(None))
            .order_by(Resource.id.desc())
            .limit(MOST_STEPS)
        )
        steps = [(done - begun).total_seconds() for begun, done in session.execute(query) if begun and done]
        if len(steps) >= ENOUGH:
            found[op] = statistics.median(steps)
    return found
