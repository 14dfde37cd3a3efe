# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers: the form that answers a request with one, and the service provider's yes or no to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import availability, offer
from app.db.reservation import Reservation
from app.domain.errors import Conflict, InvalidRequest, NoRoom
from app.domain.offer import Terms
from app.domain.refusal import Alternative
from app.domain.roll import Roll
from app.web import reservation, visit
from app.web.forms import seen_version, typed
from app.web.group_form import groups_in, place, typed_for
from app.web.offer_form import CounterOffer, groups_of


def ask(reservation_id: int) -> ResponseReturnValue:
    """Show the form, filled in with what was asked for; make the offer.

    What was typed comes back with what is wrong, or with why there is no room and what would fit instead.
    """
    row, site = reservation.find(reservation_id), visit.site()
    software, asked = visit.software(), offer.terms_of(row)
    if request.method == "GET":
        return _page(row, software.rolls, _first(row, asked))
    form = CounterOffer(groups_in(request.form, len(asked.shape.groups)))
    raw, wrong = form.read(asked, visit.zone(), availability.limits(site.settings).nodes)
    try:
        offer.make(
            site.database,
            site.settings,
            visit.me(),
            row.id,
            seen_version(request.form),
            raw,
            (form.message.data or "").replace("\r\n", "\n"),
            rolls=software.roll_names,
            appliances=software.appliance_names,
            now=visit.now(),
        )
    except InvalidRequest as why:
        return _page(row, software.rolls, form, wrong=why.fields | wrong), 422
    except NoRoom as why:
        return _page(row, software.rolls, form, no_room=why), 409
    except Conflict as why:
        return _page(row, software.rolls, form, conflict=why), 409
    flash(f"Offered. {row.owner.name} accepts or declines it.")
    return redirect(url_for("approval.queue"), 303)


def accept(reservation_id: int) -> ResponseReturnValue:
    """Take what was offered, as it was shown."""
    row, site = reservation.find(reservation_id), visit.site()
    try:
        offer.accept(
            site.database,
            site.settings,
            visit.me(),
            row.id,
            seen_version(request.form),
            now=visit.now(),
        )
    except Conflict as why:
        return reservation.page(row, offer_conflict=why), 409
    flash("Accepted, and so approved. Building begins in time for the slot.")
    return redirect(url_for("reservation.detail", reservation_id=row.id), 303)


def decline(reservation_id: int) -> ResponseReturnValue:
    """Leave what was offered, or take the offer back; the request is open as it was."""
    row, reason = reservation.find(reservation_id), request.form.get("reason", "").replace("\r\n", "\n")
    seen = seen_version(request.form)
    try:
        offer.decline(visit.site().database, visit.me(), row.id, seen, reason, now=visit.now())
    except InvalidRequest as why:
        return reservation.page(row, reason_typed=reason, reason_wrong=why.fields["reason"]), 422
    except Conflict as why:
        return reservation.page(row, offer_conflict=why, reason_typed=reason), 409
    flash("The offer is off the table. The request is open as it was.")
    return redirect(url_for("reservation.detail", reservation_id=row.id), 303)


def _first(row: Reservation, asked: Terms) -> CounterOffer:
    """The form with what was asked for. A start that has passed is left empty, which means now."""
    start = typed(row.start_at, visit.zone()) if row.start_at > visit.now() else ""
    fields = {"start": start, "end": typed(row.end_at, visit.zone())}
    disks = {"home_gib": str(row.home_gib), "shared_disk_gib": str(row.shared_disk_gib)}
    return CounterOffer(groups_of(asked), formdata=None, rolls=row.rolls, **fields, **disks)


def _instead(form: CounterOffer, one: Alternative) -> tuple[Alternative, list[tuple[str, str]]]:
    """What fits, with the whole form as (name, value) pairs."""
    changed = typed_for(form.groups, one.shape) if one.kind == "smaller" else {}
    changed["end"] = typed(one.slot.end, visit.zone())
    if one.kind == "later":
        changed["start"] = typed(one.slot.start, visit.zone())
    sent = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]
    return one, [(name, changed.get(name, value)) for name, value in sent]


def _page(
    row: Reservation,
    rolls: Sequence[Roll],
    form: CounterOffer,
    *,
    wrong: dict[str, str] | None = None,
    no_room: NoRoom | None = None,
    conflict: Conflict | None = None,
) -> str:
    return render_template(
        "admin/offer.html",
        row=row,
        rolls=rolls,
        form=form,
        groups=zip(row.groups, form.groups, strict=True),
        place=partial(place, form.groups),
        wrong=wrong or {},
        no_room=no_room,
        instead=[_instead(form, one) for one in no_room.alternatives] if no_room else [],
        conflict=conflict,
        zone=visit.zone().key,
        now=visit.now(),
    )
