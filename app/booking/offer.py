# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Answer a request with a counter-offer, another slot, other nodes, other rolls, and take it or leave it.

While an offer is open its place is held as well as the request's: what the offer takes beyond what the request holds,
at each instant. The request may so be decided on as before, and an accepted offer always fits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import availability, decide, room, version
from app.booking.request import check_hosts, write_nodes
from app.db import ledger, reservation
from app.db import offer as offers
from app.db.account import Account
from app.db.base import Database
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.domain.capacity import beyond
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.domain.offer import Terms, changed
from app.domain.placement import Placement
from app.domain.request import User, validate
from app.domain.shape import COMPUTE, Shape
from app.domain.slot import Slot
from app.settings import Settings

LONGEST_TEXT = 2000


def make(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    raw: Mapping[str, object],
    message: str,
    *,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    now: datetime,
) -> None:
    """Offer what `raw` says in place of the request as it stood at version `seen`; its owner reads `message`.

    `raw` holds start, end and the shape, as `domain.request.validate` reads them; of a group with a least as many are
    held as there is room for, see `accept`. The offer is open until the request's hold ends, or the offered slot; an
    offer made before is withdrawn.
    Conflict for a saved cluster, whose disks have their sizes.
    For cluster providers, whom no quota binds; NotAllowed also for one's own request where `decide.approve` is.
    InvalidRequest, NoRoom and Conflict change nothing.
    """
    with database.reading() as session:
        row = decide.open_request(session, account, reservation_id, seen, now)
        decide.check_own(settings, account, row)
        if row.saved_id is not None:
            raise Conflict(
                "It is a saved cluster, as large as its disks are: approve the request, or reject it."
            )
        users = [User(user.name, tuple(user.keys)) for user in row.users]
    terms = _validate({**raw, "name": row.name, "users": users}, message, settings, rolls, appliances, now)
    check_hosts(database, account, raw, terms.shape)
    try:
        _make(database, settings, account, reservation_id, seen, terms, message.strip(), now)
    except NoRoom as why:
        slot = room.occupied(settings, terms.slot)
        with database.reading() as session:
            in_the_way = availability.in_the_way(session, account, slot, why.hosts, now, row.id)
            instead = availability.instead(session, settings, account, terms.shape, terms.slot, now, row.id)
        raise NoRoom(why.reasons, why.hosts, in_the_way, instead) from why


def accept(
    database: Database, settings: Settings, account: Account, reservation_id: int, seen: int, *, now: datetime
) -> None:
    """Let the reservation be what was offered, and approved, as shown at version `seen`; for its owner alone.

    A group with a least gets what is held for it, and where there is room for more by now, more. Conflict when the
    offer is no longer open or the request was changed meanwhile.
    """
    with database.writing(ledger=True) as session:
        row, offer = _open_offer(session, account, reservation_id, seen, now)
        if row.owner_id != account.id:
            raise NotAllowed("Only its owner accepts an offer.")
        before = Terms(Slot(row.start_at, row.end_at), room.shape_of(row))
        terms = Terms.of_data(offer.offered)
        granted, placement = _granted(session, settings, offer, terms, now)
        _rebook(session, settings, row, terms, granted, placement)
        offers.settle(session, offer, "accepted", now)
        row.state, row.decided_at, row.decided_by_id = "approved", now, offer.made_by_id
        row.why, row.retry_at = "Building begins in time for the slot.", None
        fields = {"state": ("requested", "approved")} | changed(before, Terms(terms.slot, granted))
        message = f"{account.name} accepted what {offer.made_by.name} offered; so it is approved."
        version.change(session, account.name, row, "accepted", message, fields, now)


def decline(
    database: Database, account: Account, reservation_id: int, seen: int, reason: str = "", *, now: datetime
) -> None:
    """Say no to the offer, or take it back: the request is open as it was. For its owner and cluster providers."""
    reason = reason.strip()
    if len(reason) > LONGEST_TEXT or "\x00" in reason:
        raise InvalidRequest({"reason": f"A reason is text of at most {LONGEST_TEXT:,} characters."})
    with database.writing(ledger=True) as session:
        row, offer = _open_offer(session, account, reservation_id, seen, now)
        if not decide.may_cancel(account, row):
            raise NotAllowed("Only its owner or a cluster provider may turn an offer down.")
        answer = "declined" if row.owner_id == account.id else "withdrawn"
        offers.settle(session, offer, answer, now, reason or None)
        verb = "declined" if answer == "declined" else "withdrew"
        message = f"{account.name} {verb} what {offer.made_by.name} offered" + (
            f": {reason}" if reason else "."
        )
        version.change(session, account.name, row, answer, message, {"offer": ("made", answer)}, now)


def _validate(
    raw: Mapping[str, object],
    message: str,
    settings: Settings,
    rolls: Collection[str],
    appliances: Collection[str],
    now: datetime,
) -> Terms:
    """What `raw` offers; InvalidRequest names all that is wrong at once."""
    text, wrong = message.strip(), dict[str, str]()
    if not text or len(text) > LONGEST_TEXT or "\x00" in text:
        wrong["message"] = f"Say why in 1 to {LONGEST_TEXT:,} characters: the service provider reads it."
    try:
        limits = availability.limits(settings)
        wanted = validate(raw, now=now, rolls=rolls, appliances=appliances, limits=limits)
    except InvalidRequest as why:
        raise InvalidRequest(why.fields | wrong) from why
    if wrong:
        raise InvalidRequest(wrong)
    return Terms(wanted.slot, wanted.shape)


def _make(
    database: Database,
    settings: Settings,
    account: Account,
    reservation_id: int,
    seen: int,
    terms: Terms,
    message: str,
    now: datetime,
) -> None:
    with database.writing(ledger=True) as session:
        row = decide.open_request(session, account, reservation_id, seen, now)
        asked = terms_of(row)
        if terms == asked:
            raise InvalidRequest({"start": "That is what was asked for: approve it, or change something."})
        slot = room.occupied(settings, terms.slot)
        stock = room.read(session, settings, slot, now, without=row.id)
        granted, placement = room.grant(stock, settings, terms.shape, slot)
        wanted = ledger.in_slot(room.amounts(room.groups(granted, settings), placement), slot)
        more = beyond(wanted, ledger.held_by(session, row.id))
        told = f"{account.name} offered something else: {message}"
        version.change(session, account.name, row, "offered", told, {"offer": (None, "made")}, now)
        made = Offer(
            reservation_id=row.id,
            made_by_id=account.id,
            made_at=now,
            expires_at=min(row.hold_until, terms.slot.end),
            message=message,
            asked=asked.data(),
            offered=terms.data(),
            hosts=dict(placement.hosts),
        )
        session.add(made)
        session.flush()
        ledger.take_for_offer(session, row.id, made.id, more)


def _open_offer(
    session: Session, account: Account, reservation_id: int, seen: int, now: datetime
) -> tuple[Reservation, Offer]:
    row = reservation.get(session, account, reservation_id)
    if row is None:
        raise NotFound("There is no such reservation.")
    version.check(session, row, seen)
    offer = offers.open_to(session, row.id, now)
    if offer is None:
        raise version.conflict(session, row, seen, "There is no open offer to it. Nothing was changed now.")
    return row, offer


def terms_of(row: Reservation) -> Terms:
    """What was asked for, as the reservation stands."""
    return Terms(Slot(row.start_at, row.end_at), room.asked_of(row))


def held_for(offer: Offer) -> Shape:
    """What is held for the offer: of each group the nodes there was room for when it was made."""
    return Terms.of_data(offer.offered).shape.only(offer.hosts)


def _granted(
    session: Session, settings: Settings, offer: Offer, terms: Terms, now: datetime
) -> tuple[Shape, Placement]:
    """What is granted of the offer, and where: what is held for it, or more where that is not all it may have."""
    held = held_for(offer)
    if held.most < terms.shape.most:
        slot = room.occupied(settings, terms.slot)
        stock = room.read(session, settings, slot, now, without=offer.reservation_id)
        with suppress(NoRoom):
            granted, placement = room.grant(stock, settings, terms.shape, slot)
            pairs = zip(granted.groups, held.groups, strict=True)
            if granted.most > held.most and all(one.most >= before.most for one, before in pairs):
                return granted, placement
    return held, Placement(offer.hosts)


def _rebook(
    session: Session,
    settings: Settings,
    row: Reservation,
    terms: Terms,
    granted: Shape,
    placement: Placement,
) -> None:
    """Let the reservation, nothing of which was built, be of these terms, with what is granted of them in its place."""
    row.start_at, row.end_at = terms.slot.start, terms.slot.end
    row.home_gib, row.rolls = terms.shape.home_gib, list(terms.shape.rolls)
    row.shared_disk_gib = terms.shape.shared_disk_gib
    row.nodes, row.groups = [], []
    session.flush()
    write_nodes(session, settings, row.id, terms.shape, granted, placement)
    session.expire(row, ["nodes", "groups"])
    amounts = room.amounts(room.groups(granted, settings), placement)
    ledger.replace(session, row.id, amounts, room.occupied(settings, terms.slot))
