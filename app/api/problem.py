# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Refusals as problem details (RFC 9457): what is wrong, where, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from app.api import show
from app.db.away import is_away
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound, SiteError
from app.web import visit
from app.web.headers import request_id

# status -> the problem's name, which `type` points to, and its title.
KINDS = {
    400: ("unreadable", "That could not be read"),
    401: ("token", "A valid token is needed"),
    403: ("not-allowed", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method", "Not this way"),
    409: ("conflict", "It is not so any more, or there is no room"),
    412: ("changed", "It was changed meanwhile"),
    413: ("too-large", "Too large"),
    415: ("not-json", "Send JSON"),
    422: ("invalid", "Some fields need mending"),
    428: ("which-version", "Say which version you have seen"),
    429: ("throttled", "Too many wrong tokens"),
    500: ("bug", "An error of ours"),
    503: ("away", "Not available right now"),
}
RETRY_AFTER_S = "10"
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")


class Unversioned(Exception):
    """A change was asked for without saying of which version."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The answer that says so; `more` are the members of this kind of problem."""
    kind, title = KINDS[status]
    body = {
        "type": f"/api/docs#{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id(),
        **more,
    }
    return Response(json.dumps(body), status, dict(headers or {}), content_type="application/problem+json")


def register(app: Flask) -> None:
    """One handler for each kind of error."""
    app.register_error_handler(NotFound, lambda why: problem(404, str(why)))
    app.register_error_handler(NotAllowed, lambda why: problem(403, str(why)))
    app.register_error_handler(Conflict, _conflict)
    app.register_error_handler(NoRoom, _no_room)
    app.register_error_handler(InvalidRequest, invalid)
    app.register_error_handler(Unversioned, _unversioned)
    app.register_error_handler(SiteError, _site)
    app.register_error_handler(OperationalError, _away)
    app.register_error_handler(InterfaceError, _away)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def invalid(why: InvalidRequest) -> Response:
    """422 with a message for each field."""
    return problem(422, " ".join(why.fields.values()), fields=why.fields)


def _no_room(why: NoRoom) -> Response:
    """409 with what is short and who is in the way; who has something else to offer instead answers by itself."""
    return problem(409, str(why), reasons=list(why.reasons), in_the_way=show.in_the_way(why.in_the_way))


def _conflict(why: Conflict) -> Response:
    """412 where the difference to what the caller has seen is known, else 409: it is over, or somebody else's turn."""
    if not why.differences:
        return problem(409, str(why))
    changed = [
        {"field": one.field, "before": one.before, "after": one.after, "by": one.by, "at": one.at.isoformat()}
        for one in why.differences
    ]
    return problem(412, str(why), changed=changed)


def _unversioned(_why: Unversioned) -> Response:
    return problem(
        428, "Send the ETag of what you have seen as If-Match, so that nothing newer is changed unseen."
    )


def _http(why: HTTPException) -> Response:
    headers = {name: value for name, value in why.get_response().headers if name in KEPT_HEADERS}
    return problem(why.code if why.code in KINDS else 400, why.description or "", headers)


def _site(why: SiteError) -> Response:
    current_app.logger.error("%s %s", request_id(), why)
    return problem(503, f"The site needs its operator: {why}")


def _away(why: OperationalError | InterfaceError) -> Response:
    if not is_away(why):
        return _bug(why)
    current_app.logger.error("%s database: %s", request_id(), " ".join(str(why.orig).split()))
    visit.forget_visitor()
    message = (
        "The database does not answer. Try again in a few seconds; look first whether a change was made."
    )
    return problem(503, message, {"Retry-After": RETRY_AFTER_S})


def _bug(why: Exception) -> Response:
    current_app.logger.exception("%s failed", request_id(), exc_info=why)
    visit.forget_visitor()
    return problem(500, "Leasehold made a mistake, not you. The operators find request_id in the log.")
