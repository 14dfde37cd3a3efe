# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold account token`: the API tokens of an account, made and revoked by who runs the site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from app.booking import token as booking
from app.db import account as accounts
from app.db import token as tokens
from app.db.account import Account
from app.db.base import Database
from app.domain.errors import NotFound
from app.settings import Settings


@click.group()
def token() -> None:
    """Look after the API tokens of an account."""


@token.command()
@click.argument("account")
@click.argument("name")
@click.option("--days", type=int, default=90, show_default=True, help="How long it lives.")
@click.pass_obj
def add(settings: Settings, account: str, name: str, days: int) -> None:
    """Make a token for the use that NAME says, and print it: the only time that it can be read."""
    with _account(settings, account) as (database, row):
        click.echo(booking.make(database, row, name, days, now=datetime.now(UTC)))


@token.command("list")
@click.argument("account")
@click.pass_obj
def list_tokens(settings: Settings, account: str) -> None:
    """Print number, name, last use and end of each token."""
    now = datetime.now(UTC)
    with _account(settings, account) as (database, row), database.reading() as session:
        for one in tokens.of_account(session, row.id):
            used = f"used {one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never used"
            end = "expired" if one.expires_at <= now else "until"
            state = "revoked" if one.revoked_at else f"{end} {one.expires_at:%Y-%m-%d %H:%M} UTC"
            click.echo(f"{one.id}\t{one.name}\t{used}\t{state}")


@token.command()
@click.argument("account")
@click.argument("number", type=click.IntRange(1, 2**31 - 1))
@click.pass_obj
def revoke(settings: Settings, account: str, number: int) -> None:
    """Let nobody in by this token any more."""
    with _account(settings, account) as (database, row):
        booking.revoke(database, row, number, now=datetime.now(UTC))


@contextmanager
def _account(settings: Settings, name: str) -> Iterator[tuple[Database, Account]]:
    database = Database(settings.database)
    try:
        with database.reading() as session:
            row = accounts.by_name(session, name)
        if row is None:
            raise NotFound(f"There is no account {name!r}.")
        yield database, row
    finally:
        database.close()
