# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The form for a new virtual cluster, and what to book instead where it does not fit."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.booking import availability, series
from app.booking import request as booking
from app.booking.outlook import Outlook, outlook
from app.domain.errors import Conflict, InvalidRequest, NoRoom
from app.domain.refusal import Alternative
from app.domain.request import validate, validate_size
from app.domain.roll import Software
from app.web import visit, words
from app.web.forms import typed
from app.web.group_form import chosen, groups_in, place, regrouped, suggested, typed_for
from app.web.new_form import NewReservation

# Long enough to try things out; people change it anyway.
FIRST_LENGTH = timedelta(hours=4)
# What a link to the form may fill in, besides the groups.
PREFILLED = ("name", "start", "end", "home_gib", "shared_disk_gib")
SENT_BEFORE = (
    "This form was sent before, and something else was booked by it: look into the list of your reservations."
    " Send it again to book this as well."
)


def ask() -> ResponseReturnValue:
    """Show the form, filled in from the address; add or remove a group in it; say whether it fits; take it in.

    What was typed comes back with what is wrong, or with why there is no room and what could be booked instead.
    """
    software = visit.software()
    if request.method == "GET":
        return _page(_first(software), software)
    form, do = NewReservation(groups_in(request.form)), request.form.get("do", "")
    groups = regrouped(form.groups, do)
    if groups is not None:
        form.groups = groups
        return _page(form, software)
    try:
        if do == "check":
            found = _outlook(form, software)
            return _page(form, software, wrong=found.over, outlook=found), 422 if found.over else 200
        made = _book(form, software)
    except InvalidRequest as why:
        return _page(form, software, wrong=why.fields), 422
    except NoRoom as why:
        return _page(form, software, no_room=why), 409
    except Conflict:
        # Sent once more, the page that is shown now is a request of its own.
        form.token.data = secrets.token_urlsafe(16)
        return _page(form, software, wrong={"name": SENT_BEFORE}), 409
    return redirect(made, 303)


def _book(form: NewReservation, software: Software) -> str:
    """Book the cluster, or the series of them, and return the address of its page."""
    site, now, me = visit.site(), visit.now(), visit.me()
    rolls, appliances = software.roll_names, software.appliance_names
    raw, wrong = form.read(visit.zone())
    again, wrong_again = form.again(visit.zone())
    if wrong | wrong_again:
        limits = availability.limits(site.settings)
        raise _together(
            wrong | wrong_again,
            lambda: validate(raw, now=now, limits=limits, rolls=rolls, appliances=appliances),
        )
    key = form.key()
    if again is not None:
        made = series.book(
            site.database, site.settings, me, raw, again, rolls=rolls, appliances=appliances, now=now, key=key
        )
        return url_for("series.show", series_id=made)
    made = booking.request(
        site.database, site.settings, me, raw, rolls=rolls, appliances=appliances, now=now, key=key
    )
    return url_for("reservation.detail", reservation_id=made)


def _outlook(form: NewReservation, software: Software) -> Outlook:
    """What would come of it. Who is to use the cluster, and its name, may still be missing."""
    site, now = visit.site(), visit.now()
    rolls, appliances = software.roll_names, software.appliance_names
    raw, wrong = form.read(visit.zone())
    again, wrong_again = form.again(visit.zone())
    wrong = {field: message for field, message in (wrong | wrong_again).items() if field != "users"}
    if wrong:
        limits = availability.limits(site.settings)
        raise _together(
            wrong, lambda: validate_size(raw, now=now, limits=limits, rolls=rolls, appliances=appliances)
        )
    return outlook(
        site.database, site.settings, visit.me(), raw, again, rolls=rolls, appliances=appliances, now=now
    )


def _together(unread: dict[str, str], check: Callable[[], object]) -> InvalidRequest:
    """All at once: what could not be read, and what `check` does not allow."""
    try:
        check()
    except InvalidRequest as why:
        return InvalidRequest(why.fields | unread)
    return InvalidRequest(unread)


def _first(software: Software) -> NewReservation:
    """The form as one first sees it: our suggestions, and over them what the address says."""
    end = (visit.now() + FIRST_LENGTH + timedelta(minutes=59)).replace(minute=0, second=0)
    fields = {"home_gib": "2", "end": typed(end, visit.zone())}
    fields |= {name: request.args[name] for name in PREFILLED if name in request.args}
    groups = suggested(request.args)
    return NewReservation(
        groups,
        formdata=None,
        token=secrets.token_urlsafe(16),
        rolls=chosen(request.args, software),
        **fields,
    )


def _instead(form: NewReservation, offer: Alternative) -> tuple[Alternative, list[tuple[str, str]]]:
    """One thing to book instead, with the whole form as (name, value) pairs."""
    changed = {"end": typed(offer.slot.end, visit.zone())}
    if offer.kind == "later":
        changed["start"] = typed(offer.slot.start, visit.zone())
    if offer.kind == "smaller":
        changed |= typed_for(form.groups, offer.shape)
    if offer.kind == "fewer":
        changed["conflicts"] = "skip"
    return offer, [(name, changed.get(name, value)) for name, value in form.typed()]


def _page(
    form: NewReservation,
    software: Software,
    wrong: Mapping[str, str] | None = None,
    no_room: NoRoom | None = None,
    outlook: Outlook | None = None,
) -> str:
    if outlook is not None and outlook.is_one:
        no_room = next((why for _, why in outlook.refused), None)
    zone, settings = visit.zone(), visit.site().settings
    return render_template(
        "reservation/new.html",
        form=form,
        place=partial(place, form.groups),
        rolls=software.rolls,
        appliances=words.appliances(software),
        wrong=wrong or {},
        no_room=no_room,
        outlook=outlook,
        instead=[_instead(form, offer) for offer in no_room.alternatives] if no_room else [],
        zone=zone.key,
        now=visit.now(),
        booking=settings.booking,
    )
