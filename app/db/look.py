# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Is anything due? Asked by every idle pass each second, with the bare driver: importing the rest costs far more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

# Wide on purpose: it may say yes where `resource.due` then finds nothing (needs unmet), never the reverse.
RESOURCES = """
SELECT 1 FROM resource r JOIN host h ON h.id = r.host_id
WHERE r.pass_name = {worker} AND r.want <> r.have
  AND (r.retry_at IS NULL OR r.retry_at <= {now}) AND (r.lease_until IS NULL OR r.lease_until <= {now})
  AND (h.suspect_until IS NULL OR h.suspect_until <= {now})
  AND NOT EXISTS (SELECT 1 FROM need n JOIN resource o ON o.id = n.needs_id
                  WHERE n.resource_id = r.id AND r.want = 'present' AND o.have <> 'present')
  AND NOT EXISTS (SELECT 1 FROM need n JOIN resource o ON o.id = n.resource_id
                  WHERE n.needs_id = r.id AND r.want = 'absent' AND o.have <> 'absent')
LIMIT 1"""
# One SELECT for each way out of a state, each on the index (state, start_at).
RESERVATIONS = """
SELECT 1 FROM reservation WHERE state = 'requested' AND (hold_until <= {now} OR cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation WHERE state = 'approved' AND (start_at <= {soon} OR cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation WHERE state IN ('building', 'ready', 'suspended')
  AND (end_at <= {now} OR cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation v WHERE state = 'building' AND NOT EXISTS
  (SELECT 1 FROM resource r WHERE r.reservation_id = v.id AND r.have <> 'present')
UNION ALL
SELECT 1 FROM reservation v WHERE state = 'ending' AND NOT EXISTS
  (SELECT 1 FROM resource r WHERE r.reservation_id = v.id AND r.have <> 'absent')
LIMIT 1"""


def opener(url: str) -> Callable[[str, timedelta], bool]:
    """A function (pass name, lead time) -> whether that pass has something to do now; it keeps one connection.

    `url` as in the settings. Any error of the driver is the caller's to handle: the database may be away.
    """
    if url.startswith("sqlite:///"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20, isolation_level=None)
        mark, moment = ":{}", _sqlite_time
    else:
        import psycopg

        connection = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True, connect_timeout=10)
        mark, moment = "%({})s", _same

    names = {name: mark.format(name) for name in ("worker", "now", "soon")}
    queries = {True: RESERVATIONS.format(**names), False: RESOURCES.format(**names)}

    def is_due(pass_name: str, lead: timedelta) -> bool:
        now = datetime.now(UTC)
        values = {"worker": pass_name, "now": moment(now), "soon": moment(now + lead)}
        return connection.execute(queries[pass_name == "schedule"], values).fetchone() is not None

    return is_due


def _sqlite_time(value: datetime) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def _same(value: datetime) -> Any:
    return value
