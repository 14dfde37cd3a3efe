# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""REST: JSON over the use cases, with tokens and no cookies.

An application of its own beside the pages: no session, no login by cookie and so no CSRF is ever near it.
"""

from __future__ import annotations

import logging

from flask import Flask, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from app.api import problem
from app.api.document import document, refusals
from app.api.operations import BY_ENDPOINT, OPERATIONS
from app.booking import token
from app.booking.token import Throttled
from app.domain.errors import NotAllowed
from app.web import MOST_BODY_BYTES, TEMPLATES, headers, visit
from app.web.urls import ROLE_WORDS

# What is served here; all other paths are pages.
PATHS = ("/api/", "/openapi.json")
# Says how the API is used, so it is for everybody.
OPEN = ("document", "docs")


def make_api(site: visit.Site) -> Flask:
    """The API of the site."""
    app = Flask("app.api", template_folder=str(TEMPLATES), static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.logger.setLevel(logging.INFO)
    app.extensions["leasehold"] = site
    for part in (headers, visit, problem):
        part.register(app)
    for operation in OPERATIONS:
        methods = [operation.method]
        app.add_url_rule(operation.rule, operation.endpoint, operation.view, methods=methods)
    app.add_url_rule("/openapi.json", "document", lambda: jsonify(document()))
    app.add_url_rule("/api/docs", "docs", _docs)
    app.before_request(_guard)
    return app


def _guard() -> ResponseReturnValue | None:
    """Answer for the operation where its caller may not use it."""
    if request.endpoint is None or request.endpoint in OPEN:
        return None
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        message = "Send an API token: Authorization: Bearer lht_... You make one on the page /account."
        return problem.problem(401, message, {"WWW-Authenticate": 'Bearer realm="leasehold"'})
    site, address = visit.site(), request.remote_addr or "unknown"
    try:
        account = token.holder(site.database, site.settings, secret.strip(), address, now=visit.now())
    except Throttled as why:
        seconds = str(site.settings.web.login_window_s)
        return problem.problem(429, " ".join(why.fields.values()), {"Retry-After": seconds})
    if account is None:
        message = "This token is unknown, expired or revoked. You make a new one on the page /account."
        challenge = {"WWW-Authenticate": 'Bearer realm="leasehold", error="invalid_token"'}
        return problem.problem(401, message, challenge)
    visit.enter(account)
    roles = BY_ENDPOINT[request.endpoint].roles
    if account.role not in roles:
        wanted = " or ".join(ROLE_WORDS[role] for role in sorted(roles))
        raise NotAllowed(f"This is for the role {wanted}; your role is {ROLE_WORDS[account.role]}.")
    return None


def _docs() -> ResponseReturnValue:
    """The operations as a page."""
    return render_template(
        "api.html",
        site=visit.site().settings.site,
        operations=[(operation, refusals(operation)) for operation in OPERATIONS],
        kinds=problem.KINDS,
        role_words=ROLE_WORDS,
    )
