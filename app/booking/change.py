# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Change a reservation that is there: extend or shrink it, hand it to another owner, leave a note."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from app.booking import quota, room, version
from app.booking.availability import in_the_way, limits
from app.db import account as accounts
from app.db import event, ledger, reservation
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.capacity import free
from app.domain.errors import InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.lifecycle import FINAL
from app.domain.opening import held_until
from app.domain.quota import Holding
from app.domain.refusal import InTheWay
from app.domain.slot import Slot, utc
from app.settings import Settings

LONGEST_NOTE = 2000
INSTANT = timedelta(microseconds=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Latest:
    """The latest end that `set_end` would take, and who has the cluster's hosts after it; nobody where no slot may be
    longer."""

    end: datetime
    in_the_way: tuple[InTheWay, ...] = ()


def latest_end(
    database: Database, settings: Settings, account: Account, reservation_id: int, *, now: datetime
) -> Latest:
    """Until when what the reservation holds is free for it, and who is in the way then, as `account` may know."""
    with database.reading() as session:
        return _latest(session, settings, account, owned(session, account, reservation_id), now)


def set_end(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    end: datetime,
    *,
    now: datetime,
) -> None:
    """Let the reservation end at `end`, earlier or later, on the hosts it has.

    The owner may always shrink it, and extend it until it is approved; after that a cluster provider extends, unless
    the site lets owners (`booking.owner_extends`). NoRoom tells the latest end that is possible; Conflict when it is
    over or was changed since version `seen`. In each case nothing is changed.
    """
    end = utc(end)
    with database.writing(ledger=True) as session:
        row = changeable(session, account, reservation_id, seen)
        if end <= max(row.start_at, now):
            raise InvalidRequest(
                {"end": "The end must lie ahead, and after the start. To end it now, cancel it."}
            )
        if end > (kept_until := _kept_until(row)):
            message = f"Its disks are kept until {kept_until:%Y-%m-%d %H:%M} UTC: keep them longer first."
            raise InvalidRequest({"end": message})
        if end > row.end_at:
            may_extend(settings, account, row)
            _check_quota(session, settings, account, row.project_id, row, end, now)
            latest = _latest(session, settings, account, row, now)
            if end > latest.end:
                reason = f"Its hosts are free for it until {latest.end:%Y-%m-%d %H:%M} UTC and no longer."
                raise NoRoom([reason], in_the_way=latest.in_the_way)
        before, row.end_at = row.end_at, end
        row.hold_until = min(row.hold_until, end)
        gap = room.gap(settings)
        if row.keep_until is not None:
            ledger.keep_nothing(session, row.id, before)
        ledger.set_end(session, row.id, end + gap)
        if row.keep_until is not None:
            ledger.take(session, row.id, room.of_disks(row), Slot(end + gap, row.keep_until + gap))
        word = "extended" if end > before else "shortened"
        message = f"{account.name} {word} it to {end:%Y-%m-%d %H:%M} UTC."
        version.change(session, account.name, row, word, message, {"end": (before, end)}, now)


def give(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    to: str,
    *,
    now: datetime,
) -> None:
    """Make the provider named `to` its owner, in the project of that account; by its owner or a cluster provider.

    InvalidRequest also where that project's ceilings leave no room for it.
    """
    with database.writing(ledger=True) as session:
        row = changeable(session, account, reservation_id, seen)
        taker = accounts.by_name(session, to)
        if taker is None or not taker.is_active or taker.role == "operator":
            raise InvalidRequest({"owner": f"There is no provider called {to[:64]!r} who could own it."})
        if taker.id == row.owner_id:
            raise InvalidRequest({"owner": f"It belongs to {to} already."})
        if taker.project_id != row.project_id:
            _check_quota(session, settings, account, taker.project_id, row, row.end_at, now)
        before, row.owner, row.project_id = row.owner.name, taker, taker.project_id
        # The key named the request among those of the first owner.
        row.request_key = None
        message = f"{account.name} gave it to {to}."
        version.change(session, account.name, row, "given", message, {"owner": (before, to)}, now)


def note(database: Database, account: Account, reservation_id: int, text: str, *, now: datetime) -> None:
    """Leave a note in its history, which its owner and the cluster providers read."""
    text = text.strip()
    if not text or len(text) > LONGEST_NOTE or "\x00" in text:
        raise InvalidRequest({"note": f"A note is text of 1 to {LONGEST_NOTE:,} characters."})
    with database.writing() as session:
        row = owned(session, account, reservation_id)
        event.record(session, now, account.name, "note", text, reservation_id=row.id)


def owned(session: Session, account: Account, reservation_id: int) -> Reservation:
    """The reservation, where the account may change it."""
    row = reservation.get(session, account, reservation_id)
    if row is None:
        raise NotFound("There is no such reservation.")
    if row.owner_id != account.id and account.role != "cluster_provider":
        raise NotAllowed("Only its owner or a cluster provider may change a reservation.")
    return row


def _kept_until(row: Reservation) -> datetime:
    """The latest end that the date lets it have until which its disks are kept, or were before it was restored."""
    if row.saved is not None and row.saved.keep_until is not None:
        return row.saved.keep_until
    return FOREVER if row.keep_until is None else row.keep_until - INSTANT


def changeable(session: Session, account: Account, reservation_id: int, seen: int) -> Reservation:
    """The reservation as at version `seen`, where the account may change it and there is something left to change."""
    row = owned(session, account, reservation_id)
    if row.state in (*FINAL, "ending", "saved") or row.cancel_requested_at is not None:
        state = row.state if row.cancel_requested_at is None else "cancelled"
        message = f"The reservation is {state}: there is nothing left to change."
        raise version.conflict(session, row, seen, message)
    version.check(session, row, seen)
    return row


def may_extend(settings: Settings, account: Account, row: Reservation) -> None:
    """NotAllowed where the account may not let the reservation take more than it has."""
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
    wanted = Holding(
        sum(node.kind == "compute" and node.leaving_at is None for node in row.nodes), Slot(row.start_at, end)
    )
    quota.check(session, settings, account, project_id, wanted, now, replaces=row.id)


def _latest(
    session: Session, settings: Settings, account: Account, row: Reservation, now: datetime
) -> Latest:
    longest = min(row.start_at + limits(settings).length, _kept_until(row))
    if longest <= row.end_at:
        return Latest(row.end_at)
    gap = room.gap(settings)
    mine = {(one.holder, one.resource): one.amount for one in ledger.held_by(session, row.id)}
    more = Slot(row.end_at, longest + gap)
    stock = room.read(session, settings, more, now, without=row.id)
    until = held_until(stock.have, stock.taken, mine, more)
    if until == more.end:
        return Latest(longest)
    then = Slot(until, until + INSTANT)
    left = free(stock.have, stock.taken, then)
    short = {host for (host, resource), amount in mine.items() if left.get((host, resource), 0) < amount}
    hosts = tuple(host for host in short if isinstance(host, int))
    return Latest(max(row.end_at, until - gap), tuple(in_the_way(session, account, then, hosts, now)))
