# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Is it the database that failed, or we? Told from the error by name, so that no driver has to be imported."""

from __future__ import annotations

AWAY = {
    f"{module}.{kind}" for module in ("sqlite3", "psycopg") for kind in ("OperationalError", "InterfaceError")
}
# SQLite says OperationalError for a table that is not there as for a full disk; its result codes tell them apart
# (https://www.sqlite.org/rescode.html): ERROR, TOOBIG, CONSTRAINT, MISMATCH, MISUSE and RANGE are mistakes of ours.
SQLITE_MISTAKES = frozenset({1, 18, 19, 20, 21, 25})


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be used just now: not reached, locked for too long, full, broken. Else it is ours.

    SQLAlchemy's errors are judged by the driver's error that they carry.
    """
    cause = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF not in SQLITE_MISTAKES
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(cause).__mro__}
    return not names.isdisjoint(AWAY)
