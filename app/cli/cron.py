# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold cron`: put the passes into a user's crontab or a file under /etc/cron.d, and take them out again."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click
from crontab import CronTab

from app.db.pass_run import PASSES

# By this comment our lines are known; no other line is ever changed.
COMMENT = "leasehold"
# Just under the minute: cron's next start takes over without a gap worth speaking of.
WATCH = "55s"


@click.group()
def cron() -> None:
    """Have cron start the passes each minute."""


def _where(command: click.decorators.FC) -> click.decorators.FC:
    file = click.option(
        "--file", "file", type=click.Path(dir_okay=False), help="A file like /etc/cron.d/leasehold."
    )
    user = click.option(
        "--user", default="root", show_default=True, help="Whose crontab, or who runs the file's lines."
    )
    return file(user(command))


_dry_run = click.option("--dry-run", is_flag=True, help="Print what the result would be and write nothing.")


@cron.command()
@_where
@_dry_run
def install(file: str | None, user: str, dry_run: bool) -> None:
    """Write one line for each pass, in place of those written before."""
    table = _open(file, user)
    table.remove_all(comment=COMMENT)
    for name in PASSES:
        job = table.new(command=_command(name), comment=COMMENT, user=user if file else None)
        job.setall("* * * * *")
    _write(table, file, user, dry_run)


@cron.command()
@_where
def show(file: str | None, user: str) -> None:
    """Print our lines."""
    for job in _open(file, user).find_comment(COMMENT):
        click.echo(str(job))


@cron.command()
@_where
@_dry_run
def remove(file: str | None, user: str, dry_run: bool) -> None:
    """Take our lines out; a file under /etc/cron.d that holds nothing else is deleted."""
    table = _open(file, user)
    table.remove_all(comment=COMMENT)
    if file and not list(table) and not dry_run:
        Path(file).unlink(missing_ok=True)
        return
    _write(table, file, user, dry_run)


def _open(file: str | None, user: str) -> CronTab:
    if file is None:
        return CronTab(user=user)
    return CronTab(tabfile=file, user=False) if Path(file).exists() else CronTab(tab="", user=False)


def _write(table: CronTab, file: str | None, user: str, dry_run: bool) -> None:
    if dry_run:
        click.echo(table.render(), nl=False)
    elif file is None:
        table.write_to_user(user)
    else:
        # cron ignores a file that others may write, and one it sees half written it reads half.
        scratch = Path(f"{file}.new~")
        scratch.write_text(table.render())
        scratch.chmod(0o644)
        scratch.rename(file)


def _command(name: str) -> str:
    program = shutil.which("leasehold", path=str(Path(sys.executable).parent)) or "leasehold"
    config = os.environ.get("LEASEHOLD_CONFIG")
    prefix = f"LEASEHOLD_CONFIG={Path(config).absolute()} " if config else ""
    return f"{prefix}{program} pass {name} --for {WATCH}"
