# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Let what stands of a cluster follow its nodes: rows for those that came, no more rows for those that leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.booking import resize
from app.db import resource, site
from app.db.reservation import Reservation
from app.db.resource import PASS_OF_OP, Need, Resource
from app.settings import Settings
from workers.plan.difference import TELLS_OF_ALL, difference
from workers.plan.layout import Key, Row

# A node that leaves is taken down when its frontend has dropped it, or after so long where that does not happen.
PATIENCE = timedelta(minutes=5)


def follow(session: Session, row: Reservation, laid: Sequence[Row], now: datetime) -> None:
    """Bring the reservation's resource rows nearer to those laid out for the nodes that stay.

    New and changed rows are written at once. What belongs to a node that leaves is wanted absent when the cluster
    knows of it: its frontend has followed the site roll without it.
    """
    standing = resource.by_key(session, row.id)
    found = difference(laid, {key: one.args for key, one in standing.items()})
    write_rows(session, found.new, row.id)
    standing = resource.by_key(session, row.id)
    for one in found.changed:
        resource.set_args(session, standing[one.key], one.args, _ids(session, one.needs, standing))
    session.flush()
    _remove(session, row, laid, standing, found.going, now)
    leaving = {node.id for node in row.nodes if node.leaving_at is not None}
    for gone in (standing[key] for key in found.going):
        if gone.want == gone.have == "absent" and gone.node_id not in leaving:
            session.delete(gone)


def forget_gone(session: Session, settings: Settings, row: Reservation, now: datetime) -> None:
    """Forget each node that leaves and of which nothing is left on any host; it gives its room back.

    Before the cluster is laid out anew, so that it is let in nowhere any longer.
    """
    rows = resource.of_reservation(session, row.id)
    for node in [node for node in row.nodes if node.leaving_at is not None]:
        its = [one for one in rows if one.node_id == node.id]
        if all(one.want == one.have == "absent" for one in its):
            for one in its:
                session.delete(one)
            session.flush()
            resize.left(session, settings, row, node, now)


def _remove(
    session: Session,
    row: Reservation,
    laid: Sequence[Row],
    standing: dict[Key, Resource],
    going: Sequence[Key],
    now: datetime,
) -> None:
    frontend = row.nodes[0].id
    tells = [one for one in laid if one.op in TELLS_OF_ALL and one.node_id in (None, frontend)]
    is_told = all(standing[one.key].have == "present" for one in tells if one.op != "report")
    leaving = {node.id: node.leaving_at for node in row.nodes if node.leaving_at is not None}
    late = [node for node, since in leaving.items() if now >= since + PATIENCE]
    rows = [standing[key] for key in going]
    ids = [
        one.id
        for one in rows
        if one.want == "present" and (is_told or one.node_id in late or one.node_id not in leaving)
    ]
    if ids:
        resource.want_absent(session, row.id, ids)
        for one in rows:
            session.refresh(one)


def _ids(session: Session, keys: Sequence[Key], standing: dict[Key, Resource]) -> list[int]:
    """The ids of these rows; those that are not the reservation's own are shared."""
    hosts = {host.name: host.id for host in site.hosts(session)}
    found = [standing.get(key) or resource.find(session, hosts[key[0]], *key[1:]) for key in keys]
    return [one.id for one in found if one is not None]


def write_rows(session: Session, rows: Sequence[Row], reservation_id: int) -> None:
    """Store laid-out rows with their needs beside those the reservation has.

    A shared row that is there already is used, and observed afresh. What a row needs and is not among them stands
    already: a volume of a saved cluster.
    """
    hosts = {host.name: host.id for host in site.hosts(session)}
    stored = resource.by_key(session, reservation_id)
    for row in rows:
        there = resource.find(session, hosts[row.host], row.op, row.name) if row.is_shared else None
        if there is not None:
            there.want, there.retry_at = "present", None
            there.have = "unknown" if there.have == "present" else there.have
            stored[row.key] = there
            continue
        made = Resource(
            reservation_id=None if row.is_shared else reservation_id,
            node_id=row.node_id,
            host_id=hosts[row.host],
            pass_name=PASS_OF_OP[row.op],
            op=row.op,
            name=row.name,
            label=row.label,
            args=dict(row.args),
            want="present",
            have="absent",
        )
        session.add(made)
        session.flush()
        stored[row.key] = made
        needed = [stored.get(need) or _standing(session, hosts, need) for need in row.needs]
        session.add_all(Need(resource_id=made.id, needs_id=one.id) for one in needed)
    session.flush()


def _standing(session: Session, hosts: Mapping[str, int], key: Key) -> Resource:
    """The row of what has to stand; RuntimeError where there is none."""
    found = resource.find(session, hosts[key[0]], *key[1:])
    if found is None or found.want != "present":
        raise RuntimeError(f"{' '.join(key)} is needed, and nobody keeps it")
    return found
