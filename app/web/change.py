# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Pages that change a reservation: another end, another owner, a note."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import change
from app.domain.errors import InvalidRequest
from app.web import reservation, visit, words
from app.web.forms import moment_in, seen_version, typed
from app.web.refused import Refused


def end(reservation_id: int) -> ResponseReturnValue:
    """Until when it may last, and who has its hosts then; a new end is taken in."""
    row, site, zone = reservation.find(reservation_id), visit.site(), visit.zone()
    text = request.form.get("end", typed(row.end_at, zone))
    refused = Refused()
    if request.method == "POST":
        with refused:
            wanted = moment_in("end", text, zone)
            change.set_end(
                site.database,
                site.settings,
                visit.me(),
                row.id,
                seen_version(request.form),
                wanted,
                now=visit.now(),
            )
            flash(f"It ends {words.clock(wanted, zone)}.")
            return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
    latest = change.latest_end(site.database, site.settings, visit.me(), row.id, now=visit.now())
    page = render_template(
        "reservation/end.html",
        row=row,
        latest=latest,
        latest_typed=typed(latest.end, zone),
        typed=text,
        zone=zone.key,
        **vars(refused),
    )
    return page, refused.status


def owner(reservation_id: int) -> ResponseReturnValue:
    """What it means to give the reservation away; the name of who shall have it is taken in."""
    row, site, account = reservation.find(reservation_id), visit.site(), visit.me()
    text = request.form.get("owner", "")
    refused = Refused()
    if request.method == "POST":
        with refused:
            seen = seen_version(request.form)
            change.give(site.database, site.settings, account, row.id, seen, text.strip(), now=visit.now())
            flash(f"{row.name} belongs to {text.strip()} now.")
            if account.role == "cluster_provider":
                return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
            return redirect(url_for("reservation.listing"), 303)
    page = render_template("reservation/owner.html", row=row, typed=text, me=account.name, **vars(refused))
    return page, refused.status


def note(reservation_id: int) -> ResponseReturnValue:
    """Leave a note that the owner and the cluster providers read."""
    row, text = reservation.find(reservation_id), request.form.get("note", "").replace("\r\n", "\n")
    try:
        change.note(visit.site().database, visit.me(), row.id, text, now=visit.now())
    except InvalidRequest as why:
        return reservation.page(row, note_typed=text, note_wrong=why.fields["note"]), 422
    return redirect(url_for("reservation.detail", reservation_id=row.id) + "#notes", 303)
