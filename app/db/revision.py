# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which revision of the schema this release needs, told without alembic: pages and idle passes do not load it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
FOUND = "SELECT version_num FROM alembic_version"


def lack(found: str | None) -> str | None:
    """What to do when the database is at the revision `found` (None: it has no tables); None when it fits."""
    if found == newest_revision():
        return None
    if found is None:
        return "The database has no tables yet: leasehold db upgrade"
    return f"The schema is at {found}, this release needs {newest_revision()}: leasehold db upgrade"


@lru_cache
def newest_revision(versions: Path = VERSIONS) -> str:
    """The migration that no other one follows, read from the files."""
    sources = [path.read_text() for path in versions.glob("*.py")]
    revisions = {found[1] for source in sources if (found := re.search(r'^revision = "(\w+)"', source, re.M))}
    older = {
        found[1] for source in sources if (found := re.search(r'^down_revision = "(\w+)"', source, re.M))
    }
    (head,) = revisions - older
    return head
