# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Accepting a reservation: against Blazar, with growing history, and the earliest slot (P1, P2).

Ours goes through its public entry: validation, placement, ledger lock, audit row, durable commit, on a database of
its own. Blazar 18 is driven below its REST layer on SQLite (see `bench/booking_blazar.py`), in a process of its own
between two of our runs. Usage: python -m bench.booking [--no-peer] [--small].
"""

from __future__ import annotations

import argparse
import gc
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy
from sqlalchemy.engine import make_url

from app.booking import availability
from app.booking.request import request
from app.db.account import Account
from app.db.base import Database
from app.domain.shape import Shape
from app.domain.shape_input import validate_shape
from app.settings import Booking, Network, Settings
from bench import chart, measure
from bench.booking_site import NOW, Booked, fill, install_blazar, wish
from tests import postgresql
from tests.conftest import migrate

SETTINGS = Settings(
    booking=Booking(max_nodes=4000),
    network=Network(
        first_id=1, last_id=60_000, public="10.0.0.0/8", public_first="10.0.0.10", public_last="10.0.250.1",
        public_gateway="10.0.0.1",
    ),
)  # fmt: skip
# Hosts, reservations.
SIZES = ((100, 100), (100, 1_000), (100, 10_000), (1_000, 100_000))
# Hosts, clusters.
CROWD = (2_500, 4_093)
TRIES = 25
MONTH = timedelta(days=30)


def main() -> None:
    """Run the parts in turn and publish them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-peer", action="store_true", help="leave Blazar out")
    options.add_argument("--small", action="store_true", help="leave 1,000 hosts out")
    chosen = options.parse_args()
    blazar = None if chosen.no_peer else install_blazar()
    results = []
    drawn: dict[str, list[tuple[float, float]]] = {}
    # As the web server does when it has started.
    gc.freeze()
    postgresql.SETTINGS |= {"fsync": "on", "full_page_writes": "on"}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, postgresql.server() as server:
        for kind in ("SQLite", "PostgreSQL"):
            growth: dict[tuple[int, int], list[float]] = {}
            for hosts, existing in SIZES[: 3 if chosen.small else 4]:
                with _site(kind, Path(folder), server, hosts, Booked(existing)) as (database, account):
                    where = f"{hosts} hosts x {existing}, {kind}"
                    _accept(database, account, 3)  # warm-up
                    costs = _accept(database, account, TRIES)
                    peer = None
                    if blazar and hosts == 100 and kind == "SQLite":
                        peer = _blazar(blazar, hosts, existing)
                        costs += _accept(database, account, TRIES)
                    growth[hosts, existing] = cpus = [cost.cpu for cost in costs]
                    floor = _floor(Path(folder)) if kind == "SQLite" else None
                    peer_name = "Blazar 18.0.0" if peer else ""
                    walls = [cost.wall for cost in costs]
                    drawn.setdefault(f"Leasehold, {kind}", []).append((existing, statistics.median(walls)))
                    if peer:
                        drawn.setdefault(peer_name, []).append((existing, statistics.median(peer)))
                    name = f"accept 8 nodes, {where}"
                    results.append(measure.compare(name, walls, peer=peer, peer_name=peer_name, floor=floor))
                    results.append(measure.compare(f"{name}, our CPU", cpus))
                    results += _earliest(database, where)
                    print(*results[-6:], sep="\n", file=sys.stderr)
            if not chosen.small:
                results += _crowded(kind, Path(folder), server)
            for bigger in list(growth)[2:]:
                ratio = statistics.median(growth[bigger]) / statistics.median(growth[100, 100])
                name = f"growth of CPU from 100 x 100 to {bigger[0]} x {bigger[1]}, {kind}"
                results.append(measure.compare(name, [ratio], unit="times"))
    title = "One more reservation, wall time (100 hosts; 1,000 hosts at 100,000)"
    (measure.RESULTS / "booking.svg").write_text(chart.growth(title, "reservations there are", drawn))
    measure.publish(
        "booking",
        results,
        versions={"sqlite": sqlite3.sqlite_version, "sqlalchemy": sqlalchemy.__version__, "blazar": "18.0.0"},
        caveats=[
            "Blazar is driven below its REST layer, with Keystone and Nova stubbed, and books 4 hosts: it flatters it",
            "ours are 8 nodes and a frontend; at 100 hosts x 10000 each host carries about two nodes at any time",
            "nine tenths of the reservations lie in the past, as on a site after a year; Blazar's lie ahead",
            "the floor is one durable insert of 20 rows with an overlap query on SQLite",
        ],
    )


def _dsn(server: str) -> str:
    url = make_url(server.format(database="postgres"))
    return f"host={url.query['host']} user={url.username} dbname=postgres"


@contextmanager
def _site(
    kind: str, folder: Path, server: str, hosts: int, booked: Booked
) -> Iterator[tuple[Database, Account]]:
    name = f"bench_{hosts}_{booked.number}"
    if kind == "SQLite":
        url = f"sqlite:///{folder / name}.db"
    else:
        with psycopg.connect(_dsn(server), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = server.format(database=name)
    migrate(url)
    database = Database(url)
    try:
        yield database, fill(database, hosts, booked)
    finally:
        database.close()


def _accept(
    database: Database, account: Account, number: int, every: timedelta = MONTH / 30
) -> list[measure.Cost]:
    """What each of `number` bookings of 8 nodes costs, the next starting `every` so much later."""
    return [_one(database, account, NOW + every * (index + 1)) for index in range(number)]


def _one(database: Database, account: Account, start: datetime) -> measure.Cost:
    raw = wish(f"b{time.perf_counter_ns()}", start, start + timedelta(hours=8))
    return measure.timed(lambda: request(database, SETTINGS, account, raw, rolls=("nfs", "slurm"), now=NOW))


def _crowded(kind: str, folder: Path, server: str) -> list[measure.Result]:
    """One more of 8 nodes beside as many clusters at once as there are VLANs, with 12,279 guests (P14)."""
    hosts, clusters = CROWD
    with _site(kind, folder, server, hosts, Booked(clusters, nodes=2, at_once=True)) as (database, account):
        _accept(database, account, 3, every=timedelta(minutes=1))
        costs = _accept(database, account, TRIES, every=timedelta(minutes=1))
    name = f"accept 8 nodes, {hosts} hosts with {clusters} clusters at once, {kind}"
    walls, cpus = [cost.wall for cost in costs], [cost.cpu for cost in costs]
    return [measure.compare(name, walls), measure.compare(f"{name}, our CPU", cpus)]


def _earliest(database: Database, where: str) -> list[measure.Result]:
    """Of 64 nodes for 7 days: small ones, for which there is room now, and such as need whole hosts, which are taken
    for the next weeks."""
    week = timedelta(days=7)
    results = []
    for what, vcpus in (("room now", 2), ("room in weeks", 60)):
        shape = validate_shape(
            {"node_count": 64, "vcpus": vcpus, "memory_mib": 4000, "disk_gib": 10, "home_gib": 50}
        )

        def ask(shape: Shape = shape) -> object:
            return availability.earliest(database, SETTINGS, shape, week, NOW, now=NOW)

        costs = [measure.timed(ask) for _ in range(measure.PAIRS + 1)][1:]
        name = f"earliest slot, {what}, {where}"
        results.append(measure.compare(name, [cost.wall for cost in costs]))
        results.append(measure.compare(f"{name}, our CPU", [cost.cpu for cost in costs]))
    return results


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _blazar(python: Path, hosts: int, existing: int) -> list[float]:
    """Wall seconds of five create_lease calls of Blazar's manager with `existing` leases."""
    script = Path(__file__).parent / "booking_blazar.py"
    # -P: or bench/http.py would stand before the http of the standard library.
    argv = [str(python), "-P", "-W", "ignore", str(script), str(hosts), str(existing), str(measure.PAIRS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def _floor(folder: Path) -> list[float]:
    """Seconds of a durable transaction of 20 rows with an overlap query, straight on sqlite3."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS a (host int, start int, stop int, n int)")
    connection.execute("CREATE INDEX IF NOT EXISTS i ON a (host, start)")

    def once() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT sum(n) FROM a WHERE host = 1 AND start < 9 AND stop > 1").fetchone()
        connection.executemany("INSERT INTO a VALUES (?, ?, ?, ?)", [(i, 1, 2, 1) for i in range(20)])
        connection.execute("COMMIT")

    times = [_seconds(once) for _ in range(TRIES)]
    connection.close()
    return times


if __name__ == "__main__":
    main()
