# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages: one Flask application over the use cases; it writes rows and never calls a host."""

from __future__ import annotations

import logging
import stat
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask_wtf import CSRFProtect

from app.db.base import Database
from app.domain.errors import SiteError
from app.settings import Settings
from app.web import errors, headers, login, show, urls, visit

TEMPLATES = Path(__file__).parents[2] / "templates" / "web"
LEAST_KEY_BYTES = 32
MOST_BODY_BYTES = 1 << 20


def make_app(settings: Settings) -> Flask:
    """The application for `settings`, with its one Database for the life of the process.

    SiteError when the key that signs the sessions is missing, too short, or readable by everyone.
    """
    app = Flask(__name__, template_folder=str(TEMPLATES), static_folder="static")
    secure = settings.web.secure_cookies
    app.config.update(
        SECRET_KEY=_secret_key(Path(settings.web.secret_key_file)),
        # The __Host- prefix makes browsers refuse this cookie from another host name or without TLS (RFC 6265bis).
        SESSION_COOKIE_NAME="__Host-leasehold" if secure else "leasehold",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.web.session_hours),
        MAX_CONTENT_LENGTH=MOST_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MOST_BODY_BYTES,
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(days=30),
        # A token lives as long as its session: a form that was left open overnight can still be sent.
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.logger.setLevel(logging.INFO)
    app.extensions["leasehold"] = visit.Site(settings, Database(settings.database))
    CSRFProtect(app)
    for part in (headers, visit, login, urls, errors, show):
        part.register(app)
    return app


def _secret_key(file: Path) -> str:
    try:
        key = file.read_text().strip()
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as why:
        raise SiteError(f"The web key {file} cannot be read ({why}). `leasehold init` makes it.") from why
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SiteError(
            f"The web key {file} is open to everyone on this machine: chmod 0600 it, or make a new one."
        )
    if len(key) < LEAST_KEY_BYTES:
        raise SiteError(
            f"The web key {file} is too short. Remove it and let `leasehold init` make a new one."
        )
    return key
