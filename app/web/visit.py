# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What one request may know: the site, the clock, the visitor, and its one reading session of the database."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Flask, current_app, g
from flask_login import current_user
from sqlalchemy.orm import Session

from app.db.account import Account
from app.db.base import Database
from app.db.software import offered_of
from app.domain.errors import NotAllowed
from app.domain.roll import Software
from app.settings import Settings


@dataclass(frozen=True)
class Site:
    """What all requests share."""

    settings: Settings
    database: Database


def register(app: Flask) -> None:
    """Close the request's session at its end."""
    app.teardown_appcontext(_close)


def site() -> Site:
    """The settings and the database of this application."""
    found: Site = current_app.extensions["leasehold"]
    return found


def software() -> Software:
    """What this site offers to be asked for, read from its rolls."""
    return offered_of(site().settings)


def reading() -> Session:
    """The request's reading session, from its first query to the end of the request; see `Database.reading`."""
    if "reading" not in g:
        g.reading_stack = ExitStack()
        g.reading = g.reading_stack.enter_context(site().database.reading())
    session: Session = g.reading
    return session


def now() -> datetime:
    """The time of this request, the same throughout it."""
    if "now" not in g:
        g.now = datetime.now(UTC)
    moment: datetime = g.now
    return moment


def visitor() -> Account | None:
    """Who is logged in, if anyone."""
    if "visitor" not in g:
        g.visitor = current_user.account if current_user.is_authenticated else None
    account: Account | None = g.visitor
    return account


def enter(account: Account) -> None:
    """Let this account be the visitor for the rest of the request: who shows a token has no session."""
    g.visitor = account


def me() -> Account:
    """Who is logged in; NotAllowed where nobody is, which the URL table rules out for pages with roles."""
    account = visitor()
    if account is None:
        raise NotAllowed("Log in first.")
    return account


def forget_visitor() -> None:
    """Treat the rest of the request as anonymous: an error page must not ask a database that is away."""
    g.visitor = None


def zone() -> ZoneInfo:
    """The visitor's time zone; UTC for nobody, and for a zone this machine does not know."""
    account = visitor()
    try:
        return ZoneInfo(account.time_zone if account else "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _close(_error: BaseException | None) -> None:
    stack: ExitStack | None = g.pop("reading_stack", None)
    g.pop("reading", None)
    if stack is not None:
        stack.close()
