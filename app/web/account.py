# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The visitor's own account: API tokens, each shown once, when it is made."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import token as booking
from app.db import token as tokens
from app.domain.errors import InvalidRequest
from app.web import visit
from app.web.forms import whole_number

USUAL_DAYS = "90"


def show() -> ResponseReturnValue:
    """The account's tokens and the form for one more."""
    return _page()


def make_token() -> ResponseReturnValue:
    """Make a token and show it; the page of this answer is the only place where it ever stands."""
    name, days, wrong = request.form.get("name", ""), request.form.get("days", ""), {}
    try:
        number = whole_number(days)
    except ValueError as why:
        wrong["days"], number = str(why), 1
    try:
        if wrong:
            raise InvalidRequest(wrong)
        secret = booking.make(visit.site().database, visit.me(), name, number, now=visit.now())
    except InvalidRequest as why:
        return _page(wrong=why.fields, name=name, days=days), 422
    return _page(secret=secret)


def revoke_token(token_id: int) -> ResponseReturnValue:
    """End a token."""
    booking.revoke(visit.site().database, visit.me(), token_id, now=visit.now())
    flash("Revoked. Whatever used that token is no longer let in.")
    return redirect(url_for("account.show"), 303)


def _page(
    *, wrong: dict[str, str] | None = None, secret: str = "", name: str = "", days: str = USUAL_DAYS
) -> str:
    return render_template(
        "account.html",
        rows=tokens.of_account(visit.reading(), visit.me().id),
        now=visit.now(),
        zone=visit.zone().key,
        wrong=wrong or {},
        secret=secret,
        typed={"name": name, "days": days},
        base=request.host_url.rstrip("/"),
    )
