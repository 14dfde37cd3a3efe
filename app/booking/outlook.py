# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What would come of a request if it were made now: the same ceilings, the same placement, and nothing written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.booking import availability, quota
from app.booking.request import Placed, check_hosts, place
from app.db.account import Account
from app.db.base import Database
from app.domain import recurrence
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.quota import Holding, Line
from app.domain.request import validate_size
from app.domain.shape import COMPUTE, Shape
from app.domain.shape_input import count_field
from app.domain.slot import Slot
from app.settings import Settings


@dataclass(frozen=True)
class Outlook:
    """What would be `granted` in which slot, and which slots would be `refused`, why.

    `over` tells by field which ceilings of the project would be passed; no slot after that one was looked at. `lines`
    are the ceilings, now and with what would be granted; with the least, where one is passed or nothing is granted.
    """

    asked: Shape
    is_one: bool
    skips: bool
    granted: tuple[tuple[Slot, Shape], ...]
    refused: tuple[tuple[Slot, NoRoom], ...]
    over: Mapping[str, str]
    lines: tuple[Line, ...]

    @property
    def fits(self) -> bool:
        """Whether anything would be booked."""
        return bool(self.granted) and not self.over and (self.skips or not self.refused)


def outlook(
    database: Database,
    settings: Settings,
    account: Account,
    raw: Mapping[str, object],
    again: Mapping[str, object] | None = None,
    *,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    now: datetime,
) -> Outlook:
    """What `request` would answer to `raw`, or `series.book` to it with `again`, but for name, users and note.

    InvalidRequest names what of the rest is to be mended. Each slot of a series is looked at with those before it as
    booked, as `series.book` does. One refusal alone carries who is in the way and what would fit instead. Takes no
    lock.
    """
    limits = availability.limits(settings)
    first, shape = validate_size(raw, now=now, rolls=rolls, appliances=appliances, limits=limits)
    check_hosts(database, account, raw, shape)
    repeat = None if again is None else recurrence.validate(again)
    slots = [first] if repeat is None else recurrence.slots(first, repeat, now + limits.ahead)
    called = raw.get("name")
    name = called if isinstance(called, str) and called else account.name
    placed: list[Placed] = []
    refused: list[tuple[Slot, NoRoom]] = []
    over: Mapping[str, str] = {}
    counted: list[Holding] = []
    with database.reading() as session:
        for number, slot in enumerate(slots, start=1):
            try:
                placed.append(
                    place(
                        session,
                        settings,
                        account,
                        shape,
                        slot,
                        now,
                        name=name if repeat is None else recurrence.name_of(name, number),
                        count_field=count_field(raw),
                        beside=placed,
                    )
                )
            except NoRoom as why:
                refused.append((slot, why))
            except InvalidRequest as why:
                over = why.fields
                counted = [Holding(shape.least, slot)]
                break
        counted = [Holding(one.granted.most, one.slot) for one in placed] + counted
        lines = quota.lines(session, settings, account, counted or [Holding(shape.least, first)], now)
    if repeat is None:
        refused = [
            (slot, availability.explain(database, settings, account, shape, slot, why, now=now))
            for slot, why in refused
        ]
    return Outlook(
        asked=shape,
        is_one=repeat is None,
        skips=repeat is not None and repeat.skips,
        granted=tuple((one.slot, one.granted) for one in placed),
        refused=tuple(refused),
        over=over,
        lines=tuple(lines),
    )
