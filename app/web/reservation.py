# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages of reservations: the list, one of them with its steps, its history, and calling it off."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import decide, room
from app.booking.offer import held_for
from app.db import account as accounts
from app.db import event, resource, site, trouble
from app.db import offer as offers
from app.db import reservation as reservations
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.domain.errors import Conflict, NotFound
from app.domain.lifecycle import FINAL, LIVE, STATES
from app.domain.offer import Terms
from app.domain.shape import Shape
from app.web import visit, words
from app.web.access import Access, access
from app.web.steps import Check, Progress, Standing, Step, checks_of, make_steps, progress

PAGE_SIZE = 50
MOST_PAGES = 1_000_000
MOST_EVENTS = 300
# How often a block is fetched anew, in seconds: seldom where nothing is likely to change.
POLL_S = {"building": 3, "ending": 3, "approved": 10, "requested": 10, "ready": 30, "suspended": 30}
POLL_ON_THE_WAY_S = 3
COLUMNS = (
    "step",
    "operation",
    "host",
    "state",
    "failures",
    "started_at",
    "done_at",
    "seconds",
    "removal_started_at",
    "removed_at",
    "removal_seconds",
)


@dataclass(frozen=True)
class Shown:
    """An offer beside what was asked for, how much of it is held, and what became of it."""

    offer: Offer
    asked: Terms
    offered: Terms
    held: Shape
    standing: Standing
    is_open: bool


@dataclass(frozen=True)
class View:
    """All that the page of one reservation shows."""

    row: Reservation
    sentence: str
    steps: list[Step]
    progress: Progress
    # How many of its own steps are not as they are wanted.
    open: int
    checks: list[Check]
    access: Access | None
    next_event: tuple[str, datetime] | None
    warning: str | None
    degraded: str | None
    poll_s: int | None
    offers: list[Shown]


def listing() -> ResponseReturnValue:
    """The visitor's reservations, filtered and paged by the address alone."""
    wanted = request.args.get("state", "live")
    states = {"live": LIVE, "over": FINAL, "all": ()}.get(wanted, (wanted,) if wanted in STATES else LIVE)
    page = min(request.args.get("page", 1, type=_number), MOST_PAGES)
    found = reservations.summaries(
        visit.reading(), visit.me(), states=states, limit=PAGE_SIZE + 1, offset=(page - 1) * PAGE_SIZE
    )
    rows = [(row, count, words.next_event(row, visit.now())) for row, count in found[:PAGE_SIZE]]
    has_more = len(found) > PAGE_SIZE
    degraded = trouble.degraded(visit.reading(), [row.id for row, _, _ in rows])
    return render_template(
        "reservation/list.html", rows=rows, degraded=degraded, wanted=wanted, page=page, has_more=has_more
    )


def detail(reservation_id: int) -> ResponseReturnValue:
    """One reservation."""
    return page(find(reservation_id))


def page(
    row: Reservation,
    *,
    note_typed: str = "",
    note_wrong: str = "",
    reason_typed: str = "",
    reason_wrong: str = "",
    offer_conflict: Conflict | None = None,
) -> str:
    """Its page, with what was typed and could not be taken: a note, or the reason why an offer is declined."""
    session = visit.reading()
    return render_template(
        "reservation/detail.html",
        view=_view(row),
        row=row,
        hosts={host.id: host.name for host in site.hosts(session)},
        now=visit.now(),
        notes=event.notes(session, row.id),
        note_typed=note_typed,
        note_wrong=note_wrong,
        reason_typed=reason_typed,
        reason_wrong=reason_wrong,
        offer_conflict=offer_conflict,
    )


def live(reservation_id: int) -> ResponseReturnValue:
    """The part of the page that changes by itself; `was` is the state the asking page shows."""
    view = _view(find(reservation_id))
    has_moved = request.args.get("was") != view.row.state
    return render_template(
        "reservation/live.html", view=view, row=view.row, now=visit.now(), has_moved=has_moved
    )


def history(reservation_id: int) -> ResponseReturnValue:
    """Who or what changed the reservation, when, and why."""
    row = find(reservation_id)
    events = event.of_reservation(visit.reading(), row.id, MOST_EVENTS)
    return render_template("reservation/history.html", row=row, events=events, most=MOST_EVENTS)


def steps_csv(reservation_id: int) -> ResponseReturnValue:
    """The steps with their durations, for a table like the one the durations are compared with."""
    row = find(reservation_id)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for step in _view(row).steps:
        writer.writerow(
            [
                step.label,
                step.op,
                step.host,
                step.standing.word,
                step.failures,
                _iso(step.started_at),
                _iso(step.done_at),
                _seconds(step.seconds if step.done_at else None),
                _iso(step.removal_at),
                _iso(step.removed_at),
                _seconds(step.removal_seconds if step.removed_at else None),
            ]
        )
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{row.name}-{row.id}-steps.csv"',
    }
    return out.getvalue(), 200, headers


def cancel(reservation_id: int) -> ResponseReturnValue:
    """What would go, and the name to be typed; then the end of it."""
    row = find(reservation_id)
    wrong = None
    if request.method == "POST":
        if request.form.get("name", "").strip() == row.name:
            decide.cancel(visit.site().database, visit.me(), row.id, now=visit.now())
            return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
        wrong = f"Type the name exactly: {row.name}"
    asked = render_template(
        "reservation/cancel.html", row=row, disks=disks(row), wrong=wrong, is_over=row.state in FINAL
    )
    return asked, 422 if wrong else 200


def disks(row: Reservation) -> str:
    """Its volumes in words."""
    count, gib = len(row.nodes) + (2 if row.shared_disk_gib else 1), sum(room.of_disks(row).values()) // 1024
    return f"{count} volumes with {gib} GiB, /home among them"


def find(reservation_id: int) -> Reservation:
    """The reservation, if it is the visitor's to see."""
    row = reservations.get(visit.reading(), visit.me(), reservation_id)
    if row is None:
        raise NotFound("There is no such reservation, or it is not yours to see.")
    return row


def _offers(row: Reservation) -> list[Shown]:
    """What was offered in its place, the newest first."""
    now = visit.now()
    return [
        Shown(
            one,
            Terms.of_data(one.asked),
            Terms.of_data(one.offered),
            held_for(one),
            words.OFFERS[one.answer or ("open" if one.is_open(now) else "expired")],
            one.is_open(now),
        )
        for one in offers.of_reservation(visit.reading(), row.id)
    ]


def _view(row: Reservation) -> View:
    session, now = visit.reading(), visit.now()
    rows = resource.steps_of(session, row.id)
    steps = make_steps(row, rows, resource.needs_of(session, row.id), now)
    summed = progress(steps)
    decider = accounts.name_of(session, row.decided_by_id) if row.decided_by_id else None
    shown = _offers(row)
    offer = next((one.offer for one in shown if one.is_open), None)
    return View(
        row=row,
        sentence=words.sentence(row, summed, now, visit.zone(), decider, offer),
        steps=steps,
        progress=summed,
        open=sum(one.want != one.have for one, _ in rows if one.reservation_id is not None),
        checks=checks_of(rows),
        access=access(row) if words.standing(row) == words.STATES["ready"] else None,
        next_event=words.next_event(row, now),
        warning=words.warning(row, now),
        degraded=trouble.degraded(session, [row.id]).get(row.id),
        poll_s=POLL_ON_THE_WAY_S if words.standing(row) in words.ON_THE_WAY else POLL_S.get(row.state),
        offers=shown,
    )


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and len(text) < 10 else 1


def _iso(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" if moment else ""


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f}"
