# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What an operator says of a host: its tags, its bandwidth, and when it is under maintenance."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from app.booking import availability, room
from app.db import event, ledger, reservation, site
from app.db.base import Database
from app.db.site import Host, Maintenance
from app.domain.capacity import peaks
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.placement import UNITS
from app.domain.slot import Slot
from app.settings import Settings

TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
MOST_TAGS = 40
# A terabit a second: beyond what a host of today has, and within what a column holds.
MOST_MBIT = 1_000_000
LONGEST_WHY = 200
# So many of those in the way are named.
MOST_NAMED = 5


def describe(
    database: Database,
    name: str,
    *,
    tags: Collection[str],
    bandwidth_mbit: int | None,
    by: str,
    now: datetime,
) -> None:
    """Let the host have these tags and this bandwidth of its public uplink (None: not counted).

    What stands there or is booked there stays. InvalidRequest by field, NotFound for a host that is not there.
    """
    wrong = {}
    if len(tags) > MOST_TAGS or not all(TAG.fullmatch(tag) for tag in tags):
        wrong["tags"] = (
            f"At most {MOST_TAGS} tags of lower-case letters, digits, dots, underscores and hyphens."
        )
    elif told := sorted(site.CAPABILITIES & set(tags)):
        wrong["tags"] = f"{', '.join(told)}: hosts tell that themselves, run `leasehold host check {name}`."
    if bandwidth_mbit is not None and not 0 <= bandwidth_mbit <= MOST_MBIT:
        wrong["bandwidth_mbit"] = f"Give 0 to {MOST_MBIT:,} Mbit/s, or nothing: then it is not counted."
    if wrong:
        raise InvalidRequest(wrong)
    with database.writing(ledger=True) as session:
        row = _host(session, name)
        row.tags, row.bandwidth_mbit = sorted(set(tags)), bandwidth_mbit
        speed = "not counted" if bandwidth_mbit is None else f"{bandwidth_mbit} Mbit/s"
        message = f"{name} has the tags {', '.join(row.tags) or '(none)'}, bandwidth {speed}."
        event.record(session, now, by, "host_described", message, host_id=row.id)


def maintain(database: Database, name: str, slot: Slot, why: str, *, by: str, now: datetime) -> int:
    """Let nothing stand on the host throughout `slot`; the number of the maintenance.

    Conflict says who has booked the host in that time, or which other maintenance of it that is; nothing is changed
    then.
    """
    wrong = {}
    if slot.end <= now:
        wrong["end"] = "The end has passed already."
    if len(why) > LONGEST_WHY or not why.isprintable():
        wrong["why"] = f"Say why in at most {LONGEST_WHY} characters on one line."
    if wrong:
        raise InvalidRequest(wrong)
    with database.writing(ledger=True) as session:
        row = _host(session, name)
        for host_id, start, end in site.maintenance(session, slot):
            if host_id == row.id:
                raise Conflict(f"{name} is under maintenance from {_utc(start)} to {_utc(end)} already.")
        _refuse_if_booked(session, row, slot, now)
        made = Maintenance(host_id=row.id, start_at=slot.start, end_at=slot.end, why=why)
        session.add(made)
        session.flush()
        message = f"{name} is under maintenance from {_utc(slot.start)} to {_utc(slot.end)}. {why}".strip()
        event.record(session, now, by, "maintenance", message, host_id=row.id)
        return made.id


def end_maintenance(database: Database, number: int, *, by: str, now: datetime) -> None:
    """Call the maintenance off, or end it now where it has begun: the host may be booked from now on."""
    with database.writing(ledger=True) as session:
        row = session.get(Maintenance, number)
        if row is None or row.end_at <= now:
            raise NotFound(f"There is no maintenance {number} that is not over.")
        name = session.get_one(Host, row.host_id).name
        message = f"The maintenance of {name} from {_utc(row.start_at)} to {_utc(row.end_at)} is called off."
        event.record(session, now, by, "maintenance_off", message, host_id=row.host_id)
        if row.start_at < now:
            row.end_at = now
        else:
            session.delete(row)


def overbooked(session: Session, settings: Settings, name: str, now: datetime) -> list[str]:
    """What is booked of the host, now or later, beyond what it has: another machine in its place may have less."""
    row = _host(session, name)
    slot = Slot(now, now + availability.limits(settings).ahead)
    have = room.totals(settings, site.capacities(session, [row.id]))
    most = peaks(ledger.taken(session, slot, now, [row.id]), slot)
    return [
        f"up to {amount:,} {UNITS.get(resource, resource)} are booked there, and it has {have[row.id, resource]:,}"
        for (holder, resource), amount in most.items()
        if holder == row.id and amount > have[row.id, resource]
    ]


def _refuse_if_booked(session: Session, host: Host, slot: Slot, now: datetime) -> None:
    until = ledger.holders(session, slot, now, [host.id])
    if not until:
        return
    rows = reservation.named(session, list(until)[: MOST_NAMED + 1])
    named = [f"{row.name} ({row.owner.name}) until {_utc(until[row.id])}" for row in rows[:MOST_NAMED]]
    more = f" and {len(until) - MOST_NAMED} more" if len(until) > MOST_NAMED else ""
    raise Conflict(
        f"{host.name} is booked in that time, by {', '.join(named)}{more}. Choose another time, or have these moved"
        " or cancelled first. Nothing was changed."
    )


def _host(session: Session, name: str) -> Host:
    row = site.host_by_name(session, name)
    if row is None or not row.roles:
        raise NotFound(f"There is no host {name!r}; `leasehold host list` names them.")
    return row


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
