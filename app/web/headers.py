# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes on every answer: the request's number, the security headers; and one line in the log."""

from __future__ import annotations

import secrets
import time

from flask import Flask, Response, current_app, g, request

from app.web import visit

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
FIXED = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Flask-WTF compares the referrer under TLS, so it must be sent within the site; nobody else gets any.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TWO_YEARS_S = 63_072_000


def register(app: Flask) -> None:
    """Number each request before anything else sees it, and dress its answer."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """The number of this request: in a header, in the log, on the page of an error."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(6)
    number: str = g.request_id
    return number


def _begin() -> None:
    g.begun = time.monotonic()
    request_id()


def _finish(response: Response) -> Response:
    response.headers.extend(FIXED)
    response.headers["X-Request-ID"] = request_id()
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    if visit.site().settings.web.secure_cookies:
        response.headers["Strict-Transport-Security"] = f"max-age={TWO_YEARS_S}"
    took_ms = (time.monotonic() - g.get("begun", time.monotonic())) * 1000
    account = g.get("visitor")
    current_app.logger.info(
        "%s %s %s %s %.0f ms %s",
        request_id(),
        request.method,
        # repr: a path may hold newlines, and a log line must stay one.
        repr(request.path)[1:-1][:300],
        response.status_code,
        took_ms,
        account.name if account else "-",
    )
    return response
