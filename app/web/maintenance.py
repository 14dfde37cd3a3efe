# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the site's staff says of hosts: when they are under maintenance, their tags, their bandwidth."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import host as booking
from app.db import site as sites
from app.db.site import Host
from app.domain.errors import Conflict, InvalidRequest, NotFound
from app.domain.slot import Slot
from app.web import visit
from app.web.forms import moment, names, whole_number

FIELDS = ("host", "start", "end", "why")


def listing() -> ResponseReturnValue:
    """What maintenance is not over, and the form for more."""
    return _page({name: request.args.get(name, "") for name in FIELDS})


def enter() -> ResponseReturnValue:
    """Keep a host free for a time; what was typed comes back where that cannot be."""
    typed = {name: request.form.get(name, "") for name in FIELDS}
    wrong, times = dict[str, str](), {}
    for name in ("start", "end"):
        try:
            times[name] = moment(typed[name], visit.zone())
        except ValueError as why:
            wrong[name] = str(why)
    if not wrong and times["end"] <= times["start"]:
        wrong["end"] = "The end must be after the start."
    if wrong:
        return _page(typed, wrong, 422)
    slot = Slot(times["start"], times["end"])
    try:
        booking.maintain(
            visit.site().database,
            typed["host"],
            slot,
            typed["why"].strip(),
            by=visit.me().name,
            now=visit.now(),
        )
    except InvalidRequest as why:
        return _page(typed, why.fields, 422)
    except NotFound:
        return _page(typed, {"host": "Choose one of the site's hosts."}, 422)
    except Conflict as why:
        return _page(typed, {"start": str(why)}, 409)
    flash(f"{typed['host']} is kept free in that time.")
    return redirect(url_for("maintenance.listing"), 303)


def cancel(maintenance_id: int) -> ResponseReturnValue:
    """Call a maintenance off, or end it now where it has begun."""
    booking.end_maintenance(visit.site().database, maintenance_id, by=visit.me().name, now=visit.now())
    flash("Called off: the host may be booked from now on.")
    return redirect(url_for("maintenance.listing"), 303)


def describe(host_id: int) -> ResponseReturnValue:
    """The tags and the bandwidth of a host, to be changed."""
    row = visit.reading().get(Host, host_id)
    if row is None or not row.roles:
        raise NotFound("There is no such host.")
    if request.method == "GET":
        speed = "" if row.bandwidth_mbit is None else str(row.bandwidth_mbit)
        return _host_page(row, {"tags": " ".join(row.tags), "bandwidth_mbit": speed})
    typed = {name: request.form.get(name, "") for name in ("tags", "bandwidth_mbit")}
    try:
        speed = typed["bandwidth_mbit"].strip()
        bandwidth = whole_number(speed) if speed else None
    except ValueError as why:
        return _host_page(row, typed, {"bandwidth_mbit": str(why)})
    try:
        booking.describe(
            visit.site().database,
            row.name,
            tags=names(typed["tags"]),
            bandwidth_mbit=bandwidth,
            by=visit.me().name,
            now=visit.now(),
        )
    except InvalidRequest as why:
        return _host_page(row, typed, why.fields)
    flash(f"{row.name} is described anew.")
    return redirect(url_for("hosts.listing"), 303)


def _page(
    typed: dict[str, str], wrong: dict[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    session, now = visit.reading(), visit.now()
    return render_template(
        "admin/maintenance.html",
        ahead=sites.maintenance_ahead(session, now),
        hosts=[row.name for row in sites.hosts(session) if row.roles],
        typed=typed,
        wrong=wrong or {},
        zone=visit.zone().key,
        now=now,
    ), status


def _host_page(row: Host, typed: dict[str, str], wrong: dict[str, str] | None = None) -> ResponseReturnValue:
    page = render_template("admin/host.html", host=row, typed=typed, wrong=wrong or {})
    return page, 422 if wrong else 200
