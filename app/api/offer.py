# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers: other terms in answer to a request, and its owner's yes or no."""

from __future__ import annotations

from dataclasses import asdict, replace

from flask.typing import ResponseReturnValue

from app.api import body, show
from app.api.change import seen
from app.api.fields import MOMENT_SCHEMA, TEXT, Field, Fields, take, text
from app.api.problem import problem
from app.api.reservation import NEW, as_it_stands
from app.booking import offer
from app.db import reservation as reservations
from app.domain.errors import InvalidRequest, NoRoom, NotFound
from app.domain.offer import Terms
from app.web import visit

REASON = Field(text, TEXT | {"maxLength": 2000, "description": "What the other side reads."})
OFFER: Fields = {
    "start": Field(
        NEW["start"].read, MOMENT_SCHEMA | {"type": ["string", "null"], "description": "null: now."}
    ),
    "end": Field(NEW["end"].read, MOMENT_SCHEMA),
    **{
        name: replace(NEW[name], is_required=False)
        for name in ("groups", "home_gib", "shared_disk_gib", "rolls")
    },
    "message": Field(
        text,
        TEXT | {"minLength": 1, "maxLength": 2000, "description": "The owner reads it."},
        is_required=True,
    ),
}
DECLINE: Fields = {"reason": REASON}


def make(reservation_id: int) -> ResponseReturnValue:
    """Offer something else in place of the request as it was seen. What is not said is as asked for."""
    site, asked = visit.site(), body.json_object()
    given, wrong = take(asked, OFFER)
    if wrong:
        raise InvalidRequest(wrong)
    row = reservations.get(visit.reading(), visit.me(), reservation_id)
    if row is None:
        raise NotFound("There is no such reservation.")
    raw = _as_asked(offer.terms_of(row)) | given
    message = str(raw.pop("message"))
    software = visit.software()
    try:
        offer.make(
            site.database,
            site.settings,
            visit.me(),
            row.id,
            seen(),
            raw,
            message,
            rolls=software.roll_names,
            appliances=software.appliance_names,
            now=visit.now(),
        )
    except NoRoom as why:
        return problem(409, str(why), **show.no_room(why, {"groups": raw["groups"], **asked}))
    return as_it_stands(row.id)


def accept(reservation_id: int) -> ResponseReturnValue:
    """Take what is offered, as it was seen: the reservation is that, and approved."""
    body.fields({})
    site = visit.site()
    offer.accept(site.database, site.settings, visit.me(), reservation_id, seen(), now=visit.now())
    return as_it_stands(reservation_id)


def decline(reservation_id: int) -> ResponseReturnValue:
    """Leave what is offered, or take the offer back; the request is open as it was."""
    reason = str(body.fields(DECLINE).get("reason") or "")
    offer.decline(visit.site().database, visit.me(), reservation_id, seen(), reason, now=visit.now())
    return as_it_stands(reservation_id)


def _as_asked(terms: Terms) -> dict[str, object]:
    """The terms as `offer.make` reads them; a start that has passed means now."""
    groups = [asdict(group) | {"node_count": group.most} for group in terms.shape.groups]
    disks = {"home_gib": terms.shape.home_gib, "shared_disk_gib": terms.shape.shared_disk_gib}
    shape = {"groups": groups, **disks, "rolls": terms.shape.rolls}
    start = terms.slot.start if terms.slot.start > visit.now() else None
    return {"start": start, "end": terms.slot.end, **shape}
