# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Booking and listing over HTTP at 3,000 reservations, beside Slurm and OAR (P3, P4, P11).

Ours goes through the whole web server: token, JSON, validation, ledger lock, audit row, durable commit. Slurm's is
`scontrol create reservation` and slurmrestd's list; it keeps reservations in memory and writes them out later. OAR's is
`oarsub -r`, which waits until its scheduler has spoken. Usage: python -m bench.http [--no-peer].
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from app.booking import token
from app.db.base import Database
from bench import booking_site, measure, oar, processes, site, slurm
from tests import postgresql
from tests.conftest import migrate

ROOT = Path(__file__).parents[1]
HOSTS, EXISTING, CLIENTS = 100, 3_000, 8
ONE_BY_ONE, AT_ONCE, LISTS = 25, 40, 5
TOGETHER, ROUNDS = 20, 3
SETTINGS = """\
database = "{url}"
[web]
secret_key_file = "{folder}/secret.key"
[booking]
hold_hours = 720
[network]
first_id = 1
last_id = 60000
public = "10.0.0.0/8"
public_first = "10.0.0.10"
public_last = "10.0.250.1"
public_gateway = "10.0.0.1"
"""


@dataclass(frozen=True)
class Web:
    """Our web server at work: where, as which process, and a token for it."""

    port: int
    pid: int
    secret: str

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return processes.cpu([self.pid])


def main() -> None:
    """Book one by one beside Slurm, then with eight clients, on SQLite and on PostgreSQL, and publish."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--no-peer", action="store_true", help="leave Slurm out")
    peer_wanted = not options.parse_args().no_peer
    if peer_wanted:
        subprocess.run([ROOT / ".ci" / "setup", Path(__file__).with_name("packages.txt")], check=True)
    results = []
    postgresql.SETTINGS |= {"fsync": "on", "full_page_writes": "on"}
    with ExitStack() as stack:
        peer = stack.enter_context(_slurm()) if peer_wanted else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        server = stack.enter_context(postgresql.server())
        for kind in ("SQLite", "PostgreSQL"):
            with _webs(kind, folder, server) as webs:
                results += _one_by_one(webs[0], kind, peer)
                results += _lists(webs[0], kind, peer)
                if peer_wanted and kind == "PostgreSQL":
                    with oar.running(server, HOSTS) as other:
                        results += _beside_oar(webs[0], other)
                results += _at_once(webs[:1], kind) + _at_once(webs, kind)
    caveats = [
        "scontrol is a process a reservation, with no nodes but in the controller's memory; `ping` is its floor",
        "ours are 8 nodes and a frontend, durable; one process of waitress serves all clients, where no more are named",
        "the eight clients are processes on the same two cores",
        "OAR answers when its scheduler has run, every 10 s or so: its figure is that period; its data are in the same"
        " PostgreSQL",
        f"a list of ours comes in {EXISTING // 1000} parts of 1,000; Slurm's is one answer",
    ]
    measure.publish(
        "http", results, versions={"slurm": "22.05", "oar": "2.5.9"} if peer else {}, caveats=caveats
    )


@contextmanager
def _slurm() -> Iterator[slurm.Slurm]:
    with slurm.running(HOSTS) as peer:
        for _ in range(EXISTING):
            peer.reserve()
        yield peer


@contextmanager
def _webs(kind: str, folder: Path, server: str) -> Iterator[list[Web]]:
    """Two processes of waitress over one site of HOSTS hosts with EXISTING reservations."""
    if kind == "SQLite":
        url = f"sqlite:///{folder}/site.sqlite"
    else:
        url = server.format(database="bench_http")
        plain = make_url(server.format(database="postgres"))
        dsn = f"host={plain.query['host']} user={plain.username} dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(b"CREATE DATABASE bench_http")
    migrate(url)
    database = Database(url)
    now = datetime.now(UTC)
    account = booking_site.fill(database, HOSTS, booking_site.Booked(EXISTING, now))
    secret = token.make(database, account, "bench", 9, now=now)
    database.close()
    (folder / "secret.key").touch(0o600)
    (folder / "secret.key").write_text("bench" * 10)
    config = folder / "leasehold.toml"
    config.write_text(SETTINGS.format(url=url, folder=folder))
    environment, log = os.environ | {"LEASEHOLD_CONFIG": str(config)}, folder / "web.log"
    with site.serving(environment, log) as one, site.serving(environment, log) as other:
        yield [Web(int(address.rpartition(":")[2]), pid, secret) for address, pid in (one, other)]


def _one_by_one(web: Web, kind: str, peer: slurm.Slurm | None) -> list[measure.Result]:
    """One client and scontrol in turn, each the next reservation when the last is answered."""
    door = _door(web)
    bodies = _wishes(f"one-{kind.lower()}", ONE_BY_ONE + 3)
    for body in bodies[:3]:
        _book(door, web.secret, body)
    before, ours, theirs, floor = web.cpu(), [], [], []
    for body in bodies[3:]:
        ours.append(_book(door, web.secret, body))
        if peer:
            theirs.append(peer.reserve())
            floor.append(peer.ping())
    cpu = (web.cpu() - before) / ONE_BY_ONE
    door.close()
    name = f"accept 8 nodes over HTTP at {EXISTING}, {kind}"
    peer_name = "Slurm 22.05, scontrol" if peer else ""
    results = [measure.compare(name, ours, peer=theirs or None, peer_name=peer_name)]
    results.append(measure.compare(f"{name}, our CPU", [cpu]))
    if peer:
        results.append(measure.compare("scontrol ping", floor))
    return results


def _lists(web: Web, kind: str, peer: slurm.Slurm | None) -> list[measure.Result]:
    """All reservations, ours and Slurm's in turn."""
    door = _door(web)
    ours, theirs = [], []
    for _ in range(LISTS + 1):
        ours.append(_list(door, web.secret))
        theirs += [peer.list()] if peer else []
    door.close()
    peer_name = "Slurm 22.05, slurmrestd" if peer else ""
    name = f"list of {EXISTING} over HTTP, {kind}"
    return [measure.compare(name, ours[1:], peer=theirs[1:] or None, peer_name=peer_name)]


def _beside_oar(web: Web, peer: oar.Oar) -> list[measure.Result]:
    """One, and twenty at once, each beside OAR in turn."""
    ours, theirs, ours_together, theirs_together = [], [], [], []
    peer.reserve()
    for number in range(measure.PAIRS):
        door = _door(web)
        ours.append(_book(door, web.secret, _wishes(f"alone{number}", 1)[0]))
        door.close()
        theirs.append(peer.reserve())
    for number in range(ROUNDS):
        bodies = [_wishes(f"t{number}-{one}", 1) for one in range(TOGETHER)]
        with ThreadPoolExecutor(TOGETHER) as pool:
            begun = time.perf_counter()
            list(pool.map(_client, [web] * TOGETHER, bodies))
            ours_together.append(time.perf_counter() - begun)
        theirs_together.append(peer.at_once(TOGETHER))
    name = "OAR 2.5.9"
    return [
        measure.compare("accept 8 nodes over HTTP, PostgreSQL", ours, peer=theirs, peer_name=name),
        measure.compare(
            f"{TOGETHER} asked for at once, until all are answered, PostgreSQL",
            ours_together,
            peer=theirs_together,
            peer_name=name,
        ),
    ]


def _at_once(webs: Sequence[Web], kind: str) -> list[measure.Result]:
    """Eight clients, spread over the processes, each the next reservation as soon as the last is answered."""
    before = sum(web.cpu() for web in webs)
    parts = [_wishes(f"c{number}-{len(webs)}-{kind.lower()}", AT_ONCE) for number in range(CLIENTS)]
    with ProcessPoolExecutor(CLIENTS) as pool:
        begun = time.perf_counter()
        answers = list(pool.map(_client, list(webs) * (CLIENTS // len(webs)), parts))
        wall = time.perf_counter() - begun
    times = [time for part in answers for time in part]
    p99 = statistics.quantiles(times, n=100)[98]
    who = f"{CLIENTS} clients booking over HTTP, {kind}" + (
        f", {len(webs)} web processes" if webs[1:] else ""
    )
    cpu = sum(web.cpu() for web in webs) - before
    return [
        measure.compare(f"{who}, rate", [len(times) / wall], unit="/s"),
        measure.compare(f"{who}, median", times),
        measure.compare(f"{who}, p99", [p99]),
        measure.compare(f"{who}, server's CPU each", [cpu / len(times)]),
    ]


def _client(web: Web, bodies: Sequence[bytes]) -> list[float]:
    door = _door(web)
    times = [_book(door, web.secret, body) for body in bodies]
    door.close()
    return times


def _wishes(name: str, number: int) -> list[bytes]:
    """Bodies of requests for 8 nodes for eight hours, on the days to come."""
    start = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    bodies: list[dict[str, Any]] = []
    for index in range(number):
        begin = start + timedelta(hours=8 * index)
        wish = booking_site.wish(f"{name}-{index}", begin, begin + timedelta(hours=8))
        wish |= {"start": begin.isoformat(), "end": wish["end"].isoformat()}
        bodies.append(wish | {"users": [{"name": "alice", "keys": [booking_site.KEY]}]})
    return [json.dumps(body).encode() for body in bodies]


def _door(web: Web) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)


def _book(door: http.client.HTTPConnection, secret: str, body: bytes) -> float:
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    begun = time.perf_counter()
    door.request("POST", "/api/v1/reservations", body, headers)
    answer = door.getresponse()
    text = answer.read()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status}: {text[:1000]!r}")
    return time.perf_counter() - begun


def _list(door: http.client.HTTPConnection, secret: str) -> float:
    begun, number = time.perf_counter(), 0
    path: str | None = "/api/v1/reservations?state=all&limit=1000"
    while path:
        door.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
        answer = door.getresponse()
        page = json.loads(answer.read())
        number += len(page["reservations"])
        path = page["next"]
    if number < EXISTING:
        raise RuntimeError(f"{number} reservations were listed, there are {EXISTING} at least")
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
