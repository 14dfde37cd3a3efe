# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Recurring bookings: whether one would fit, asking for one, what each of its slots got, calling off what is ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from flask import Response, jsonify, url_for
from flask.typing import ResponseReturnValue

from app.api import body, reservation, show
from app.api.fields import TEXT, Field, Fields, day, duration, text, whole
from app.api.problem import problem
from app.booking import series
from app.booking.outlook import outlook
from app.db import reservation as reservations
from app.db.series import Series
from app.domain.errors import NoRoom, NotFound
from app.domain.field import NAME_LENGTH
from app.domain.recurrence import MOST_DAYS, MOST_TIMES
from app.web import visit


def _days(value: object) -> int:
    """Whole days, written as a duration."""
    length = duration(value)
    if length % timedelta(days=1):
        raise ValueError("Give whole days or weeks, like P7D or P1W.")
    return length.days


AGAIN: Fields = {
    "every": Field(
        _days,
        TEXT
        | {
            "description": f"ISO 8601, 1 to {MOST_DAYS} days: from the start of one slot to that of the next.",
            "examples": ["P1W"],
        },
        is_required=True,
    ),
    "times": Field(
        whole,
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_TIMES,
            "description": "How many slots, the first among them; or say until.",
        },
    ),
    "until": Field(
        day,
        TEXT | {"format": "date", "description": "The last date on which a slot may begin; or say times."},
    ),
    "conflicts": Field(
        text,
        TEXT
        | {
            "enum": ["all", "skip"],
            "default": "all",
            "description": "Where a slot has no room: book nothing at all, or leave that slot out.",
        },
    ),
    "zone": Field(
        text,
        TEXT
        | {
            "description": "All slots begin at the same time by the clocks of this time zone; none: your account's.",
            "examples": ["Europe/Berlin"],
        },
    ),
}
NAME = {
    "maxLength": NAME_LENGTH - len(series.SUFFIX),
    "description": "The clusters are called that, with -01, -02, ... after it.",
}
NEW: Fields = {
    **reservation.NEW,
    "name": replace(reservation.NEW["name"], schema=TEXT | NAME),
    **AGAIN,
}
# Neither is needed to see whether it fits.
LATER = ("name", "users")
CHECK: Fields = {**NEW, **{name: replace(NEW[name], is_required=False) for name in LATER}}


def check() -> ResponseReturnValue:
    """Whether it would fit, slot by slot, with nothing booked and nothing held. Name and users may be missing.

    Where a slot would pass a ceiling of the project, `over` says which, by field, and no slot after it was looked at.
    """
    site, software, given = visit.site(), visit.software(), body.fields(CHECK)
    found = outlook(
        site.database,
        site.settings,
        visit.me(),
        given,
        _again(given),
        rolls=software.roll_names,
        appliances=software.appliance_names,
        now=visit.now(),
    )
    return jsonify(show.outlook(found))


def create() -> ResponseReturnValue:
    """Ask for a cluster in each of many slots. All of them are booked or none, or those that have room, as asked. They
    are called NAME-01, NAME-02, ..., and each is a reservation like any other.

    With an Idempotency-Key the same request may be sent again: it is made once.
    """
    site, software, asked = visit.site(), visit.software(), body.json_object()
    key = body.request_key(asked)
    raw = reservation.read(asked, NEW)
    try:
        made = series.book(
            site.database,
            site.settings,
            visit.me(),
            raw,
            _again(raw),
            rolls=software.roll_names,
            appliances=software.appliance_names,
            now=visit.now(),
            key=key,
        )
    except NoRoom as why:
        return problem(409, str(why), **show.no_room(why, asked))
    answer = _as_it_stands(made, 201)
    answer.headers["Location"] = url_for("series.detail", series_id=made)
    return answer


def detail(series_id: int) -> ResponseReturnValue:
    """One with its slots: the reservation that each got, or why it was left out and what fitted then."""
    return _as_it_stands(series_id)


def cancel(series_id: int) -> ResponseReturnValue:
    """Call off all of it that has not begun. Twice is the same as once."""
    body.fields({})
    series.cancel_ahead(visit.site().database, visit.me(), series_id, now=visit.now())
    return _as_it_stands(series_id)


def _again(raw: Mapping[str, object]) -> dict[str, object]:
    """What `domain.recurrence` reads of it."""
    usual: dict[str, object] = {"conflicts": "all", "zone": visit.zone().key}
    return usual | {name: raw[name] for name in AGAIN if name in raw}


def _as_it_stands(series_id: int, status: int = 200) -> Response:
    """The series, read anew, as far as one may see it."""
    with visit.site().database.reading() as session:
        booked = reservations.page(session, visit.me(), series_id=series_id, limit=MOST_TIMES)
        if not booked:
            raise NotFound("There is no such series, or it is not yours to see.")
        answer = jsonify(show.series(session.get_one(Series, series_id), booked))
    answer.status_code = status
    return answer
