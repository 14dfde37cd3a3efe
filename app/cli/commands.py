# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands that need only the database and the files of the manager itself."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from alembic import command as alembic_command
from alembic.config import Config
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.booking import account as accounts
from app.cli.cron import cron
from app.cli.host import host, maintenance
from app.cli.project import project
from app.cli.token import token
from app.cli.usage import usage
from app.db.account import ROLES
from app.db.base import Database
from app.domain.errors import LeaseholdError
from app.settings import Settings, load

MIGRATIONS = Path(__file__).parents[2] / "migrations"
SITE_KEY_BYTES = 32


class Group(click.Group):
    """A group whose commands end with status 1 and one plain sentence on an error a person can mend."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LeaseholdError as why:
            raise click.ClickException(str(why)) from why


@click.group(
    cls=Group,
    epilog="Also: leasehold pass NAME [--for 55s], leasehold host add|list|show|check|drain|remove,"
    " leasehold plan, leasehold simulate.",
)
@click.option(
    "--config", type=click.Path(), envvar="LEASEHOLD_CONFIG", help="The TOML file of the site's settings."
)
@click.pass_context
def leasehold(ctx: click.Context, config: str | None) -> None:
    """Book whole virtual clusters by the time slot."""
    ctx.obj = load(config)


leasehold.add_command(cron)
for command in (host, maintenance, project, usage):
    leasehold.add_command(command)


@leasehold.command()
@click.pass_obj
def init(settings: Settings) -> None:
    """Make what a site needs once: the keys (0600) and the database. What is there already stays."""
    _write_once(Path(settings.site_key_file), lambda: secrets.token_bytes(SITE_KEY_BYTES))
    _write_once(Path(settings.web.secret_key_file), lambda: secrets.token_hex(32).encode())
    identity = Path(settings.ssh_key_file)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" leasehold-manager\n"
    if _write_once(identity, lambda: key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())):
        identity.with_suffix(".pub").write_bytes(public)
    _upgrade(settings)


@leasehold.group()
def db() -> None:
    """Look after the database."""


@db.command()
@click.pass_obj
def upgrade(settings: Settings) -> None:
    """Bring the tables to this release's revision."""
    _upgrade(settings)


@leasehold.group()
def account() -> None:
    """Look after the accounts of providers."""


account.add_command(token)


@account.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--project", help="The project it belongs to; else a new one of its own name.")
@click.option(
    "--password-file",
    type=click.File(),
    help="A file with the password; - reads standard input. Else: asked.",
)
@click.pass_obj
def add_account(settings: Settings, name: str, role: str, project: str | None, password_file: Any) -> None:
    """Add an account that may log in."""
    if password_file is not None:
        password = password_file.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    database = Database(settings.database)
    accounts.create(database, name, role, password, project=project, now=datetime.now(UTC))
    database.close()
    click.echo(f"{name} may log in as {role}.", err=True)


@leasehold.group("config")
def configuration() -> None:
    """Look at the settings."""


@configuration.command()
@click.pass_obj
def show(settings: Settings) -> None:
    """Print the settings in force as JSON; a password in the database's URL is masked."""
    values = asdict(settings)
    before, at, after = settings.database.rpartition("@")
    if at and ":" in before.removeprefix("postgresql+psycopg://"):
        values["database"] = f"{before.rpartition(':')[0]}:***@{after}"
    json.dump(values, sys.stdout, indent=2)
    click.echo()


def _upgrade(settings: Settings) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", settings.database.replace("%", "%%"))
    if settings.database.startswith("sqlite:///"):
        Path(settings.database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    alembic_command.upgrade(config, "head")


def _write_once(path: Path, content: Any) -> bool:
    """Write the file for its owner alone, unless there is one; say whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content())
    click.echo(f"made {path}", err=True)
    return True
