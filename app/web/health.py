# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""For load balancers and monitoring: is the process up, and is the site at work?"""

from __future__ import annotations

from flask import current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.db import pass_run, revision
from app.web import visit, words

TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def alive() -> ResponseReturnValue:
    """200 as long as the process answers."""
    return "ok\n", 200, TEXT


def ready() -> ResponseReturnValue:
    """200 when the database answers, its schema is this release's and all passes run; else 503 with what is missing."""
    try:
        found = visit.reading().scalar(text(revision.FOUND))
    except SQLAlchemyError as why:
        current_app.logger.error("readyz: %s", " ".join(str(why).split())[:500])
        return "The database does not answer, or has no tables yet: leasehold db upgrade\n", 503, TEXT
    if lack := revision.lack(found):
        return f"{lack}\n", 503, TEXT
    if late := pass_run.overdue(pass_run.latest(visit.reading()), visit.now()):
        return f"{words.overdue(late, visit.now())} Is cron running? `leasehold cron show`\n", 503, TEXT
    return "ready\n", 200, TEXT
