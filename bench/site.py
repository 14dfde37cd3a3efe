# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A Leasehold site over the lab `bench`: hosts, database, web server and passes, all by the real commands."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

import lab
from app.db.base import Database
from app.db.pass_run import PASSES
from app.db.reservation import Reservation
from app.settings import Settings, load
from bench import processes
from lab import site as sites
from lab import traces
from lab.browser import Person
from lab.run import LabError, run
from lab.site import LEASEHOLD, ROOT, Site

LAB = "bench"
LOOK_S = 0.02


@dataclass
class Bench:
    """The site at work: its web server's address and process, its database, and who is logged in there."""

    site: Site
    settings: Settings
    database: Database
    address: str
    web: int
    user_key: str
    asks: Person
    decides: Person

    def book(self, name: str, nodes: int, **over: str) -> int:
        """Ask for a cluster for two hours from now in the form; return its id."""
        wish = {
            "name": name,
            "start": "",
            "end": (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%MZ"),
            "groups-0-node_count": str(nodes),
            "groups-0-node_names": "",
            "groups-0-vcpus": "1",
            "groups-0-memory_mib": "512",
            "groups-0-disk_gib": "4",
            "home_gib": "1",
            "rolls": ["nfs", "slurm"],
            "users": f"alice {self.user_key}",
            "note": "",
        } | over
        page = self.asks.send("/reservations/new", wish, action="/reservations/new")
        return int(page.rpartition("/")[2])

    def approve(self, reservation_id: int) -> None:
        """Approve it on the page, on which no other request may stand before it."""
        self.decides.send("/admin/approvals", {}, action=f"/approvals/{reservation_id}/approve")

    def cancel(self, reservation_id: int, name: str) -> None:
        """Cancel it on its page."""
        self.asks.send(f"/reservations/{reservation_id}/cancel", {"name": name}, action="/cancel")

    def wait_for(self, state: str, ids: Sequence[int], within_s: float) -> None:
        """Return as soon as all these reservations are in this state; read from the database, so as to cost no one."""
        until = time.monotonic() + within_s
        query = select(Reservation.id, Reservation.state, Reservation.why).where(Reservation.id.in_(ids))
        while time.monotonic() < until:
            with self.database.reading() as session:
                found = session.execute(query).all()
            if all(row.state == state for row in found):
                return
            time.sleep(LOOK_S)
        raise LabError(f"not {state} after {within_s:g} s: {found}")


@contextmanager
def running(settings: Mapping[str, dict[str, Any]]) -> Iterator[Bench]:
    """The lab up, the site made over it, the web server started and two people logged in; all gone afterwards."""
    described = lab.up(LAB, fresh=True)
    try:
        with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
            folder = Path(name)
            made = sites.make(folder, described, settings=dict(settings))
            sites.add_hosts(made, described)
            key = folder / "user_key"
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", str(key)])
            with serving(made.environment, folder / "web.log") as (address, web):
                database = Database(f"sqlite:///{folder}/leasehold.sqlite")
                people = [Person(address, who, made.passwords[who]) for who in ("alice", "carol")]
                public = key.with_suffix(".pub").read_text().strip()
                yield Bench(made, load(str(made.config)), database, address, web, public, *people)
                database.close()
    finally:
        lab.down(LAB)


@contextmanager
def passes(made: Site, seconds: int = 600) -> Iterator[list[int]]:
    """The five passes as processes that watch, as cron starts them; yields their process ids."""
    argv = [[str(LEASEHOLD), "pass", name, "--for", f"{seconds}s"] for name in PASSES]
    started = [subprocess.Popen(words, cwd=ROOT, env=made.environment) for words in argv]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=30)


@contextmanager
def serving(environment: Mapping[str, str], log: Path) -> Iterator[tuple[str, int]]:
    """The web server under waitress, answering; yields its address and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    argv = [sys.executable, "-m", "app.wsgi", "--listen", listen]
    with (
        log.open("ab") as said,
        subprocess.Popen(argv, stdout=said, stderr=said, cwd=ROOT, env=environment) as process,
    ):
        try:
            _await_answer(f"http://{listen}", process)
            yield f"http://{listen}", process.pid
        finally:
            process.terminate()


def _await_answer(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(f"{address}/healthz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise LabError("the web server did not start")


def host_cpu() -> float:
    """Seconds of CPU that the hosts of the lab have used: daemons, logins, helpers, guests."""
    the_lab = lab.lab(LAB)
    first = [traces.first_process(the_lab, host.name) for host in the_lab.hosts]
    return sum(processes.cpu(processes.of_namespace(pid)) for pid in first if pid)
