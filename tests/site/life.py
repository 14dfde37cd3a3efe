# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole lives of small clusters: book and end them, run the passes as processes, wait, and tell what stands where."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

import lab as labs
from app.booking import decide
from app.booking.request import request
from app.booking.resize import resize
from app.booking.suspend import resume, suspend
from app.db import ledger, resource, site
from app.db.account import Account, by_name
from app.db.base import Database
from app.db.event import Event
from app.db.pass_run import PASSES
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.request import User
from app.settings import load
from lab.plan import HOST_DIR, Lab
from lab.site import LEASEHOLD, Site
from tests.factories import KEY

# A tiny guest takes seven seconds of a processor to boot; the machine may be busy with other things.
READY_WITHIN_S = 240.0
ENDED_WITHIN_S = 120.0
ROLLS = ("nfs", "slurm")


@dataclass
class Life:
    """One site over the lab with a database of its own; `before` is what was on the hosts when the test began."""

    lab: Lab
    site: Site
    database: Database
    before: dict[str, Any]
    starts_before: Counter[str] = field(default_factory=Counter)

    def book(self, computes: int = 1, owner: str = "alice", **over: Any) -> int:
        """Book and approve a cluster for an hour from now; `over` replaces what is asked for."""
        now = datetime.now(UTC)
        wish = {
            "name": f"life{now:%H%M%S%f}",
            "end": now + timedelta(hours=1),
            "node_count": computes,
            "vcpus": 1,
            "memory_mib": 384,
            "disk_gib": 3,
            "home_gib": 1,
            "rolls": list(ROLLS),
            "users": [User("alice", (KEY,))],
        } | over
        settings = load(str(self.site.config))
        asks, made_of = self.account(owner), ("compute", "devel", "emulated")
        booked = request(self.database, settings, asks, wish, rolls=ROLLS, appliances=made_of, now=now)
        decide.approve(self.database, settings, self.account("carol"), booked, 1, now=now)
        return booked

    def resize(self, booked: int, computes: int, within_s: float = READY_WITHIN_S) -> None:
        """Let it have so many compute nodes, by a cluster provider, and come back when they are there or gone.

        Nothing of the nodes that went is left then, and the acceptance test passed on those that stayed.
        """
        settings, version = load(str(self.site.config)), self.reservation(booked).version
        carol, now = self.account("carol"), datetime.now(UTC)
        resize(self.database, settings, carol, booked, version, {"node": computes}, now=now)
        self.until(lambda: self.stands_with(booked, computes), f"not resized to {computes}", booked, within_s)

    def suspend(self, booked: int, within_s: float = READY_WITHIN_S) -> None:
        """Have it suspended by its owner, and come back when it is."""
        settings, version = load(str(self.site.config)), self.reservation(booked).version
        suspend(self.database, settings, self.account("alice"), booked, version, now=datetime.now(UTC))
        self.wait(booked, "suspended", within_s)

    def resume(self, booked: int, within_s: float = READY_WITHIN_S) -> None:
        """Have it resumed by its owner, and come back when it is ready."""
        settings, version = load(str(self.site.config)), self.reservation(booked).version
        resume(self.database, settings, self.account("alice"), booked, version, now=datetime.now(UTC))
        self.wait(booked, "ready", within_s)

    def stands_with(self, booked: int, computes: int) -> bool:
        """Whether it has this many compute nodes and every row of it is as wanted."""
        with self.database.reading() as session:
            nodes = [node for node in session.get_one(Reservation, booked).nodes if node.kind == "compute"]
            rows = resource.of_reservation(session, booked)
            laid = {row.node_id for row in rows}
            settled = all(row.want == row.have == "present" for row in rows)
        return settled and len(nodes) == computes and {node.id for node in nodes} <= laid

    def cancel(self, booked: int, by: str = "alice") -> None:
        """Call it off, as its owner does, or `by` somebody else."""
        decide.cancel(self.database, self.account(by), booked, now=datetime.now(UTC))

    def let_the_slot_end(self, booked: int) -> None:
        """Move the end of the slot to now."""
        with self.database.writing() as session:
            session.execute(
                update(Reservation).where(Reservation.id == booked).values(end_at=datetime.now(UTC))
            )

    def account(self, name: str) -> Account:
        """The account of that name."""
        with self.database.reading() as session:
            found = by_name(session, name)
        assert found is not None
        return found

    def reservation(self, booked: int) -> Reservation:
        """Its row."""
        with self.database.reading() as session:
            return session.get_one(Reservation, booked)

    def rows(self, booked: int) -> list[Resource]:
        """Its resource rows, and the images' ones that all clusters share."""
        with self.database.reading() as session:
            shared = session.scalars(select(Resource).where(Resource.reservation_id.is_(None))).all()
            return [*resource.of_reservation(session, booked), *shared]

    def row(self, booked: int, op: str, host: str) -> Resource:
        """One of its rows."""
        number = self.host(host).id
        return next(row for row in self.rows(booked) if (row.op, row.host_id) == (op, number))

    def host(self, name: str) -> Host:
        """The host's row."""
        with self.database.reading() as session:
            found = site.host_by_name(session, name)
        assert found is not None
        return found

    def events(self, booked: int | None = None) -> list[Event]:
        """All events, or those of one reservation, the oldest first."""
        with self.database.reading() as session:
            query = select(Event).order_by(Event.id)
            if booked is not None:
                query = query.where(Event.reservation_id == booked)
            return list(session.scalars(query))

    def held(self, booked: int) -> tuple[int, int]:
        """How many pool numbers and how many allocations it holds, at one moment."""
        with self.database.reading() as session:
            open_ones = [row for row in ledger.of_reservation(session, booked) if row.released_at is None]
            return len(site.assignments(session, booked)), len(open_ones)

    @contextmanager
    def passes(self, sets: int = 1, **environment: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """`sets` copies of all five passes at work, each a process of its own; killed at the end."""
        started = [self.start(name, **environment) for _ in range(sets) for name in PASSES]
        try:
            yield started
        finally:
            stop(started)

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """One pass at work."""
        with (self.site.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(LEASEHOLD), "pass", name, "--for", "3600s"],
                env=self.site.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(
        self, booked: int, state: str, within_s: float, also: Callable[[], object] | None = None
    ) -> None:
        """Come back when it is in that state; the test fails with all there is to know when it takes too long.

        `also` is called again and again meanwhile.
        """
        self.until(lambda: self.reservation(booked).state == state, f"not {state}", booked, within_s, also)

    def until(
        self,
        is_so: Callable[[], bool],
        what: str,
        booked: int,
        within_s: float = 60,
        also: Callable[[], object] | None = None,
    ) -> None:
        """Come back when `is_so`; the test fails with `what` when it takes too long."""
        end = time.monotonic() + within_s
        while not is_so():
            if also is not None:
                also()
            if time.monotonic() > end:
                pytest.fail(f"{what} after {within_s} s:\n{self.tell(booked)}")
            time.sleep(0.2)

    def starts(self) -> Counter[str]:
        """How often libvirt started each guest since the test began."""
        return starts(self.lab) - self.starts_before

    def snapshot(self) -> dict[str, Any]:
        """What is on the hosts now, to be compared with `before`."""
        return of_clusters(labs.snapshot(self.lab.name))

    def assert_nothing_is_left(self, booked: int) -> None:
        """The hosts are as before the test, and the site's numbers and room are free."""
        assert self.snapshot() == of_clusters(self.before), self.tell(booked)
        assert self.held(booked) == (0, 0), self.tell(booked)

    def tell(self, booked: int) -> str:
        """What stands where, for the message of a failure."""
        one = self.reservation(booked)
        lines = [f"reservation {one.id} {one.state}: {one.why}"]
        for row in self.rows(booked):
            said = "" if row.want == row.have else f" {row.why or ''} {json.dumps(row.seen)[-1500:]}"
            lines.append(f"{row.label}: want {row.want}, have {row.have}, {row.failures} failures{said}")
        lines += [f"{e.at:%T.%f} {e.actor} {e.kind}: {e.message[:600]}" for e in self.events()[-60:]]
        with self.database.reading() as session:
            lines += [
                f"host {host.name}: {host.last_error}" for host in site.hosts(session) if host.last_error
            ]
        for log in sorted(self.site.folder.glob("*.log")):
            lines += [f"{log.name}: {line}" for line in log.read_text().splitlines()[-20:]]
        for serial in sorted((self.lab.state / "hosts").glob("*/leasehold/domains/*.serial")):
            lines.append(f"{serial.name}: {serial.read_text(errors='replace')[-500:]!r}")
        return "\n".join(lines)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill them, and wait until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def event_kinds(life: Life, booked: int) -> list[str]:
    """The kinds of its events that are of the reservation itself, in order."""
    return [e.kind for e in life.events(booked) if e.resource_id is None]


def assert_each_step_was_done_once(life: Life, booked: int) -> None:
    """No guest was started twice, and no row became present or absent twice without an error in between."""
    assert set(life.starts().values()) <= {1}, life.tell(booked)
    of_rows: dict[int, list[str]] = {}
    for e in life.events(booked):
        if e.resource_id is not None:
            of_rows.setdefault(e.resource_id, []).append(e.kind)
    for kinds in of_rows.values():
        counted = Counter(kinds)
        if set(counted) <= {"present", "absent", "pending"}:
            assert max(counted.values()) == 1, life.tell(booked)


def starts(lab: Lab) -> Counter[str]:
    """Guest -> how often its host's libvirt started it since the lab was made."""
    counted: Counter[str] = Counter()
    for log in (lab.state / "hosts").glob("*/log/libvirt/qemu/*.log"):
        counted[log.stem] = log.read_text(errors="replace").count(": starting up libvirt version")
    return counted


def of_clusters(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The same without the logs of image builds, which like the images belong to the site and outlive every cluster."""
    copy: dict[str, Any] = json.loads(json.dumps(snapshot))
    jobs = copy["st1"]["files"]["jobs"]
    for name in [name for name in jobs if name.endswith(".log") and "/" not in name]:
        del jobs[name]
    return copy


def sweep(lab: Lab) -> None:
    """Take whatever a failed test left off the hosts, by hand: the next test starts from nothing."""
    guests = (
        "pkill -9 -f '[h]elper[.]pyz'; for d in $(virsh -q list --all --name | grep ^lh); do"
        " virsh -q destroy $d; virsh -q undefine --managed-save $d; done;"
        " for s in $(virsh -q secret-list | awk '{print $1}'); do virsh -q secret-undefine $s; done;"
        " for l in $(ip -o link | sed -n 's/^[0-9]*: \\(lh[0-9]*-[^:@]*\\)[:@].*/\\1/p'); do ip link del $l; done"
    )
    targets = (
        "pkill -9 -f '[h]elper[.]pyz'; adm='tgtadm --lld iscsi --mode';"
        " for t in $($adm target --op show | sed -n 's/^Target \\([0-9]*\\):.*/\\1/p'); do"
        " $adm target --op delete --force --tid $t; done;"
        " for a in $($adm account --op show | sed 1d); do $adm account --op delete --user $a; done"
    )
    for host in lab.hosts:
        folders = [str(HOST_DIR / name) for name in ("volumes", "iso", "domains", "jobs", "lock")]
        script = guests if "libvirtd" in host.daemons else targets
        labs.on(lab, host, ["sh", "-c", script], timeout_s=60, check=False)
        labs.on(lab, host, ["sh", "-c", 'rm -rf "$@"', "sh", *folders], check=False)


def tiny_images(images: dict[str, Path], cache: Path) -> None:
    """Put the tiny guests' images into the builder's cache under the names that the planner asks for."""
    cache.mkdir(parents=True, exist_ok=True)
    for name, disk in images.items():
        part = cache / f".{name}.test"
        subprocess.run(["cp", "--sparse=always", str(disk), str(part)], check=True, timeout=60)
        part.rename(cache / f"{name}.raw")
