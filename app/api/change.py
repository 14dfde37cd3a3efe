# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Deciding on a reservation and changing it, each as it was seen: If-Match holds the ETag of what was seen."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from app.api import body, show
from app.api.fields import MOMENT_SCHEMA, TEXT, Field, Fields, moment, text
from app.api.problem import Unversioned
from app.api.reservation import as_it_stands
from app.booking import change, decide
from app.web import visit

NOTHING: Fields = {}
REASON: Fields = {"reason": Field(text, TEXT | {"minLength": 1, "maxLength": 2000}, is_required=True)}
END: Fields = {"end": Field(moment, MOMENT_SCHEMA, is_required=True)}
OWNER: Fields = {"owner": Field(text, TEXT | {"maxLength": 64}, is_required=True)}
NOTE: Fields = {"note": Field(text, TEXT | {"minLength": 1, "maxLength": 2000}, is_required=True)}


def approve(reservation_id: int) -> ResponseReturnValue:
    """Accept the request as it was seen."""
    body.fields(NOTHING)
    site = visit.site()
    decide.approve(site.database, site.settings, visit.me(), reservation_id, seen(), now=visit.now())
    return as_it_stands(reservation_id)


def reject(reservation_id: int) -> ResponseReturnValue:
    """Refuse the request as it was seen, with a reason for its owner."""
    reason = body.fields(REASON)["reason"]
    decide.reject(visit.site().database, visit.me(), reservation_id, seen(), reason, now=visit.now())
    return as_it_stands(reservation_id)


def cancel(reservation_id: int) -> ResponseReturnValue:
    """Call it off, whatever its state; the passes take down what stands. Twice is the same as once."""
    body.fields(NOTHING)
    decide.cancel(visit.site().database, visit.me(), reservation_id, now=visit.now())
    return as_it_stands(reservation_id)


def latest_end(reservation_id: int) -> ResponseReturnValue:
    """The latest end that could be set, and who has its hosts after that."""
    site = visit.site()
    latest = change.latest_end(site.database, site.settings, visit.me(), reservation_id, now=visit.now())
    return jsonify(latest_end=show.time(latest.end), in_the_way=show.in_the_way(latest.in_the_way))


def set_end(reservation_id: int) -> ResponseReturnValue:
    """Let it end earlier, or later as far as its hosts are free for it."""
    site, end = visit.site(), body.fields(END)["end"]
    change.set_end(site.database, site.settings, visit.me(), reservation_id, seen(), end, now=visit.now())
    return as_it_stands(reservation_id)


def give(reservation_id: int) -> ResponseReturnValue:
    """Give it to another provider. Who gave it away may not see it any more, so nothing is answered."""
    site, owner = visit.site(), body.fields(OWNER)["owner"]
    change.give(site.database, site.settings, visit.me(), reservation_id, seen(), owner, now=visit.now())
    return "", 204


def note(reservation_id: int) -> ResponseReturnValue:
    """Leave a note in its history, which its owner and the cluster providers read."""
    left = body.fields(NOTE)["note"]
    change.note(visit.site().database, visit.me(), reservation_id, left, now=visit.now())
    return "", 204


def seen() -> int:
    """The version the caller has seen; Unversioned where none is said."""
    version = body.version()
    if version is None:
        raise Unversioned
    return version
