# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Move reservations on: one transaction each, under the ledger lock: rows, pure calls, rows."""

from __future__ import annotations

import ipaddress
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from app.booking import save, suspend
from app.booking.begin import waits_for
from app.booking.replace import move_off
from app.db import event, kept, ledger, resource, site, trouble
from app.db.away import is_away
from app.db.base import Database
from app.db.look import HISTORY
from app.db.reservation import Reservation
from app.db.site import Host
from app.domain.lifecycle import FINAL, LIVE, UP, Standing, next_state
from app.settings import Settings
from workers.engine.clock import Clock, utc_now
from workers.engine.follow import follow, forget_gone, write_rows
from workers.engine.gate import step
from workers.engine.suspend import tell
from workers.plan import timing
from workers.plan.layout import Row


@dataclass(frozen=True)
class Laid:
    """A laid-out cluster: its resource rows, and the public part of the frontend's SSH host key."""

    rows: Sequence[Row]
    host_public_key: str


LayOut = Callable[[Reservation, dict[int, Host], int, int], Laid]
ACTOR = "pass:schedule"
# The operations with machines that can be asked to shut down by themselves.
SHUT_DOWN = ("domain",)
# How long until a cluster whose nodes come or go is looked at again.
FOLLOW_AGAIN = timedelta(seconds=2)
# How long a reservation that could not be taken further is left alone: what it waits for takes longer than that.
AGAIN = timedelta(seconds=10)


def advance(
    database: Database, settings: Settings, lay_out: LayOut, clock: Clock = utc_now
) -> tuple[int, int]:
    """Give every reservation that is due its next state; return how many moved and how many failed.

    `lay_out` turns a reservation with its network id and public address into resource rows. Each reservation is
    handled by itself: what goes wrong with one is written to its history and leaves the others alone. What is not
    built yet and booked on hosts that are out is placed elsewhere first.
    """
    replaced = move_off(database, settings, now=clock(), actor=ACTOR)
    with database.reading() as session:
        now = clock()
        lead = lead_of(session, settings)
        ids = session.scalars(_candidates(now, now + lead)).all()
    moved, failed = sum(bool(one.moves) for one in replaced), 0
    for reservation_id in ids:
        try:
            while _advance_one(database, settings, lay_out, reservation_id, lead, clock):
                moved += 1
        except Exception as why:
            if is_away(why):
                raise
            failed += 1
            with database.writing() as session:
                row = session.get_one(Reservation, reservation_id)
                row.retry_at = clock() + AGAIN
                text = f"The schedule pass failed on it: {why}"[:2000]
                if row.why != text:
                    traceback.print_exception(why)  # cron mails it, once for each cause
                    row.why = text
                    event.record(session, clock(), ACTOR, "bug", text, reservation_id=reservation_id)
    return moved, failed


def _candidates(now: datetime, soon: datetime) -> Select[int]:
    """The reservations whose state may have to change by `soon`; `next_state` decides."""
    r = Reservation
    return (
        select(r.id)
        .where(
            r.state.in_(LIVE),
            or_(r.retry_at.is_(None), r.retry_at <= now),
            or_(r.start_at <= soon, r.hold_until <= soon, r.cancel_requested_at.is_not(None)),
        )
        .order_by(r.id)
    )


def _advance_one(
    database: Database,
    settings: Settings,
    lay_out: LayOut,
    reservation_id: int,
    lead: timedelta,
    clock: Clock,
) -> bool:
    """Take the reservation one state further if that is due; say whether it moved."""
    step("schedule.advance.before")
    with database.writing(ledger=True) as session:
        now = clock()
        row = session.get_one(Reservation, reservation_id)
        standing = Standing(
            row.state,
            row.start_at,
            row.end_at,
            row.hold_until,
            row.cancel_requested_at is not None,
            row.start_at - lead,
            row.suspend_requested_at is not None,
            keep_until=row.keep_until,
        )
        if row.state in UP and not standing.is_over(now):
            _catch_up(session, settings, lay_out, row, now)
            standing = replace(standing, is_told=_follow_suspension(session, row, now))
        rows = resource.of_reservation(session, row.id)
        stands = {(one.host_id, one.pass_name) for one in rows if one.have != "absent"}
        if row.state == "ending":
            standing = replace(standing, has_disks=any(one.want == "present" for one in rows))
            rows = [one for one in rows if one.want == "absent"]
        state = next_state(standing, [one.have for one in rows], now)
        if state == row.state:
            if state == "ending":
                ledger.release_gone(session, row.id, stands, now)
            return False
        if state == "building" and any(host.lost_at for host in trouble.hosts_out(session, row.id).values()):
            # It keeps its slot and its place; `why` says what it waits for.
            row.retry_at = now + AGAIN
            return False
        if state == "building" and not _build(session, settings, lay_out, row, now):
            row.retry_at = now + AGAIN
            return False
        _enter(session, settings, row, state, now)
    step("schedule.advance.after")
    return True


def _catch_up(session: Session, settings: Settings, lay_out: LayOut, row: Reservation, now: datetime) -> None:
    """Let what stands follow the nodes where they were changed, and come back to it until that is done."""
    row.retry_at = None
    if resource.is_behind(session, row.id):
        forget_gone(session, settings, row, now)
        laid = _lay_out(session, settings, lay_out, row)
        if laid is not None:
            follow(session, row, laid.rows, now)
        session.flush()
        row.retry_at = now + FOLLOW_AGAIN if resource.is_behind(session, row.id) else None


def _follow_suspension(session: Session, row: Reservation, now: datetime) -> bool:
    """Let the machines be saved or run as is wanted, and come back to it until they are; whether all are told to."""
    if row.state == "building":
        return True
    is_wanted = row.suspend_requested_at is not None
    if is_wanted != (row.state == "suspended"):
        row.retry_at = now + FOLLOW_AGAIN
    return tell(resource.of_reservation(session, row.id), row.nodes[0].id, is_wanted)


def _enter(session: Session, settings: Settings, row: Reservation, state: str, now: datetime) -> None:
    if state == "suspended":
        suspend.saved(session, settings, row, now)
    if state == "ending":
        _take_down(session, row, now)
    if state == "saved":
        save.saved(session, settings, row, now)
        site.give_back(session, row.id)
    if state in FINAL:
        ledger.release(session, row.id, now)
        site.give_back(session, row.id)
    stamp = f"{'ended' if state in FINAL else state}_at"
    # A cluster that was suspended is ready again and was so before: how long it was built for does not change.
    if hasattr(row, stamp) and getattr(row, stamp) is None:
        setattr(row, stamp, now)
    before, row.state = row.state, state
    row.why, row.retry_at = None, row.keep_until if state == "saved" else None
    row.version += 1
    event.record_version(
        session,
        now,
        ACTOR,
        state,
        f"{before} -> {state}",
        reservation_id=row.id,
        version=row.version,
        changed={"state": (before, state)},
    )


def _take_down(session: Session, row: Reservation, now: datetime) -> None:
    """Want nothing more of it on any host, but for disks that are kept. Where they are, and where they are those of a
    saved cluster, its machines shut down by themselves first."""
    rows = resource.of_reservation(session, row.id)
    is_kept = row.keep_until is not None and now < row.keep_until
    if is_kept or row.saved_id is not None:
        for one in rows:
            if one.op in SHUT_DOWN:
                resource.ask_anew(one, {**one.args, "gently": True})
    going = None
    if is_kept:
        leaving = {node.id for node in row.nodes if node.leaving_at is not None}
        going = [one.id for one in rows if one.op not in resource.VOLUMES or one.node_id in leaving]
    resource.want_absent(session, row.id, going)
    resource.drop_unneeded(session)


def _build(session: Session, settings: Settings, lay_out: LayOut, row: Reservation, now: datetime) -> bool:
    """Lay the cluster out and write its resource rows; False, with `why`, when there is no room yet or a number is
    missing."""
    row.why = waits_for(session, settings, row, now)
    if row.why is not None:
        return False
    laid = _lay_out(session, settings, lay_out, row)
    if laid is None:
        return False
    # From now on it is there: nobody else may be given the time until its slot.
    ledger.set_start(session, row.id, min(now, row.start_at))
    row.host_public_key = laid.host_public_key
    if row.saved_id is not None:
        kept.clear(session, row.saved_id, row.id)
    write_rows(session, laid.rows, row.id)
    return True


def _lay_out(session: Session, settings: Settings, lay_out: LayOut, row: Reservation) -> Laid | None:
    """Take the numbers that the cluster needs, or those it has already, and lay it out; None when one is missing."""
    net = settings.network
    first, last = (int(ipaddress.IPv4Address(end)) for end in (net.public_first, net.public_last))
    pool = (net.first_id, net.last_id, net.exclude_ids)
    network_id = site.assign(session, "network_id", row.id, "private", *pool)
    address = site.assign(session, "public_address", row.id, "frontend", first, last)
    if network_id is None or address is None:
        row.why = "Waits for a free " + ("network ID." if network_id is None else "public address.")
        return None
    row.public_address = str(ipaddress.IPv4Address(address))
    return lay_out(row, {host.id: host for host in site.hosts(session)}, network_id, address)


def lead_of(session: Session, settings: Settings) -> timedelta:
    """How long before a slot's start building begins now."""
    r = Reservation
    query = (
        select(r.building_at, r.ready_at)
        .where(r.ready_at.is_not(None), r.building_at.is_not(None))
        .order_by(r.id.desc())
        .limit(HISTORY)
    )
    past_s = [(ready - begun).total_seconds() for begun, ready in session.execute(query) if begun and ready]
    return timing.lead(past_s, settings.booking.lead_s)
