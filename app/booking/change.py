# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Change a reservation that is there: extend or shrink it, hand it to another owner, leave a note."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import quota, room
from app.booking.availability import limits
from app.db import account as accounts
from app.db import event, ledger, reservation
from app.db.account import Account
from app.db.base import Database
from app.db.ledger import SITE
from app.db.reservation import Reservation
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.lifecycle import FINAL
from app.domain.opening import held_until
from app.domain.quota import Holding
from app.domain.slot import Slot, utc
from app.settings import Settings

LONGEST_NOTE = 2000


def latest_end(
    database: Database, settings: Settings, account: Account, reservation_id: int, *, now: datetime
) -> datetime:
    """The latest end that `set_end` would take: what it holds is free until then, and no slot is longer."""
    with database.reading() as session:
        return _latest_end(session, settings, _mine(session, account, reservation_id), now)


def set_end(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    version: int,
    end: datetime,
    *,
    now: datetime,
) -> None:
    """Let the reservation end at `end`, earlier or later, on the hosts it has.

    The owner may always shrink it, and extend it until it is approved; after that a cluster provider extends, unless
    the site lets owners (`booking.owner_extends`). NoRoom tells the latest end that is possible; Conflict when it is
    over or was changed since `version`. In each case nothing is changed.
    """
    end = utc(end)
    with database.writing(ledger=True) as session:
        row = _changeable(session, account, reservation_id, version)
        if end <= max(row.start_at, now):
            raise InvalidRequest(
                {"end": "The end must lie ahead, and after the start. To end it now, cancel it."}
            )
        if end > row.end_at:
            _may_extend(settings, account, row)
            _check_quota(session, settings, account, row.project_id, row, end, now)
            latest = _latest_end(session, settings, row, now)
            if end > latest:
                raise NoRoom([f"Its hosts are free for it until {latest:%Y-%m-%d %H:%M} UTC and no longer."])
        before, row.end_at = row.end_at, end
        row.hold_until = min(row.hold_until, end)
        ledger.set_end(session, row.id, row.start_at, end + room.gap(settings))
        word = "extended" if end > before else "shortened"
        _changed(
            session, account, row, word, f"{account.name} {word} it to {end:%Y-%m-%d %H:%M} UTC.", now, before
        )


def give(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    version: int,
    to: str,
    *,
    now: datetime,
) -> None:
    """Make the provider named `to` its owner, in the project of that account; by its owner or a cluster provider.

    InvalidRequest also where that project's ceilings leave no room for it.
    """
    with database.writing(ledger=True) as session:
        row = _changeable(session, account, reservation_id, version)
        taker = accounts.by_name(session, to)
        if taker is None or not taker.is_active or taker.role == "operator":
            raise InvalidRequest({"owner": f"There is no provider called {to[:64]!r} who could own it."})
        if taker.id == row.owner_id:
            raise InvalidRequest({"owner": f"It belongs to {to} already."})
        if taker.project_id != row.project_id:
            _check_quota(session, settings, account, taker.project_id, row, row.end_at, now)
        row.owner_id, row.project_id = taker.id, taker.project_id
        # The key named the request among those of the first owner.
        row.request_key = None
        _changed(session, account, row, "given", f"{account.name} gave it to {to}.", now)


def note(database: Database, account: Account, reservation_id: int, text: str, *, now: datetime) -> None:
    """Leave a note in its history, which its owner and the cluster providers read."""
    text = text.strip()
    if not text or len(text) > LONGEST_NOTE or "\x00" in text:
        raise InvalidRequest({"note": f"A note is text of 1 to {LONGEST_NOTE:,} characters."})
    with database.writing() as session:
        row = _mine(session, account, reservation_id)
        event.record(session, now, account.name, "note", text, reservation_id=row.id)


def _mine(session: Session, account: Account, reservation_id: int) -> Reservation:
    row = reservation.get(session, account, reservation_id)
    if row is None:
        raise NotFound("There is no such reservation.")
    if row.owner_id != account.id and account.role != "cluster_provider":
        raise NotAllowed("Only its owner or a cluster provider may change a reservation.")
    return row


def _changeable(session: Session, account: Account, reservation_id: int, version: int) -> Reservation:
    row = _mine(session, account, reservation_id)
    if row.state in (*FINAL, "ending") or row.cancel_requested_at is not None:
        state = row.state if row.cancel_requested_at is None else "cancelled"
        raise Conflict(f"The reservation is {state}: there is nothing left to change.")
    if row.version != version:
        raise Conflict(
            "The reservation was changed since you opened it. Look at it again before you change it."
        )
    return row


def _may_extend(settings: Settings, account: Account, row: Reservation) -> None:
    is_open = row.state == "requested" or settings.booking.owner_extends
    if account.role != "cluster_provider" and not is_open:
        raise NotAllowed(f"It is {row.state}: ask a cluster provider to extend it.")


def _check_quota(
    session: Session,
    settings: Settings,
    account: Account,
    project_id: int,
    row: Reservation,
    end: datetime,
    now: datetime,
) -> None:
    """InvalidRequest where the reservation, with this end, passes the ceilings of the project."""
    wanted = Holding(sum(node.kind == "compute" for node in row.nodes), Slot(row.start_at, end))
    quota.check(session, settings, account, project_id, wanted, now, replaces=row.id)


def _latest_end(session: Session, settings: Settings, row: Reservation, now: datetime) -> datetime:
    longest = row.start_at + limits(settings).length
    if longest <= row.end_at:
        return row.end_at
    gap = room.gap(settings)
    mine = {
        (SITE if one.host_id is None else one.host_id, one.resource): one.amount
        for one in ledger.of_reservation(session, row.id)
        if one.released_at is None
    }
    more = Slot(row.end_at, longest + gap)
    stock = room.read(session, settings, more, now, without=row.id)
    return max(row.end_at, held_until(stock.have, stock.taken, mine, more) - gap)


def _changed(
    session: Session,
    account: Account,
    row: Reservation,
    kind: str,
    message: str,
    now: datetime,
    end_before: datetime | None = None,
) -> None:
    row.version += 1
    data = {"end_before": end_before.isoformat(), "end": row.end_at.isoformat()} if end_before else {}
    event.record(session, now, account.name, kind, message, reservation_id=row.id, data=data)
