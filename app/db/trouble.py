# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What suffers from hosts: bookings placed where nothing can be built, clusters of which something does not answer or
is lost.

Told from rows each time: no column says it, so it is over as soon as the host is back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from app.db.ledger import Allocation
from app.db.reservation import Node, Reservation
from app.db.resource import Resource
from app.db.site import Host, Maintenance

# Not built yet: may be placed elsewhere. Standing: can only be told.
AHEAD = ("requested", "approved")
STANDING = ("building", "ready", "suspended", "saved")
MOST_NAMED = 6
# By these passes' rows people know what is missing; the others' say nothing more.
WHAT = {"machine": "{}", "storage": "the disks of {}"}
SHARED_DISK = "the shared disk"
# What it holds itself, not what is held for an offer to it.
ITSELF = Allocation.offer_id.is_(None)
Ids = Collection[int] | Select[int]


def misplaced(
    session: Session, now: datetime, most: int, *, host_id: int | None = None
) -> Sequence[tuple[int, datetime]]:
    """(reservation id, start) of those ahead that are booked on a host which is out, or have an offer that is, the
    earliest first.

    Of one host, or all but those to be left alone until later.
    """
    a, r = Allocation, Reservation
    query = _booked_on_what_is_out(select(r.id, r.start_at)).distinct().order_by(r.start_at, r.id).limit(most)
    if host_id is None:
        query = query.where(or_(r.retry_at.is_(None), r.retry_at <= now))
    else:
        query = query.where(a.host_id == host_id)
    return [(number, start) for number, start in session.execute(query)]


def hosts_out(session: Session, reservation_id: int, *, of_offer: bool = False) -> dict[int, Host]:
    """The hosts this reservation, or else the offer to it, is booked on that are out in its slot, by id."""
    query = _booked_on_what_is_out(select(Host)).where(
        Reservation.id == reservation_id, Allocation.offer_id.is_not(None) if of_offer else ITSELF
    )
    return {host.id: host for host in session.scalars(query).unique()}


def degraded(session: Session, ids: Ids) -> dict[int, str]:
    """Reservation id -> what of it is missing, in words, for those that are not whole.

    Ahead: hosts on which it cannot be built. Standing: what is on hosts that do not answer, and volumes that are gone.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    for number, host, pass_name, node, is_lost in session.execute(_missed(ids)):
        # Of what is no node's own people know the disk that all share.
        if pass_name == "storage" or (pass_name in WHAT and node is not None):
            clause = f"{host} {'has lost' if is_lost else 'does not answer:'}"
            thing = SHARED_DISK if node is None else WHAT[pass_name].format(node)
            found.setdefault(number, []).append((clause, thing))
    words = {number: _missing(things) for number, things in found.items()}
    query = _booked_on_what_is_out(select(Reservation.id, Host.name)).distinct()
    out: dict[int, list[str]] = {}
    for number, name in session.execute(query.where(Reservation.id.in_(ids), ITSELF).order_by(Host.name)):
        out.setdefault(number, []).append(name)
    return words | {
        number: f"It is booked on {', '.join(names)}, which cannot be used." for number, names in out.items()
    }


def _booked_on_what_is_out(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    a, r = Allocation, Reservation
    return (
        query.select_from(r)
        .join(a, a.reservation_id == r.id)
        .join(Host, Host.id == a.host_id)
        .where(r.state.in_(AHEAD), r.cancel_requested_at.is_(None), a.released_at.is_(None), _is_out())
    )


def _is_out() -> ColumnElement[bool]:
    """The host of an allocation can take nothing in its time: drained, lost, or under maintenance."""
    a, m = Allocation, Maintenance
    closed = exists().where(m.host_id == a.host_id, m.start_at < a.end_at, m.end_at > a.start_at)
    return or_(Host.state == "drained", Host.lost_at.is_not(None), closed)


def _missed(ids: Ids) -> Select[*tuple[Any, ...]]:
    c = Resource
    does_not_answer = or_(Host.failing_since.is_not(None), Host.lost_at.is_not(None))
    is_lost = and_(c.error_code == "lost", ~does_not_answer)
    return (
        select(c.reservation_id, Host.name, c.pass_name, Node.name, is_lost)
        .join(Host, Host.id == c.host_id)
        .join(Reservation, Reservation.id == c.reservation_id)
        .outerjoin(Node, Node.id == c.node_id)
        .where(
            c.reservation_id.in_(ids),
            c.want == "present",
            or_(does_not_answer, c.error_code == "lost"),
            Reservation.state.in_(STANDING),
        )
        .order_by(c.reservation_id, Host.name, Node.position.is_not(None), Node.position, c.id)
    )


def _missing(things: Sequence[tuple[str, str]]) -> str:
    by_clause: dict[str, list[str]] = {}
    for clause, thing in dict.fromkeys(things):
        by_clause.setdefault(clause, []).append(thing)
    return " ".join(f"{clause} {_few(names)}." for clause, names in by_clause.items())


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
