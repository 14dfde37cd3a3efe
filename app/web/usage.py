# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What was used in a time, as a page and to download; a service provider sees their own."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from flask import render_template, request
from flask.typing import ResponseReturnValue

from app.booking import accounting
from app.booking.accounting import Report
from app.domain.errors import InvalidRequest
from app.web import visit

MOST_LINES = 200
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def show() -> ResponseReturnValue:
    """The accounts of a time: this month's where the address says no other."""
    asked = _asked()
    made, wrong = None, dict[str, str]()
    try:
        made = _report(asked, MOST_LINES + 1)
    except InvalidRequest as why:
        wrong = dict(why.fields)
    page = render_template(
        "usage.html",
        asked=asked,
        made=made,
        lines=made.uses[:MOST_LINES] if made else (),
        is_cut=made is not None and len(made.uses) > MOST_LINES,
        choices=accounting.BY,
        wrong=wrong,
        zone=visit.zone().key,
    )
    return page, 422 if wrong else 200


def as_csv() -> ResponseReturnValue:
    """All lines as CSV."""
    return _download("csv")


def as_json() -> ResponseReturnValue:
    """All lines as JSON."""
    return _download("json")


def _download(form: str) -> ResponseReturnValue:
    asked = _asked()
    name = f"usage-by-{asked['by']}.{form}"
    made = _report(asked, None)
    headers = {"Content-Type": TYPES[form], "Content-Disposition": f'attachment; filename="{name}"'}
    return accounting.FORMATS[form](made), 200, headers


def _asked() -> dict[str, str]:
    first = visit.now().astimezone(visit.zone()).date().replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    suggested = {"from": first.isoformat(), "to": following.isoformat(), "by": accounting.BY[0]}
    return {name: request.args.get(name, value) for name, value in suggested.items()}


def _report(asked: dict[str, str], limit: int | None) -> Report:
    wrong = {}
    days: dict[str, datetime] = {}
    for name in ("from", "to"):
        try:
            days[name] = datetime.combine(date.fromisoformat(asked[name]), datetime.min.time(), visit.zone())
            # A day at the end of all time has no place in UTC.
            days[name].timestamp()
        except (ValueError, OverflowError):
            wrong[name] = "Give a day, like 2026-12-01."
    if wrong:
        raise InvalidRequest(wrong)
    site = visit.site()
    since, until = days["from"], days["to"]
    return accounting.report(site.database, site.settings, visit.me(), since, until, asked["by"], limit=limit)
