# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings: a cluster for many slots in one transaction, and calling off those that are ahead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.booking import availability, decide
from app.booking.request import Placed, check_hosts, made_before, place, write
from app.db import series as db
from app.db.account import Account
from app.db.base import Database
from app.db.series import Series
from app.domain import recurrence
from app.domain.errors import InvalidRequest, NoRoom, NotFound
from app.domain.field import NAME_LENGTH
from app.domain.recurrence import Recurrence
from app.domain.refusal import Alternative
from app.domain.request import Request, validate
from app.domain.shape import COMPUTE
from app.domain.slot import Slot
from app.settings import Settings

SUFFIX = recurrence.name_of("", 1)
# What was asked for in one slot, and why there is no room for it.
Refusal = tuple[Request, NoRoom]


class _Refused(Exception):
    """These slots have no room, so that no slot of the series is booked."""

    def __init__(self, refused: Sequence[Refusal]) -> None:
        super().__init__()
        self.refused = refused


def book(
    database: Database,
    settings: Settings,
    account: Account,
    raw: Mapping[str, object],
    again: Mapping[str, object],
    *,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    now: datetime,
    key: str | None = None,
) -> int:
    """Book what `raw` asks for (see `request`) in each slot that `again` names (see `domain.recurrence`); the id of
    the new series.

    One transaction under the ledger lock; the reservations are called NAME-01, NAME-02, ... by their slots. What does
    not fit in some slot: NoRoom with nothing written, a reason for each such slot and what would fit instead; or, where
    `again` says skip, that slot is left out and kept with its reasons and the nearest alternative, but NoRoom if no
    slot has room.
    InvalidRequest names the fields to mend. A `key` sent again answers with the series that was made the first time;
    Conflict where a single reservation was made under it.
    """
    limits = availability.limits(settings)
    if key is not None:
        with database.reading() as session:
            made = made_before(session, account, key, is_series=True)
        if made is not None:
            return made
    repeat = recurrence.validate(again)
    first = validate(raw, now=now, rolls=rolls, appliances=appliances, limits=limits)
    check_hosts(database, account, raw, first.shape)
    wanted = _each(first, repeat, now + limits.ahead)
    try:
        series_id, left_out = _book(database, settings, account, first.name, wanted, repeat, now, key)
    except _Refused as why:
        advised = _advised(database, settings, account, why.refused, now)
        instead = _instead(wanted, [told for _, told in advised])
        fitting = [one for one in instead if _fits(database, settings, account, wanted, one, now)]
        raise NoRoom(_reasons(why.refused), alternatives=fitting) from why
    if left_out:
        advised = _advised(database, settings, account, left_out, now)
        with database.writing() as session:
            session.get_one(Series, series_id).skipped = [_skipped(one, why) for one, why in advised]
    return series_id


def _each(first: Request, repeat: Recurrence, furthest: datetime) -> list[Request]:
    """The request once for each slot, under a name of its own; InvalidRequest where its name is too long for that."""
    if len(first.name) + len(SUFFIX) > NAME_LENGTH:
        most = NAME_LENGTH - len(SUFFIX)
        raise InvalidRequest(
            {"name": f"The name of a series has at most {most} characters: -01 and so on follow."}
        )
    return [
        replace(first, name=recurrence.name_of(first.name, number), slot=slot)
        for number, slot in enumerate(recurrence.slots(first.slot, repeat, furthest), start=1)
    ]


def _book(
    database: Database,
    settings: Settings,
    account: Account,
    name: str,
    wanted: Sequence[Request],
    repeat: Recurrence,
    now: datetime,
    key: str | None,
) -> tuple[int, list[Refusal]]:
    """The transaction: the id of the series, and what was left out of it; _Refused, with nothing written."""
    refused: list[Refusal] = []
    with database.writing(ledger=True) as session:
        # Looked for again under the lock: the first of two sent at once may have been written meanwhile.
        if key is not None and (made := made_before(session, account, key, is_series=True)) is not None:
            return made, []
        series = Series(
            name=name, every_days=repeat.days, time_zone=repeat.zone.key, asked_at=now, skipped=[]
        )
        session.add(series)
        session.flush()
        for one in wanted:
            try:
                write(session, settings, account, one, now, key, series_id=series.id)
            except NoRoom as why:
                refused.append((one, why))
                continue
            # One of them carries the key, the first that was written.
            key = None
        if refused and (not repeat.skips or len(refused) == len(wanted)):
            raise _Refused(refused)
        series.skipped = [_skipped(one, why) for one, why in refused]
        return series.id, refused


def _advised(
    database: Database,
    settings: Settings,
    account: Account,
    refused: Sequence[Refusal],
    now: datetime,
) -> list[Refusal]:
    """Each refusal with what would fit instead. Not under the lock: nobody else is to wait for good advice."""
    return [
        (one, availability.explain(database, settings, account, one.shape, one.slot, why, now=now))
        for one, why in refused
    ]


def _instead(wanted: Sequence[Request], refused: Sequence[NoRoom]) -> list[Alternative]:
    """What may fit in place of the series: without the slots that have no room, or what fits into each of those."""
    first, found = wanted[0], []
    if len(refused) < len(wanted):
        found.append(Alternative("fewer", first.slot, first.shape))
    smaller = [one for why in refused for one in why.alternatives if one.kind == "smaller"]
    if len(smaller) == len(refused):
        least = min(smaller, key=lambda one: one.shape.most)
        found.append(Alternative("smaller", first.slot, least.shape))
    shorter = [one for why in refused for one in why.alternatives if one.kind == "shorter"]
    if len(shorter) == len(refused):
        length = min(one.slot.length for one in shorter)
        found.append(Alternative("shorter", Slot(first.slot.start, first.slot.start + length), first.shape))
    return found


def _fits(
    database: Database,
    settings: Settings,
    account: Account,
    wanted: Sequence[Request],
    offer: Alternative,
    now: datetime,
) -> bool:
    """Whether the whole series fits as offered: what fits into each slot may be too much for two that are close."""
    if offer.kind == "fewer":
        return True  # those that have room had it beside one another
    placed: list[Placed] = []
    with database.reading() as session:
        for one in wanted:
            slot = Slot(one.slot.start, one.slot.start + offer.slot.length)
            try:
                placed.append(
                    place(session, settings, account, offer.shape, slot, now, name=one.name, beside=placed)
                )
            except (NoRoom, InvalidRequest):
                return False
    return True


def cancel_ahead(database: Database, account: Account, series_id: int, *, now: datetime) -> int:
    """Cancel what is ahead of the series; how many were cancelled.

    Those that have begun and those that `account` may not cancel stay. NotFound where it sees none of it.
    """
    with database.writing(ledger=True) as session:
        if db.get(session, account, series_id) is None:
            raise NotFound("There is no such series, or it is not yours to see.")
        rows = db.ahead(session, account, series_id, now)
        mine = [one for one in rows if decide.may_cancel(account, one)]
        for one in mine:
            decide.call_off(session, account, one, now)
        return len(mine)


def _reasons(refused: Sequence[Refusal]) -> list[str]:
    return [
        f"{one.name}, {one.slot.start:%Y-%m-%d %H:%M} UTC: {' '.join(why.reasons)}" for one, why in refused
    ]


def _skipped(one: Request, why: NoRoom) -> dict[str, Any]:
    nearest = why.alternatives[0] if why.alternatives else None
    return {
        "name": one.name,
        "start": one.slot.start.isoformat(),
        "end": one.slot.end.isoformat(),
        "reasons": list(why.reasons),
        "nearest": nearest
        and {
            "kind": nearest.kind,
            "start": nearest.slot.start.isoformat(),
            "end": nearest.slot.end.isoformat(),
            "node_count": nearest.shape.most,
        },
    }
