# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Deciding on a reservation and changing it, each as it was seen: If-Match holds the ETag of what was seen."""

from __future__ import annotations

from flask import jsonify, url_for
from flask.typing import ResponseReturnValue

from app.api import body, show
from app.api.fields import MOMENT_SCHEMA, TEXT, Field, Fields, moment, moment_or_now, text, texts, whole
from app.api.problem import Unversioned, problem
from app.api.reservation import NEW, as_it_stands
from app.booking import change, decide
from app.booking import resize as resizing
from app.booking import save as saving
from app.booking import suspend as suspending
from app.domain.errors import InvalidRequest, NoRoom
from app.web import visit

NOTHING: Fields = {}
REASON: Fields = {"reason": Field(text, TEXT | {"minLength": 1, "maxLength": 2000}, is_required=True)}
END: Fields = {"end": Field(moment, MOMENT_SCHEMA, is_required=True)}
OWNER: Fields = {"owner": Field(text, TEXT | {"maxLength": 64}, is_required=True)}


def counts(value: object) -> dict[str, int]:
    """Numbers of nodes by group."""
    if not isinstance(value, dict) or not value:
        raise ValueError('Give an object with the number of nodes of each group, like {"node": 4}.')
    return {str(group): whole(number) for group, number in value.items()}


NODES: Fields = {
    "node_count": Field(
        counts,
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "integer", "minimum": 1},
            "description": "Nodes by group; groups that are not named stay as they are.",
        },
        is_required=True,
    ),
    "leave": Field(
        texts,
        {"type": "array", "items": TEXT, "description": "The nodes that go; none: the last of a group."},
    ),
}
UNTIL: Fields = {
    "until": Field(
        moment_or_now,
        MOMENT_SCHEMA | {"type": ["string", "null"], "description": "null: no longer."},
        is_required=True,
    )
}
SLOT: Fields = {name: NEW[name] for name in ("name", "start", "end", "note")}
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


def resize(reservation_id: int) -> ResponseReturnValue:
    """Let groups have more nodes or fewer, before the slot or during it; the passes follow."""
    site, asked = visit.site(), body.fields(NODES)
    numbers, leave = asked["node_count"], asked.get("leave", ())
    try:
        resizing.resize(
            site.database,
            site.settings,
            visit.me(),
            reservation_id,
            seen(),
            numbers,
            leave=leave,
            now=visit.now(),
        )
    except InvalidRequest as why:
        of_groups = {resizing.field(group) for group in numbers}
        told = {"node_count" if name in of_groups else name: text for name, text in why.fields.items()}
        raise InvalidRequest(told) from why
    return as_it_stands(reservation_id)


def suspend(reservation_id: int) -> ResponseReturnValue:
    """Save its machines to disk and give back what they take of their hosts; the passes follow."""
    body.fields(NOTHING)
    site = visit.site()
    suspending.suspend(site.database, site.settings, visit.me(), reservation_id, seen(), now=visit.now())
    return as_it_stands(reservation_id)


def resume(reservation_id: int) -> ResponseReturnValue:
    """Let its machines go on where they were, if their hosts have room for them; the passes follow."""
    body.fields(NOTHING)
    site = visit.site()
    try:
        suspending.resume(site.database, site.settings, visit.me(), reservation_id, seen(), now=visit.now())
    except NoRoom as why:
        return _no_room(why)
    return as_it_stands(reservation_id)


def keep(reservation_id: int) -> ResponseReturnValue:
    """Keep its disks after its slot until then; or, once it is saved, longer or shorter, or not any more."""
    site, until = visit.site(), body.fields(UNTIL)["until"]
    try:
        saving.keep(site.database, site.settings, visit.me(), reservation_id, seen(), until, now=visit.now())
    except NoRoom as why:
        return _no_room(why)
    return as_it_stands(reservation_id)


def restore(reservation_id: int) -> ResponseReturnValue:
    """Ask for a saved cluster again, in another slot; the answer is the new reservation."""
    site, asked = visit.site(), body.fields(SLOT)
    try:
        made = saving.restore(
            site.database, site.settings, visit.me(), reservation_id, seen(), asked, now=visit.now()
        )
    except NoRoom as why:
        return _no_room(why)
    answer = as_it_stands(made, 201)
    answer.headers["Location"] = url_for("reservation.detail", reservation_id=made)
    return answer


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


def _no_room(why: NoRoom) -> ResponseReturnValue:
    """What is short, and who is in the way."""
    return problem(409, str(why), reasons=list(why.reasons), in_the_way=show.in_the_way(why.in_the_way))


def seen() -> int:
    """The version the caller has seen; Unversioned where none is said."""
    version = body.version()
    if version is None:
        raise Unversioned
    return version
