# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages that keep a cluster's disks after its slot, and that ask for the saved cluster again."""

from __future__ import annotations

from datetime import timedelta

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import save
from app.domain.errors import InvalidRequest
from app.web import reservation, visit, words
from app.web.forms import moment, moment_in, seen_version, typed
from app.web.refused import Refused

# What the form for keeping disks begins with.
USUAL = timedelta(days=7)


def keep(reservation_id: int) -> ResponseReturnValue:
    """Say what keeping the disks means; take in until when, or that they are kept no longer."""
    row, site, zone = reservation.find(reservation_id), visit.site(), visit.zone()
    text = {"until": request.form.get("until", typed(row.keep_until or row.end_at + USUAL, zone))}
    refused = Refused()
    if request.method == "POST":
        with refused:
            until = None if request.form.get("no_longer") else moment_in("until", text["until"], zone)
            seen = seen_version(request.form)
            save.keep(site.database, site.settings, visit.me(), row.id, seen, until, now=visit.now())
            kept = "no longer kept" if until is None else f"kept until {words.clock(until, zone)}"
            flash(f"Its disks are {kept}.")
            return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
    page = render_template(
        "reservation/keep.html",
        row=row,
        disks=reservation.disks(row),
        typed=text,
        zone=zone.key,
        **vars(refused),
    )
    return page, refused.status


def restore(reservation_id: int) -> ResponseReturnValue:
    """The form for another slot of a saved cluster; the request for it is taken in."""
    row, site, zone = reservation.find(reservation_id), visit.site(), visit.zone()
    text = {field: request.form.get(field, "").strip() for field in ("name", "start", "end")}
    refused = Refused()
    if request.method == "POST":
        raw: dict[str, object] = {"name": text["name"], "start": None}
        wrong = {}
        for field in ("start", "end"):
            try:
                if text[field] or field == "end":
                    raw[field] = moment(text[field], zone)
            except ValueError as why:
                wrong[field] = str(why)
        with refused:
            if wrong:
                raise InvalidRequest(wrong)
            seen = seen_version(request.form)
            made = save.restore(site.database, site.settings, visit.me(), row.id, seen, raw, now=visit.now())
            return redirect(url_for("reservation.detail", reservation_id=made), 303)
    page = render_template(
        "reservation/restore.html",
        row=row,
        typed=text,
        zone=zone.key,
        **vars(refused),
    )
    return page, refused.status
