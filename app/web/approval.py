# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The cluster provider's queue: what is asked for, where it would stand, and the decision."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import decide
from app.db import offer, reservation, site, trouble
from app.db.reservation import Reservation
from app.domain.errors import Conflict, InvalidRequest
from app.web import visit
from app.web.forms import seen_version


def queue() -> ResponseReturnValue:
    """All requests that wait for a decision."""
    return _page()


def _page(
    wrong: dict[int, str] | None = None, status: int = 200, conflict: Conflict | None = None
) -> ResponseReturnValue:
    session, now = visit.reading(), visit.now()
    names = {host.id: host.name for host in site.hosts(session)}
    asked = [(row, _placement(row, names)) for row in reservation.open_requests(session, now)]
    degraded = trouble.degraded(session, [row.id for row, _ in asked])
    last = reservation.last_decision(session) if not asked else None
    typed = request.form.get("reason", "")
    return render_template(
        "admin/approvals.html",
        asked=asked,
        degraded=degraded,
        offered=offer.open_among(session, now),
        last=last,
        wrong=wrong or {},
        typed=typed,
        conflict=conflict,
        decided=(request.view_args or {}).get("reservation_id"),
    ), status


def _placement(row: Reservation, names: dict[int, str]) -> dict[str, Any]:
    computes = [node for node in row.nodes if node.kind == "compute"]
    return {
        "frontend": names[row.nodes[0].host_id],
        "storage": names[row.nodes[0].storage_id],
        "computes": sorted(Counter(names[node.host_id] for node in computes).items()),
    }


def approve(reservation_id: int) -> ResponseReturnValue:
    """Accept the request as it was shown."""
    version = seen_version(request.form)
    site = visit.site()
    try:
        decide.approve(site.database, site.settings, visit.me(), reservation_id, version, now=visit.now())
    except Conflict as why:
        return _page(status=409, conflict=why)
    flash("Approved. Building begins in time for the slot.")
    return redirect(url_for("approval.queue"), 303)


def reject(reservation_id: int) -> ResponseReturnValue:
    """Refuse the request with a reason."""
    version, reason = seen_version(request.form), request.form.get("reason", "")
    if not all(letter.isprintable() or letter in "\r\n\t" for letter in reason):
        return _page({reservation_id: "The reason holds characters that cannot be shown."}, 422)
    try:
        decide.reject(visit.site().database, visit.me(), reservation_id, version, reason, now=visit.now())
    except InvalidRequest as why:
        return _page({reservation_id: why.fields["reason"]}, 422)
    except Conflict as why:
        return _page(status=409, conflict=why)
    flash("Rejected. The reason is on the reservation's page.")
    return redirect(url_for("approval.queue"), 303)
