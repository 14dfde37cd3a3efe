# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold usage`: the accounts of a time as CSV or JSON."""

from __future__ import annotations

from datetime import datetime

import click

from app.booking import accounting
from app.cli.moment import MOMENT
from app.db.base import Database
from app.settings import Settings


@click.command()
@click.option("--from", "since", type=MOMENT, required=True, help="From when on, like 2026-11-01.")
@click.option("--to", "until", type=MOMENT, required=True, help="Until before when, like 2026-12-01.")
@click.option("--by", type=click.Choice(accounting.BY), default="project", show_default=True)
@click.option(
    "--format", "form", type=click.Choice(tuple(accounting.FORMATS)), default="csv", show_default=True
)
@click.pass_obj
def usage(settings: Settings, since: datetime, until: datetime, by: str, form: str) -> None:
    """Print what was used in a time: hours times nodes, GiB of memory and disk, public addresses.

    A time without an offset is in UTC.
    """
    database = Database(settings.database)
    made = accounting.report(database, settings, None, since, until, by)
    database.close()
    click.echo(accounting.FORMATS[form](made), nl=form == "json")
