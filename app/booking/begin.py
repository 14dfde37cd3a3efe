# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a cluster can be built before its slot: beside those who are there until then there has to be room."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import room
from app.db import ledger, site
from app.db.reservation import Reservation
from app.domain.capacity import SITE, TICK, Key, free
from app.domain.slot import Slot
from app.settings import Settings


def waits_for(session: Session, settings: Settings, row: Reservation, now: datetime) -> str | None:
    """What an approved reservation has to wait for before it is built at `now`; None: there is room. Under the ledger
    lock.

    It waits for those who go by the start of its slot, or are overdue, and take the room for it until they do. Whoever
    stays beyond its start was counted when it was booked.
    """
    wanted: Counter[Key] = Counter()
    for one in ledger.held_by(session, row.id):
        wanted[one.holder, one.resource] += one.amount
    until = ledger.last_ends(session, max(row.start_at, now), without=row.id)
    going = wanted.keys() & until.keys()
    if going:
        slot, holders = Slot(now, max(row.start_at, now + TICK)), {holder for holder, _ in going}
        hosts = site.capacities(session, [int(holder) for holder in holders if holder != SITE])
        taken = ledger.taken(session, slot, now, holders, without=row.id)
        left = free(room.totals(settings, hosts), taken, slot)
        if short := [key for key in going if left.get(key, 0) < wanted[key]]:
            names: dict[int | str, str] = {host.id: host.name for host in hosts}
            where = sorted({names.get(holder, "the site") for holder, _ in short})
            return _why(where, max(until[key] for key in short), now)
    return None


def _why(where: list[str], until: datetime, now: datetime) -> str:
    others = (
        f"other clusters are there until {until:%Y-%m-%d %H:%M} UTC"
        if until > now
        else "another cluster is past its end and not gone from there yet"
    )
    return f"Waits for room on {', '.join(where)}: {others}."
