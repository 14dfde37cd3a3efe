# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Make projects, give them ceilings of their own, and move accounts between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from app.db import account as accounts
from app.db import event
from app.db import project as projects
from app.db.base import Database
from app.db.project import Project
from app.domain.errors import InvalidRequest, NotFound

NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}")
# Beyond this no integer column of ours goes.
MOST = 2**31 - 1
CEILINGS = ("nodes", "node_hours", "length_hours", "reservations", "notice_s")


def add(database: Database, name: str, ceilings: Mapping[str, int | None], *, by: str, now: datetime) -> None:
    """Make a project with these ceilings of its own; InvalidRequest names what is wrong with the input."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            {"name": "A name is 1 to 40 lower-case letters, digits, dots, hyphens; it starts with a letter."}
        )
    _check(ceilings)
    with database.writing() as session:
        if projects.by_name(session, name) is not None:
            raise InvalidRequest({"name": f"There is a project {name!r} already."})
        session.add(Project(name=name, created_at=now, **ceilings))
        event.record(session, now, by, "project", f"Project {name} was made{_words(ceilings)}.")


def set_ceilings(
    database: Database, name: str, ceilings: Mapping[str, int | None], *, by: str, now: datetime
) -> None:
    """Change those of the project's ceilings that are named; None puts the site's in force again."""
    _check(ceilings)
    with database.writing() as session:
        row = projects.by_name(session, name)
        if row is None:
            raise NotFound(f"There is no project {name!r}; `leasehold project list` names them.")
        for ceiling, value in ceilings.items():
            setattr(row, ceiling, value)
        event.record(session, now, by, "project", f"Project {name} was changed{_words(ceilings)}.")


def move_account(database: Database, name: str, to: str, *, by: str, now: datetime) -> None:
    """Let the account belong to the project `to` from now on; what it has booked stays with the project it was."""
    with database.writing() as session:
        account, project = accounts.by_name(session, name), projects.by_name(session, to)
        if account is None:
            raise NotFound(f"There is no account {name!r}.")
        if project is None:
            raise NotFound(f"There is no project {to!r}; `leasehold project list` names them.")
        account.project_id = project.id
        event.record(session, now, by, "account", f"Account {name} belongs to the project {to}.")


def _check(ceilings: Mapping[str, int | None]) -> None:
    wrong = {
        name: f"Give a whole number from 0 to {MOST:,}; 0 allows nothing."
        for name, value in ceilings.items()
        if name not in CEILINGS or (value is not None and not 0 <= value <= MOST)
    }
    if wrong:
        raise InvalidRequest(wrong)


def _words(ceilings: Mapping[str, int | None]) -> str:
    said = [f"{name} {'as the site' if value is None else value}" for name, value in ceilings.items()]
    return f": {', '.join(said)}" if said else ""
