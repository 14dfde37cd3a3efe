# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Error pages: what is wrong, for whom it is to mend, and the request's number."""

from __future__ import annotations

from flask import Flask, current_app, render_template
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException

from app.db.away import is_away
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound, SiteError
from app.web import visit
from app.web.headers import request_id

TITLES = {
    400: "That could not be read",
    403: "Not allowed",
    404: "Not found",
    405: "Not this way",
    409: "Something changed meanwhile",
    413: "Too large",
    422: "Something needs mending",
    500: "An error of ours",
    503: "Not available right now",
}
ADVICE = {
    404: "It may have been mistyped, or it belongs to somebody else. Your own reservations are in the list.",
    405: "This address exists, but not for this kind of request. Go back and use the button on the page.",
    413: "An answer to a form holds at most 1 MiB. Nothing was changed.",
}
RETRY_AFTER_S = "10"


def register(app: Flask) -> None:
    """One handler for each kind of error."""
    app.register_error_handler(NotFound, lambda why: _page(404, str(why)))
    app.register_error_handler(NotAllowed, lambda why: _page(403, str(why)))
    app.register_error_handler(Conflict, lambda why: _page(409, str(why)))
    app.register_error_handler(NoRoom, lambda why: _page(409, str(why)))
    app.register_error_handler(InvalidRequest, lambda why: _page(422, " ".join(why.fields.values())))
    app.register_error_handler(SiteError, _site)
    app.register_error_handler(CSRFError, _expired)
    app.register_error_handler(OperationalError, _away)
    app.register_error_handler(InterfaceError, _away)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)


def _page(status: int, message: str, headers: dict[str, str] | None = None) -> ResponseReturnValue:
    title = TITLES.get(status, f"Error {status}")
    page = render_template(
        "error.html",
        status=status,
        title=title,
        message=message,
        advice=ADVICE.get(status),
        number=request_id(),
    )
    return page, status, headers or {}


def _http(why: HTTPException) -> ResponseReturnValue:
    response = why.get_response()
    kept = {name: value for name, value in response.headers if name in ("Allow", "Location", "Retry-After")}
    code = why.code or 500
    if code < 400:
        return response
    return _page(code, ADVICE.get(code) or why.description or "", kept)


def _expired(_why: CSRFError) -> ResponseReturnValue:
    message = "This form is from another session or was not opened here. Go back, reload the page, and send it again."
    return _page(400, f"{message} Nothing was changed.")


def _site(why: SiteError) -> ResponseReturnValue:
    current_app.logger.error("%s %s", request_id(), why)
    return _page(503, f"The site needs its operator: {why}")


def _away(why: OperationalError | InterfaceError) -> ResponseReturnValue:
    if not is_away(why):
        return _bug(why)
    current_app.logger.error("%s database: %s", request_id(), " ".join(str(why.orig).split()))
    visit.forget_visitor()
    message = (
        "The database does not answer. Nothing was lost; running clusters go on. Try again in a few seconds."
    )
    return _page(503, message, {"Retry-After": RETRY_AFTER_S})


def _bug(why: Exception) -> ResponseReturnValue:
    current_app.logger.exception("%s failed", request_id(), exc_info=why)
    visit.forget_visitor()
    return _page(
        500, "Leasehold made a mistake, not you. Tell the operators this number; they find it in the log."
    )
