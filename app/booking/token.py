# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Make, use and revoke API tokens.

A token is 256 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing to guess from, and
argon2 would cost each request what a login costs.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from app.db import account as accounts
from app.db import event
from app.db import token as tokens
from app.db.account import Account
from app.db.base import Database
from app.db.token import ApiToken
from app.domain.errors import InvalidRequest, NotFound
from app.settings import Settings

# By this a token is known for one, by people and by programs that look for secrets in what is published.
PREFIX = "lht_"
RANDOM_BYTES = 32
LONGEST_NAME = 64
LONGEST_DAYS = 366
MOST_IN_FORCE = 50
# When a token was used last is written this seldom, so that reading through the API stays reading.
USE_NOTED_EVERY = timedelta(hours=1)
# The throttle counts failures by address, under this name, which no account can have.
NOBODY = "(api token)"


class Throttled(InvalidRequest):
    """Too many wrong tokens from this address."""


def make(database: Database, account: Account, name: str, days: int, *, now: datetime) -> str:
    """A new token of this account that lives for `days`; it is told this once and cannot be read again."""
    name = name.strip()
    wrong = {}
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        wrong["name"] = f"Name it by what will use it, in 1 to {LONGEST_NAME} characters."
    if not 1 <= days <= LONGEST_DAYS:
        wrong["days"] = f"A token lives for 1 to {LONGEST_DAYS} days."
    if wrong:
        raise InvalidRequest(wrong)
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    with database.writing() as session:
        if tokens.count_in_force(session, account.id, now) >= MOST_IN_FORCE:
            raise InvalidRequest({"name": f"There are {MOST_IN_FORCE} tokens already: revoke one first."})
        session.add(
            ApiToken(
                account_id=account.id,
                name=name,
                digest=digest(secret),
                created_at=now,
                expires_at=now + timedelta(days=days),
            )
        )
        event.record(session, now, account.name, "token", f"A token {name!r} of {account.name} was made.")
    return secret


def revoke(database: Database, account: Account, token_id: int, *, now: datetime) -> None:
    """From now on nobody is let in by this token of the account. Revoking twice is the same as once."""
    with database.writing() as session:
        row = tokens.get(session, account.id, token_id)
        if row is None:
            raise NotFound(f"{account.name} has no token with the number {token_id}.")
        if row.revoked_at is None:
            row.revoked_at = now
            event.record(
                session, now, account.name, "token", f"The token {row.name!r} of {account.name} was revoked."
            )


def holder(
    database: Database, settings: Settings, secret: str, address: str, *, now: datetime
) -> Account | None:
    """Whose token this is; None where it is nobody's, expired, revoked, or of an account that may not log in.

    Throttled after `web.login_tries` wrong ones from this address within `web.login_window_s`; right ones are let in
    all the same, as many programs may share an address.
    """
    window = timedelta(seconds=settings.web.login_window_s)
    with database.reading() as session:
        found = tokens.by_digest(session, digest(secret), now)
        failures = accounts.failures_since(session, NOBODY, address, now - window) if found is None else 0
    if found is None:
        if failures >= settings.web.login_tries:
            raise Throttled({"Authorization": f"Too many wrong tokens. Wait {window.seconds} seconds."})
        with database.writing() as session:
            accounts.record_failure(session, NOBODY, address, now, window)
        return None
    account, token_id, last_used_at = found
    if last_used_at is None or last_used_at <= now - USE_NOTED_EVERY:
        with database.writing() as session:
            session.get_one(ApiToken, token_id).last_used_at = now
    return account


def digest(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()
