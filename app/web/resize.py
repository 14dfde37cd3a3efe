# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The page that gives a cluster more nodes or fewer: a number for each group, then what exactly comes and goes."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import resize
from app.db import site
from app.db.reservation import Reservation
from app.domain.errors import InvalidRequest
from app.web import reservation, visit
from app.web.forms import seen_version, whole_number
from app.web.refused import Refused


def ask(reservation_id: int) -> ResponseReturnValue:
    """Ask for the numbers; show what they come to; do it when that was confirmed."""
    row, here = reservation.find(reservation_id), visit.site()
    refused, found = Refused(), None
    if request.method == "POST":
        leave = request.form.get("leave", "").split()
        with refused:
            counts = _counts(row)
            found = resize.review(here.settings, row, counts, leave)
            if "confirmed" in request.form:
                seen, now = seen_version(request.form), visit.now()
                resize.resize(
                    here.database, here.settings, visit.me(), row.id, seen, counts, leave=leave, now=now
                )
                flash("The nodes come and go as asked for; the steps below show how far that is.")
                return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
    page = render_template(
        "reservation/resize.html",
        row=row,
        groups=_groups(row),
        leave=request.form.get("leave", ""),
        found=None if refused else found,
        hosts={host.id: host.name for host in site.hosts(visit.reading())},
        **vars(refused),
    )
    return page, refused.status


def _counts(row: Reservation) -> dict[str, int]:
    """The numbers typed, by group; InvalidRequest where one is none."""
    counts, wrong = {}, {}
    for group in row.groups:
        name = resize.field(group.name)
        try:
            counts[group.name] = whole_number(request.form.get(name, ""))
        except ValueError as why:
            wrong[name] = str(why)
    if wrong:
        raise InvalidRequest(wrong)
    return counts


def _groups(row: Reservation) -> list[tuple[str, str, int, str]]:
    """(group, field, nodes it has, what is typed for it) for each group."""
    there = [(group.name, _there(row, group.id)) for group in row.groups]
    return [
        (name, resize.field(name), number, request.form.get(resize.field(name), str(number)))
        for name, number in there
    ]


def _there(row: Reservation, group_id: int) -> int:
    return sum(node.group_id == group_id and node.leaving_at is None for node in row.nodes)
