# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""P10: what passes with nothing to do cost, with 100 hosts and 10,000 past reservations in the database.

For each pass the CPU of one look (`leasehold pass NAME --once`), beside the floor: a Python that asks an
empty SQLite database one question. Then all five watching for a minute as cron starts them, and whether the look
reads any table whole.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import text

from app.db import look
from app.db.base import Database
from app.db.pass_run import PASSES
from bench import history
from bench.measure import Cost, Result, compare, in_turn, publish
from lab.site import LEASEHOLD, ROOT
from tests import postgresql

HOSTS, PAST = 100, 10_000
LOOKS, MINUTES = 11, 3
WATCH_S = 55
MINUTE_S = 60.0
# They grow with the site's past; `host` has a row for each host only.
GROWING = ("reservation", "resource", "need")
CAVEATS = [
    "CPU of the pass processes, both Pythons of the `leasehold` command included; a PostgreSQL server's own is not",
    "a minute: five processes started once and watching for 55 s, over 60 s of one core",
]
BARE = "import sqlite3; sqlite3.connect(':memory:').execute('SELECT 1').fetchone()"


def main() -> None:
    """Measure on both kinds of database, or on the one that is named."""
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
        for kind in sys.argv[1:] or ("sqlite", "postgresql"):
            with _database(kind, Path(name)) as url:
                environment = _filled(Path(name), kind, url)
                print(f"{kind}: {_plans(url)}")
                results = _looks(kind, environment) + _minute(kind, environment)
                publish("idle", results, versions={"sqlite": sqlite3.sqlite_version}, caveats=CAVEATS)


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/leasehold.sqlite"
        return
    with postgresql.server() as url:
        socket = url.rpartition("host=")[2]
        with psycopg.connect(
            host=socket, user=postgresql.SUPERUSER, dbname="postgres", autocommit=True
        ) as db:
            db.execute("CREATE DATABASE bench")
        yield url.format(database="bench")


def _filled(folder: Path, kind: str, url: str) -> dict[str, str]:
    """The environment of a site over this database, which is filled."""
    config = folder / f"{kind}.toml"
    lines = [f'database = "{url}"', f'ssh_key_file = "{folder}/id"', f'site_key_file = "{folder}/site.key"']
    config.write_text("\n".join([*lines, "[web]", f'secret_key_file = "{folder}/web.key"', ""]))
    environment = {**os.environ, "LEASEHOLD_CONFIG": str(config)}
    subprocess.run([LEASEHOLD, "init"], env=environment, cwd=ROOT, check=True, timeout=120)
    began = time.monotonic()
    database = Database(url)
    history.write(database, HOSTS, PAST)
    database.close()
    print(f"{kind}: {PAST} past reservations written in {time.monotonic() - began:.0f} s")
    return environment


def _looks(kind: str, environment: dict[str, str]) -> list[Result]:
    contestants = {
        name: lambda name=name: _run([[str(LEASEHOLD), "pass", name, "--once"]], environment)
        for name in PASSES
    }
    bare = [sys.executable, "-c", BARE]
    costs = in_turn({**contestants, "floor": lambda: _run([bare], environment)}, LOOKS)
    floor = [cost.cpu for cost in costs["floor"]]
    return [
        compare(f"P10 {kind}, one look of {name}, cpu", [cost.cpu for cost in costs[name]], floor=floor)
        for name in PASSES
    ]


def _minute(kind: str, environment: dict[str, str]) -> list[Result]:
    """All five for a minute, as a share of one core, and how much of it is spent on starting them."""
    watching = [[str(LEASEHOLD), "pass", name, "--for", f"{WATCH_S}s"] for name in PASSES]
    starting = [[str(LEASEHOLD), "pass", name, "--once"] for name in PASSES]
    costs = [(_run(watching, environment).cpu, _run(starting, environment).cpu) for _ in range(MINUTES)]
    share = [100.0 * whole / MINUTE_S for whole, _ in costs]
    starts = [100.0 * start / MINUTE_S for _, start in costs]
    name = f"P10 {kind}, five idle passes (floor: their starts)"
    return [compare(name, share, floor=starts, unit="% of a core")]


def _run(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> Cost:
    """What these processes cost together; all must end well."""
    began = time.perf_counter()
    started = [subprocess.Popen(argv, env=environment, cwd=ROOT) for argv in commands]
    cpu = 0.0
    for process in started:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        cpu += used.ru_utime + used.ru_stime
    return Cost(time.perf_counter() - began, cpu)


def _plans(url: str) -> str:
    """A sentence on the plans of the look's queries; RuntimeError when a table that grows is read whole."""
    database = Database(url)
    explain = "EXPLAIN QUERY PLAN" if url.startswith("sqlite") else "EXPLAIN"
    moment = "'2026-11-20 12:00:00.000000'"
    with database.reading() as session:
        if not url.startswith("sqlite"):
            session.execute(text("SET enable_seqscan = off"))  # as the look does
        of_passes = [(query, name) for query in (look.RESOURCES, look.HOSTS) for name in PASSES[1:]]
        for query, name in ((look.RESERVATIONS, "schedule"), *of_passes):
            filled = query.format(worker=f"'{name}'", now=moment, soon=moment, silent_since=moment)
            plan = [" ".join(map(str, row)) for row in session.execute(text(f"{explain} {filled}"))]
            if whole := read_whole(plan):
                raise RuntimeError("tables are read whole:\n" + "\n".join(whole))
    database.close()
    return "the look reads its rows by index alone"


def read_whole(plan: Sequence[str]) -> list[str]:
    """The lines of a plan (of SQLite or PostgreSQL) that read a table that grows from one end to the other."""
    whole = []
    for line in plan:
        words = line.replace("(", " ").split()
        if "SCAN" in words and "INDEX" not in words:
            whole += [line] if words[words.index("SCAN") + 1] in {"r", "v", "n", "o", *GROWING} else []
        elif "Seq Scan on" in line:
            whole += [line] if words[words.index("on") + 1] in GROWING else []
    return whole


if __name__ == "__main__":
    main()
