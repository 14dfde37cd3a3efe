# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""For load balancers and monitoring: is the process up, and can it serve?"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from flask import current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.web import visit

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def alive() -> ResponseReturnValue:
    """200 as long as the process answers."""
    return "ok\n", 200, TEXT


def ready() -> ResponseReturnValue:
    """200 when the database answers and its schema is this release's; else 503 with what is missing."""
    try:
        found = visit.reading().scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError as why:
        current_app.logger.error("readyz: %s", " ".join(str(why).split())[:500])
        return "The database does not answer, or has no tables yet: leasehold db upgrade\n", 503, TEXT
    if found != (head := newest_revision()):
        return f"The schema is at {found}, this release needs {head}: leasehold db upgrade\n", 503, TEXT
    return "ready\n", 200, TEXT


@lru_cache
def newest_revision(versions: Path = VERSIONS) -> str:
    """The migration that no other one follows, read from the files: the web process does not load alembic."""
    sources = [path.read_text() for path in versions.glob("*.py")]
    revisions = {found[1] for source in sources if (found := re.search(r'^revision = "(\w+)"', source, re.M))}
    older = {
        found[1] for source in sources if (found := re.search(r'^down_revision = "(\w+)"', source, re.M))
    }
    (head,) = revisions - older
    return head
