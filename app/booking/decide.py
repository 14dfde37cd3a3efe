# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Decide on a request and call a reservation off: approve, reject, cancel."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import save, version
from app.db import ledger, reservation
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from app.domain.lifecycle import FINAL
from app.settings import Settings


def approve(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    *,
    now: datetime,
) -> None:
    """Accept the request as it stood at version `seen`; its place has been held since it was made.

    NotAllowed for anyone but a cluster provider, and for the owner's own where the site forbids that
    (`booking.own_approval`); Conflict when it is no longer open or was changed meanwhile.
    """
    with database.writing(ledger=True) as session:
        row = open_request(session, account, reservation_id, seen, now)
        check_own(settings, account, row)
        _decide(session, row, account, "approved", None, now)
        row.why = "Building begins in time for the slot."


def reject(
    database: Database, account: Account, reservation_id: int, seen: int, reason: str, *, now: datetime
) -> None:
    """Refuse the request with a reason that the service provider reads; what it held is free again."""
    reason = reason.strip()
    if not reason or len(reason) > 2000:
        raise InvalidRequest({"reason": "Say why in 1 to 2,000 characters: the service provider reads it."})
    with database.writing(ledger=True) as session:
        row = open_request(session, account, reservation_id, seen, now)
        _decide(session, row, account, "rejected", reason, now)
        row.why = None
        row.ended_at = now
        ledger.release(session, row.id, now)


def cancel(database: Database, account: Account, reservation_id: int, *, now: datetime) -> None:
    """Ask for the end of the reservation now, whatever its state; the passes take down what stands.

    What is kept of it goes only when it is asked for again, once it is saved. Asking twice is the same as once.
    Conflict when it is over already, or when its disks are another cluster's.
    """
    with database.writing(ledger=True) as session:
        row = reservation.get(session, account, reservation_id)
        if row is None:
            raise NotFound("There is no such reservation.")
        if not may_cancel(account, row):
            raise NotAllowed("Only its owner or a cluster provider may cancel a reservation.")
        if row.state in FINAL:
            raise Conflict(f"The reservation is {row.state} already; there is nothing to cancel.")
        if row.state == "saved":
            save.let_go(session, account, row, now)
        elif row.cancel_requested_at is None:
            call_off(session, account, row, now)


def may_cancel(account: Account, row: Reservation) -> bool:
    """Its owner and the cluster providers may."""
    return row.owner_id == account.id or account.role == "cluster_provider"


def call_off(session: Session, account: Account, row: Reservation, now: datetime) -> None:
    """Write the wish to end the reservation, under the ledger lock."""
    row.cancel_requested_at = now
    message = f"{account.name} cancelled."
    version.change(session, account.name, row, "cancel", message, {"cancelled": (None, now)}, now)


def check_own(settings: Settings, account: Account, row: Reservation) -> None:
    """NotAllowed where the request is the account's own and the site forbids to decide on these."""
    if row.owner_id == account.id and not settings.booking.own_approval:
        raise NotAllowed(
            "This request is your own, and at this site nobody approves their own (booking.own_approval):"
            " another cluster provider decides."
        )


def open_request(
    session: Session, account: Account, reservation_id: int, seen: int, now: datetime
) -> Reservation:
    """The request as at version `seen`, where it waits for a decision and the account may decide; else Conflict."""
    if account.role != "cluster_provider":
        raise NotAllowed("Only a cluster provider decides on requests.")
    row = reservation.get(session, account, reservation_id)
    if row is None:
        raise NotFound("There is no such reservation.")
    if row.state != "requested" or row.cancel_requested_at is not None or row.hold_until <= now:
        state = "cancelled" if row.cancel_requested_at is not None else row.state
        state = "expired" if state == "requested" else state
        message = f"The request is no longer open: it is {state}. Nothing was changed now."
        raise version.conflict(session, row, seen, message)
    version.check(session, row, seen)
    return row


def _decide(
    session: Session, row: Reservation, account: Account, state: str, reason: str | None, now: datetime
) -> None:
    before, row.state = row.state, state
    row.reason = reason
    row.decided_at = now
    row.decided_by_id = account.id
    message = f"{account.name} {state} the request" + (f": {reason}" if reason else ".")
    version.change(session, account.name, row, state, message, {"state": (before, state)}, now)
