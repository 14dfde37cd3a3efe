# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Leasehold's application: domain, database, booking, and the web front end over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings


def create_app(settings: Settings) -> Flask:
    """The web application for `settings` (see app.web).

    Imported here and not above: every idle pass imports this package once a minute for `app.settings` alone, and
    Flask would cost it ten times the rest.
    """
    from app.web import make_app

    return make_app(settings)
