# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Make accounts and let people in: argon2 hashes, equal answers for unknown names, a throttle in a table."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session

from app.db import account as accounts
from app.db import event
from app.db import project as projects
from app.db.account import ROLES, Account
from app.db.base import Database
from app.db.project import Project
from app.domain.errors import InvalidRequest
from app.settings import Settings

HASHER = PasswordHasher()
# Verified against when there is no such account, so that the answer takes as long.
NOBODY = HASHER.hash(secrets.token_hex(16))
NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}")
LEAST_PASSWORD = 10


class Throttled(InvalidRequest):
    """Too many failed logins for this account from this address; a little patience mends it."""


def create(
    database: Database, name: str, role: str, password: str, *, project: str | None = None, now: datetime
) -> int:
    """Add an account and return its id; InvalidRequest names what is wrong with the input.

    It belongs to `project`, which must be there; to a new one of its own name where none is said.
    """
    wrong = {}
    if not NAME.fullmatch(name):
        wrong["name"] = (
            "A name is 1 to 40 lower-case letters, digits, dots, hyphens; it starts with a letter."
        )
    if role not in ROLES:
        wrong["role"] = f"Choose one of: {', '.join(ROLES)}."
    if len(password) < LEAST_PASSWORD:
        wrong["password"] = f"A password has at least {LEAST_PASSWORD} characters."
    if wrong:
        raise InvalidRequest(wrong)
    hashed = HASHER.hash(password)
    with database.writing() as session:
        if accounts.by_name(session, name) is not None:
            raise InvalidRequest({"name": f"There is an account {name!r} already."})
        row = Account(
            name=name,
            role=role,
            password_hash=hashed,
            session_epoch=secrets.token_urlsafe(24),
            time_zone="UTC",
            is_active=True,
            created_at=now,
            project=_project(session, project, name, now),
        )
        session.add(row)
        session.flush()
        event.record(session, now, "command line", "account", f"Account {name} ({role}) was made.")
        return row.id


def _project(session: Session, wanted: str | None, account: str, now: datetime) -> Project:
    found = projects.by_name(session, wanted or account)
    if wanted and found is None:
        raise InvalidRequest(
            {"project": f"There is no project {wanted!r}; `leasehold project list` names them."}
        )
    if not wanted and found is not None:
        raise InvalidRequest(
            {"project": f"There is a project {account!r} already: say which one the account belongs to."}
        )
    return found or Project(name=account, created_at=now)


def log_in(
    database: Database, settings: Settings, name: str, password: str, address: str, *, now: datetime
) -> Account:
    """The account of `name` if `password` is right; InvalidRequest with the same words for every other case.

    After `web.login_tries` failures within `web.login_window_s` for this name from this address: Throttled, without
    looking at the password.
    """
    window = timedelta(seconds=settings.web.login_window_s)
    with database.reading() as session:
        failures = accounts.failures_since(session, name[:64], address, now - window)
        row = accounts.by_name(session, name)
    if failures >= settings.web.login_tries:
        raise Throttled({"password": f"Too many failed logins. Wait {settings.web.login_window_s} seconds."})
    known = row is not None and row.is_active
    try:
        HASHER.verify(row.password_hash if known and row else NOBODY, password)
    except (VerificationError, InvalidHashError):
        known = False
    if not known or row is None:
        with database.writing() as session:
            accounts.record_failure(session, name, address, now, window)
        raise InvalidRequest({"password": "The name or the password is wrong."})
    return row


def end_sessions(database: Database, account_id: int) -> None:
    """Make every session of this account worthless, also a cookie that someone copied."""
    with database.writing() as session:
        session.get_one(Account, account_id).session_epoch = secrets.token_urlsafe(24)
