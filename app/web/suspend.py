# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages that suspend a cluster and resume it: what that means, and why it cannot be where it cannot."""

from __future__ import annotations

from collections.abc import Callable

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import suspend as booking
from app.web import reservation, visit
from app.web.forms import seen_version
from app.web.refused import Refused


def suspend(reservation_id: int) -> ResponseReturnValue:
    """Say what suspending means; ask for it when that was confirmed."""
    done = "The machines are being saved to disk; the steps below show how far that is."
    return _page(reservation_id, "suspend", booking.suspend, done)


def resume(reservation_id: int) -> ResponseReturnValue:
    """Say what resuming means; ask for it when that was confirmed, and say who is in the way where there is no room."""
    done = "The machines are read back from disk; the steps below show how far that is."
    return _page(reservation_id, "resume", booking.resume, done)


def _page(reservation_id: int, deed: str, do: Callable[..., None], done: str) -> ResponseReturnValue:
    row, site = reservation.find(reservation_id), visit.site()
    refused = Refused()
    if request.method == "POST":
        with refused:
            seen = seen_version(request.form)
            do(site.database, site.settings, visit.me(), row.id, seen, now=visit.now())
            flash(done)
            return redirect(url_for("reservation.detail", reservation_id=row.id), 303)
    memory_mib = sum(node.memory_mib for node in row.nodes)
    vcpus = sum(node.vcpus for node in row.nodes)
    page = render_template(
        f"reservation/{deed}.html",
        row=row,
        memory_mib=memory_mib,
        vcpus=vcpus,
        **vars(refused),
    )
    return page, refused.status
