# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Is anything due? Every idle pass asks again and again, and says that it ran, with the bare driver: importing the
rest costs far more."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db import revision
from app.db.away import is_away
from app.domain.errors import SiteError

# Wide on purpose: it may say yes where `resource.DUE` then finds nothing (needs unmet), never the reverse.
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
# As `resource.UNHEARD`.
HOSTS = """
SELECT 1 FROM host h
JOIN resource r ON r.id = (SELECT min(id) FROM resource WHERE host_id = h.id
                           AND want = 'present' AND have = 'present' AND reservation_id IS NOT NULL)
WHERE r.pass_name = {worker} AND h.last_seen_at <= {silent_since}
  AND (r.lease_until IS NULL OR r.lease_until <= {now}) AND (h.suspect_until IS NULL OR h.suspect_until <= {now})
LIMIT 1"""
# One SELECT for each way out of a state, each on the index (state, start_at).
RESERVATIONS = """
SELECT 1 FROM reservation WHERE state = 'requested' AND (retry_at IS NULL OR retry_at <= {now})
  AND (hold_until <= {now} OR cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation WHERE state = 'approved' AND (retry_at IS NULL OR retry_at <= {now})
  AND (start_at <= {soon} OR cancel_requested_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation WHERE state IN ('building', 'ready', 'suspended')
  AND (retry_at IS NULL OR retry_at <= {now})
  AND (end_at <= {now} OR cancel_requested_at IS NOT NULL OR retry_at IS NOT NULL)
UNION ALL
SELECT 1 FROM reservation v WHERE state = 'building' AND (retry_at IS NULL OR retry_at <= {now}) AND NOT EXISTS
  (SELECT 1 FROM resource r WHERE r.reservation_id = v.id AND r.have <> 'present')
UNION ALL
SELECT 1 FROM reservation v WHERE state = 'ending' AND (retry_at IS NULL OR retry_at <= {now}) AND NOT EXISTS
  (SELECT 1 FROM resource r WHERE r.reservation_id = v.id AND r.want = 'absent' AND r.have <> 'absent')
UNION ALL
SELECT 1 FROM reservation WHERE state = 'saved' AND (retry_at IS NULL OR retry_at <= {now}) AND keep_until <= {now}
UNION ALL
SELECT 1 FROM host h JOIN allocation a ON a.host_id = h.id JOIN reservation v ON v.id = a.reservation_id
WHERE (h.state = 'drained' OR h.lost_at IS NOT NULL) AND a.released_at IS NULL
  AND v.state IN ('requested', 'approved') AND v.cancel_requested_at IS NULL
  AND (v.retry_at IS NULL OR v.retry_at <= {now})
UNION ALL
SELECT 1 FROM maintenance m JOIN allocation a
  ON a.host_id = m.host_id AND a.start_at < m.end_at AND a.end_at > m.start_at
JOIN reservation v ON v.id = a.reservation_id
WHERE m.end_at > {now} AND a.released_at IS NULL
  AND v.state IN ('requested', 'approved') AND v.cancel_requested_at IS NULL
  AND (v.retry_at IS NULL OR v.retry_at <= {now})
LIMIT 1"""
# So many past builds say how early the next one has to begin.
HISTORY = 200
BUILDS = """
SELECT {seconds} FROM reservation WHERE ready_at IS NOT NULL AND building_at IS NOT NULL
ORDER BY id DESC LIMIT {history}"""
RUN = """
INSERT INTO pass_run (pass_name, started_at, finished_at, worked, failed)
VALUES ({worker}, {started}, {now}, {worked}, {failed})
ON CONFLICT (pass_name) DO UPDATE SET started_at = excluded.started_at, finished_at = excluded.finished_at,
  worked = excluded.worked, failed = excluded.failed"""


# Seconds between two looks. On SQLite a look takes some ten microseconds, less than waking up for it does;
# on PostgreSQL it is a query to a server that has other work.
SQLITE_EVERY_S, POSTGRESQL_EVERY_S = 0.25, 1.0


class Look:
    """One open connection that answers whether a pass has something to do, and notes that it ran; a context manager.

    `url` and `look_s` (0: hosts are not looked at) as in the settings; it may be asked every `every_s` seconds.
    SiteError when the schema is not this release's. Any error of the driver is the caller's to handle: the database
    may be away.
    """

    def __init__(self, url: str, look_s: float = 0.0) -> None:
        self._silence = timedelta(seconds=look_s)
        if url.startswith("sqlite:///"):
            path = url.removeprefix("sqlite:///")
            self._connection: Any = sqlite3.connect(path, timeout=20, isolation_level=None)
            # The one thing that is written here may be lost in a power cut: no reason to wait for the disk.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._moment, mark = _sqlite_time, ":{}"
            seconds = "(julianday(ready_at) - julianday(building_at)) * 86400"
            self.every_s = SQLITE_EVERY_S
        else:
            import psycopg  # an SQLite site must not pay for it each minute

            plain = url.replace("+psycopg", "", 1)
            # The planner cannot know that `want <> have` is rare and would read the whole past each second.
            options = "-c enable_seqscan=off -c jit=off"
            self._connection = psycopg.connect(plain, autocommit=True, connect_timeout=10, options=options)
            self._moment, mark = _same, "%({})s"
            seconds = "extract(epoch FROM ready_at - building_at)::float"
            self.every_s = POSTGRESQL_EVERY_S
        parameters = ("worker", "now", "soon", "silent_since", "started", "worked", "failed")
        names = {name: mark.format(name) for name in parameters}
        self._reservations = RESERVATIONS.format(**names)
        self._resources, self._hosts = RESOURCES.format(**names), HOSTS.format(**names)
        self._run, self._builds = RUN.format(**names), BUILDS.format(seconds=seconds, history=HISTORY)
        if lack := revision.lack(self._revision()):
            self._connection.close()
            raise SiteError(lack)

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def is_due(self, pass_name: str, lead: timedelta, now: datetime | None = None) -> bool:
        """Whether the pass has something to do at `now` (None: by this machine's clock); `lead` is how long
        before a slot building begins."""
        now = now or datetime.now(UTC)
        values = {"worker": pass_name, "now": self._moment(now), "soon": self._moment(now + lead)}
        values["silent_since"] = self._moment(now - self._silence)
        queries = [self._reservations] if pass_name == "schedule" else [self._resources]
        if pass_name != "schedule" and self._silence:
            queries.append(self._hosts)
        return any(self._connection.execute(query, values).fetchone() is not None for query in queries)

    def past_builds_s(self) -> list[float]:
        """How long the latest builds took, in seconds, as `plan.timing.lead` wants to know."""
        return [row[0] for row in self._connection.execute(self._builds).fetchall()]

    def note_run(self, pass_name: str, started: datetime, worked: int, failed: int) -> None:
        """Write that the pass, at work since `started`, is well now: the heartbeat, in place of the one before."""
        values = {"worker": pass_name, "worked": worked, "failed": failed}
        values |= {"started": self._moment(started), "now": self._moment(datetime.now(UTC))}
        self._connection.execute(self._run, values)

    def _revision(self) -> str | None:
        try:
            found = self._connection.execute(revision.FOUND).fetchone()
        except Exception as why:
            if is_away(why):
                raise
            return None
        return str(found[0]) if found else None


def _sqlite_time(value: datetime) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def _same(value: datetime) -> Any:
    return value
