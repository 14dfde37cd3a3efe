# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reservations: the list, one of them, asking for one, deciding on it, changing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from app.api import body, show
from app.api.fields import (
    MOMENT_SCHEMA,
    TEXT,
    USER,
    Field,
    Fields,
    digits,
    moment,
    moment_or_now,
    schema_of,
    take,
    text,
    texts,
    users,
    whole,
    whole_object,
)
from app.api.problem import problem
from app.booking import availability
from app.booking import request as booking
from app.db import event
from app.db import reservation as reservations
from app.domain.errors import InvalidRequest, NoRoom, NotFound
from app.domain.lifecycle import FINAL, LIVE, STATES
from app.domain.placement import POLICIES
from app.domain.request import validate
from app.web import visit

MOST_AT_ONCE = 1000
USUAL_LIMIT = 100
MOST_EVENTS = 1000


def _state(value: object) -> tuple[str, ...]:
    states = {"live": LIVE, "over": FINAL, "all": ()} | {state: (state,) for state in STATES}
    if value not in states:
        raise ValueError(f"Choose one of: {', '.join(states)}.")
    return states[str(value)]


def _limit(value: object) -> int:
    number = digits(value)
    if not 1 <= number <= MOST_AT_ONCE:
        raise ValueError(f"Ask for 1 to {MOST_AT_ONCE:,} at once, and follow `next`.")
    return number


def _count(about: str, *, is_required: bool = True) -> Field:
    return Field(whole, {"type": "integer", "minimum": 1, "description": about}, is_required)


def _names(about: str) -> Field:
    return Field(texts, {"type": "array", "items": TEXT, "description": about})


GROUP: Fields = {
    "name": Field(text, TEXT | {"maxLength": 20, "description": "None: node."}),
    "appliance": Field(text, TEXT | {"description": "The kind of node; none: compute."}),
    "node_count": _count("Compute nodes; the frontend comes on top."),
    "least": _count("As few as this are enough; none: node_count.", is_required=False),
    "node_names": _names("None: the group's name with 1, 2, ..."),
    "vcpus": _count("Of each node."),
    "memory_mib": _count("Of each node."),
    "disk_gib": _count("Of each node."),
    "policy": Field(text, TEXT | {"enum": list(POLICIES), "description": "How nodes are put on hosts."}),
    "tags": _names("What the hosts must have."),
    "pin": _names("The hosts to choose among; for cluster providers."),
    "avoid": _names("The hosts not to use; for cluster providers."),
}


def groups(value: object) -> list[dict[str, object]]:
    """A list of node groups."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("Give a list of objects, one for each group.")
    return [whole_object(one, GROUP, f"Group {number}") for number, one in enumerate(value, start=1)]


LISTING: Fields = {
    "state": Field(_state, {"type": "string", "enum": ["live", "over", "all", *STATES], "default": "live"}),
    "limit": Field(
        _limit, {"type": "integer", "minimum": 1, "maximum": MOST_AT_ONCE, "default": USUAL_LIMIT}
    ),
    "after": Field(
        digits,
        {
            "type": "integer",
            "minimum": 0,
            "maximum": 999999999,
            "description": "As in `next` of the page before.",
        },
    ),
}
NEW: Fields = {
    "name": Field(
        text, TEXT | {"maxLength": 30, "description": "Also the frontend's name."}, is_required=True
    ),
    "start": Field(
        moment_or_now, MOMENT_SCHEMA | {"type": ["string", "null"], "description": "null or none: now."}
    ),
    "end": Field(moment, MOMENT_SCHEMA, is_required=True),
    "groups": Field(
        groups, {"type": "array", "minItems": 1, "items": schema_of(GROUP), "description": "Like nodes each."}
    ),
    "home_gib": _count("Shared by all nodes as /home."),
    "shared_disk_gib": Field(
        whole,
        {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "A disk that every node may write; what is on it is yours. 0: none.",
        },
    ),
    "rolls": Field(texts, {"type": "array", "items": TEXT, "description": "Names of GET /api/v1/rolls."}),
    "users": Field(
        users, {"type": "array", "items": schema_of(USER), "minItems": 1, "maxItems": 500}, is_required=True
    ),
    "note": Field(text, TEXT | {"maxLength": 2000, "description": "For the cluster provider."}),
    # For one group its fields may stand here, without the list.
    **{name: replace(field, is_required=False) for name, field in GROUP.items() if name != "name"},
}
EVENTS: Fields = {
    "limit": Field(_limit, {"type": "integer", "minimum": 1, "maximum": MOST_EVENTS, "default": USUAL_LIMIT})
}


def listing() -> ResponseReturnValue:
    """Those one may see, the latest start first; follow `next` for the rest."""
    asked: dict[str, Any] = {"state": LIVE, "limit": USUAL_LIMIT, "after": None} | body.sound_query(LISTING)
    limit = asked["limit"]
    rows = reservations.page(
        visit.reading(), visit.me(), states=asked["state"], after=asked["after"], limit=limit + 1
    )
    further = None
    if len(rows) > limit:
        same: dict[str, Any] = {
            name: request.args[name] for name in ("state", "limit") if name in request.args
        }
        further = url_for("reservation.listing", **same, after=rows[limit - 1].id)
    return jsonify(reservations=[show.summary(row) for row in rows[:limit]], next=further)


def detail(reservation_id: int) -> ResponseReturnValue:
    """One with its nodes and the steps of its building; its ETag is what changes ask for."""
    row = reservations.get(visit.reading(), visit.me(), reservation_id)
    if row is None:
        raise NotFound("There is no such reservation, or it is not yours to see.")
    answer = jsonify(show.reservation(visit.reading(), row, visit.now()))
    answer.headers["ETag"] = show.etag(row.version)
    return answer


def events(reservation_id: int) -> ResponseReturnValue:
    """Who or what changed it, when, and why; the newest first."""
    asked = {"limit": USUAL_LIMIT} | body.sound_query(EVENTS)
    session = visit.reading()
    if reservations.get(session, visit.me(), reservation_id) is None:
        raise NotFound("There is no such reservation, or it is not yours to see.")
    found = event.of_reservation(session, reservation_id, asked["limit"])
    return jsonify(events=[show.event(row) for row in found])


def create() -> ResponseReturnValue:
    """Ask for a cluster. It is placed and held at once, until a cluster provider answers.

    With an Idempotency-Key the same request may be sent again: it is made once.
    """
    site, software, asked = visit.site(), visit.software(), body.json_object()
    key = body.request_key(asked)
    raw = read(asked, NEW)
    try:
        made = booking.request(
            site.database,
            site.settings,
            visit.me(),
            raw,
            rolls=software.roll_names,
            appliances=software.appliance_names,
            now=visit.now(),
            key=key,
        )
    except NoRoom as why:
        return problem(409, str(why), **show.no_room(why, asked))
    answer = as_it_stands(made, 201)
    answer.headers["Location"] = url_for("reservation.detail", reservation_id=made)
    return answer


def read(asked: Mapping[str, object], fields: Fields) -> dict[str, object]:
    """The fields of a request for a cluster; InvalidRequest names all at once what could not be read, and what of the
    rest may not be."""
    raw, wrong = take(asked, fields)
    if not wrong:
        return raw
    software, limits = visit.software(), availability.limits(visit.site().settings)
    rolls, appliances = software.roll_names, software.appliance_names
    try:
        validate(raw, now=visit.now(), rolls=rolls, appliances=appliances, limits=limits)
    except InvalidRequest as why:
        wrong = why.fields | wrong
    raise InvalidRequest(wrong)


def as_it_stands(reservation_id: int, status: int = 200) -> Response:
    """One line of the list, read anew, with the ETag for the next change."""
    with visit.site().database.reading() as session:
        row = reservations.line(session, visit.me(), reservation_id)
    answer = jsonify(show.summary(row))
    answer.status_code = status
    answer.headers["ETag"] = show.etag(row.version)
    return answer
