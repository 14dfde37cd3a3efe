# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of a recurring booking: what was booked, what was left out and why, and calling off what is ahead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from app.booking import series
from app.db import series as db
from app.domain.errors import NotFound
from app.web import visit


def show(series_id: int) -> ResponseReturnValue:
    """The series, as far as the visitor may see it."""
    found = db.get(visit.reading(), visit.me(), series_id)
    if found is None:
        raise NotFound("There is no such series, or it is not yours to see.")
    row, booked = found
    ahead = [one.id for one in db.ahead(visit.reading(), visit.me(), row.id, visit.now())]
    skipped = [_with_times(one) for one in row.skipped]
    return render_template("reservation/series.html", row=row, booked=booked, ahead=ahead, skipped=skipped)


def cancel(series_id: int) -> ResponseReturnValue:
    """Call off all of it that has not begun."""
    count = series.cancel_ahead(visit.site().database, visit.me(), series_id, now=visit.now())
    flash(f"{count} reservation{'s' if count != 1 else ''} cancelled.")
    return redirect(url_for("series.show", series_id=series_id), 303)


def _with_times(skipped: dict[str, Any]) -> dict[str, Any]:
    nearest = skipped["nearest"]
    return _slot_read(skipped) | {"nearest": nearest and _slot_read(nearest)}


def _slot_read(told: dict[str, Any]) -> dict[str, Any]:
    return told | {name: datetime.fromisoformat(told[name]) for name in ("start", "end")}
