# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Accounting: what was used in a time, by project or by reservation, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db import usage
from app.db.account import Account
from app.db.base import Database
from app.db.usage import Use
from app.domain.errors import InvalidRequest
from app.settings import Settings

BY = ("project", "reservation")
HOURS = ("node_hours", "memory_gib_hours", "disk_gib_hours", "address_hours")
ABOUT = {"project": ("reservations",), "reservation": ("number", "name", "owner", "state", "start", "end")}
LONGEST = timedelta(days=400)


@dataclass(frozen=True)
class Report:
    """What was used in [since, until): a line for each project or reservation that used anything."""

    since: datetime
    until: datetime
    by: str
    uses: tuple[Use, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what is told of each line, in the order of the exports."""
        return ("project", *ABOUT[self.by], *HOURS)

    def rows(self) -> list[dict[str, Any]]:
        """Each line by column: times in UTC as text, hours to the thousandth."""
        return [{name: _plain(asdict(use)[name]) for name in self.columns} for use in self.uses]


def report(
    database: Database,
    settings: Settings,
    account: Account | None,
    since: datetime,
    until: datetime,
    by: str,
    *,
    limit: int | None = None,
) -> Report:
    """What `account` may see (None: all) of what was used in [since, until); at most `limit` reservations.

    InvalidRequest, by field (`from`, `to`, `by`), where the time is none or longer than LONGEST.
    """
    if by not in BY:
        raise InvalidRequest({"by": f"Choose one of: {', '.join(BY)}."})
    if until <= since:
        raise InvalidRequest({"to": "The end of the time must be after its begin."})
    if until - since > LONGEST:
        raise InvalidRequest({"to": f"Ask for {LONGEST.days} days at most."})
    # As long as a slot may be, with its disks kept as far ahead as one may book.
    longest = 2 * timedelta(days=settings.booking.max_days)
    with database.reading() as session:
        if by == "project":
            uses = usage.of_projects(session, account, since, until, longest)
        else:
            uses = usage.of_reservations(session, account, since, until, longest, limit)
    return Report(since, until, by, tuple(uses))


def as_csv(made: Report) -> str:
    """The report as CSV with a line of names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, made.columns)
    writer.writeheader()
    writer.writerows(made.rows())
    return out.getvalue()


def as_data(made: Report) -> dict[str, Any]:
    """The report with what it is of, as JSON has it."""
    return {"from": _plain(made.since), "to": _plain(made.until), "by": made.by, "usage": made.rows()}


def as_json(made: Report) -> str:
    """The report as JSON."""
    return json.dumps(as_data(made), indent=2)


FORMATS = {"csv": as_csv, "json": as_json}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return round(value, 3) if isinstance(value, float) else value
