# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Leasehold's application: domain, database, booking, and the pages and the API over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask

    from app.settings import Settings


def create_app(settings: Settings) -> Flask:
    """The web application for `settings`: the pages, and the API under paths of its own.

    Imported here and not above: every idle pass imports this package once a minute for `app.settings` alone, and
    Flask would cost it ten times the rest.
    """
    from app.api import PATHS, make_api
    from app.web import make_app

    pages = make_app(settings)
    api = make_api(pages.extensions["leasehold"])
    pages_answer = pages.wsgi_app

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_api = environ.get("PATH_INFO", "").startswith(PATHS)
        return (api.wsgi_app if is_api else pages_answer)(environ, start_response)

    pages.wsgi_app = answer  # type: ignore[method-assign]  # the way Flask documents for middleware
    return pages
