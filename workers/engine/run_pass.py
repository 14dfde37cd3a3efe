# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Claim, call, settle: one stateless pass over the resource rows of one kind of work.

A row is leased in one short transaction, the host is called outside any, and the outcome is written in a third only
if the lease is still ours. Hosts are served side by side: a slow or hung one holds up its own rows alone.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.orm import Session

from app.db import event, resource, site
from app.db.base import Database
from app.db.resource import Resource
from app.db.site import Host
from app.settings import Passes, Settings
from workers.engine.clock import Clock, utc_now
from workers.engine.gate import step
from workers.engine.hosts import Answer
from workers.engine.ssh import Endpoint
from workers.node.protocol import Reply, Request

# Failures that are the host's, not the row's: the passes keep away from it for a while.
HOST_FAILURES = frozenset({"host_unreachable", "timeout", "host_key_changed", "access_refused"})
# So many hosts are served at once by one pass.
MOST_HOSTS = 64
# How often a pass with calls under way looks for more work.
LOOK_S = 0.3


@dataclass
class Tally:
    """What a pass did."""

    worked: int = 0
    failed: int = 0


class Door(Protocol):
    """The way to hosts; `hosts.Connections` is the one over SSH."""

    def call_all(
        self, batches: Mapping[Endpoint, Sequence[Request]], *, deadline_s: float
    ) -> Iterator[Answer]:
        """One Answer for each host, see `Connections.call_all`."""


@dataclass(frozen=True)
class Batch:
    """The rows of one host that go over one connection, and the door to it.

    `until` (monotonic seconds) is when the call must be over, well before the lease is: a process that was stopped
    meanwhile does not ask a host for what somebody else may have undone since.
    """

    host_id: int
    endpoint: Endpoint
    owner: str
    rows: tuple[Resource, ...]
    until: float


@dataclass
class Pass:
    """The pass `name` for the life of one process: `doors` keeps one open connection a host between runs."""

    database: Database
    settings: Settings
    name: str
    open_door: Callable[[], Door]
    clock: Clock = utc_now
    doors: dict[int, Door] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def run(self, is_over: Callable[[], bool]) -> Tally:
        """Work until `is_over()` or until nothing is due and nothing is under way. Returns what was done."""
        under_way: dict[Future[Answer | None], Batch] = {}
        self.tally = Tally()
        with ThreadPoolExecutor(MOST_HOSTS, thread_name_prefix=self.name) as pool:
            while True:
                if not is_over():
                    busy = {batch.host_id for batch in under_way.values()}
                    for batch in self._claim(busy):
                        if batch.host_id not in self.doors:
                            self.doors[batch.host_id] = self.open_door()
                        door = self.doors[batch.host_id]
                        under_way[pool.submit(self._call, door, batch)] = batch
                if not under_way:
                    break
                done, _ = wait(under_way, timeout=LOOK_S, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(under_way.pop(future), future)
        return self.tally

    def _claim(self, busy: Iterable[int]) -> list[Batch]:
        owner = f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        step(f"{self.name}.claim.before")
        until = time.monotonic() + self.settings.passes.deadline_s
        with self.database.writing() as session:
            times = self.settings.passes
            look = timedelta(seconds=times.look_s) if times.look_s else None
            lease = timedelta(seconds=times.lease_s)
            rows = resource.claim(session, self.name, owner, self.clock(), lease, tuple(busy), look)
            by_host: dict[int, list[Resource]] = {}
            for row in rows:
                by_host.setdefault(row.host_id, []).append(row)
            hosts = site.by_id(session, by_host)
            session.expunge_all()
        step(f"{self.name}.claim.after")
        return [
            Batch(host_id, endpoint(hosts[host_id]), owner, tuple(claimed), until)
            for host_id, claimed in by_host.items()
        ]

    def _call(self, door: Door, batch: Batch) -> Answer | None:
        requests = [_request(row) for row in batch.rows]
        step(f"{self.name}.call.before")
        left_s = batch.until - time.monotonic()
        if left_s <= 0:
            return None
        answers = list(door.call_all({batch.endpoint: requests}, deadline_s=left_s))
        step(f"{self.name}.call.after")
        return answers[0] if answers else None

    def _settle(self, batch: Batch, future: Future[Answer | None]) -> None:
        answer = future.result()
        if answer is None:
            return
        now = self.clock()
        step(f"{self.name}.settle.before")
        with self.database.writing() as session:
            _settle_host(session, self.settings.passes, batch, answer, now)
            for row, reply in zip(batch.rows, answer.replies, strict=True):
                values = outcome(row, reply, self.settings.passes, now)
                if resource.settle(session, row.id, batch.owner, row.want, values):
                    self.tally.worked += reply.ok
                    self.tally.failed += not reply.ok
                    _record(session, f"pass:{self.name}", row, reply, values, now)
        step(f"{self.name}.settle.after")


def endpoint(host: Host) -> Endpoint:
    """Where and as whom to reach a host."""
    return Endpoint(host.name, host.address, host.port, host.host_key)


def _request(row: Resource) -> Request:
    stood = {"stood": True} if row.op in resource.VOLUMES and row.present_at else {}
    return Request(str(row.id), row.op, row.want, {**row.args, **stood})


def outcome(row: Resource, reply: Reply, times: Passes, now: datetime) -> dict[str, Any]:
    """What to write into the row for this reply: pure, the one place where replies become columns."""
    if reply.ok and reply.state == row.want:
        values: dict[str, Any] = {"have": row.want, "why": None, "retry_at": None, "failures": 0}
        values |= {"error_code": None, "error_message": None, "seen": _told(reply.seen)}
        stamp = "present_at" if row.want == "present" else "absent_at"
        if getattr(row, stamp) is None:  # a repair later on does not make the step longer than it was
            values[stamp] = now
        return values
    if reply.ok and reply.state == "pending":
        have = "pending" if row.want == "present" else "unknown"
        why = _text(reply.why, 2000) if reply.why else None
        values = {"have": have, "why": why, "failures": 0, "seen": _told(reply.seen)}
        return values | {
            "error_code": None,
            "error_message": None,
            "retry_at": now + timedelta(seconds=times.poll_s),
        }
    code, message, retryable = "not_converged", f"The host says {reply.state!r}, not {row.want!r}.", True
    if reply.error is not None:
        code, message, retryable = reply.error.code, reply.error.message, reply.error.retryable
    if code in HOST_FAILURES:
        # The host as a whole is kept away from; the row itself is to be tried as soon as the host is back.
        values = {"retry_at": now + timedelta(seconds=times.poll_s)}
    else:
        values = {"failures": row.failures + 1, "retry_at": now + backoff(row.failures, retryable, times)}
    values |= {"error_code": _text(code, 32), "error_message": _text(message, 4000)}
    return values | {"have": "unknown", "why": _text(message, 2000)}


def backoff(failures: int, retryable: bool, times: Passes) -> timedelta:
    """How long to wait after `failures` earlier ones: doubling; the longest at once where only a person can help."""
    if not retryable:
        return timedelta(seconds=times.backoff_most_s)
    return timedelta(seconds=min(times.backoff_most_s, times.backoff_first_s * 2 ** min(failures, 20)))


def _text(text: str, most: int) -> str:
    """What a host said, as every database takes it: cut, without NUL and without half a surrogate pair."""
    return text[:most].replace("\0", " ").encode(errors="replace").decode()


def _told(seen: Mapping[str, Any]) -> Any:
    """What a host saw, parts of which a guest may have written, in text that can be stored and shown."""
    return json.loads(json.dumps(seen, ensure_ascii=False).encode(errors="replace"))


def _settle_host(session: Session, times: Passes, batch: Batch, answer: Answer, now: datetime) -> None:
    host = site.by_id(session, [batch.host_id])[batch.host_id]
    if answer.failure is not None and answer.failure.code in HOST_FAILURES:
        wait_s = min(times.suspect_most_s, times.suspect_first_s * 2 ** min(host.failures, 20))
        host.failures += 1
        host.failing_since = host.failing_since or now
        if host.lost_at is None and now - host.failing_since >= timedelta(seconds=times.lost_after_s):
            host.lost_at = now
            lost = f"{host.name} is lost: it has not answered since {host.failing_since:%Y-%m-%d %H:%M} UTC."
            event.record(session, now, "passes", "host_lost", lost, host_id=host.id)
        host.suspect_until = now + timedelta(seconds=wait_s)
        message = _text(answer.failure.message, 2000)
        if host.last_error != message:
            host.last_error = message
            event.record(session, now, "passes", "host_failed", message, host_id=host.id)
        return
    if host.failing_since or host.lost_at:
        event.record(session, now, "passes", "host_back", f"{host.name} answers again.", host_id=host.id)
        host.failures, host.suspect_until, host.last_error = 0, None, None
        host.failing_since = host.lost_at = None
    if answer.hello is not None:
        note_boot(session, host, answer.hello.boot_id, "passes", now)
    host.last_seen_at = now


def note_boot(session: Session, host: Host, boot_id: str, actor: str, now: datetime) -> None:
    """Write with which boot the host greeted; after another one nothing is known any more of what stood there."""
    if host.boot_id not in (None, boot_id):
        event.record(session, now, actor, "host_rebooted", f"{host.name} was rebooted.", host_id=host.id)
        resource.forget(session, host.id)
    host.boot_id = boot_id


def _record(
    session: Session, actor: str, row: Resource, reply: Reply, values: dict[str, Any], now: datetime
) -> None:
    """Write an event where the row's standing changed, or what stood had to be mended; a repeated wait or the same
    error again is none."""
    have, message = values["have"], values.get("error_message")
    if message is not None:
        if message == row.error_message:
            return
        kind, text = values["error_code"], f"{row.label}: {message}"
    elif have != row.have:
        kind, text = have, f"{row.label}: {have}" + (f" ({values['why']})" if values["why"] else "")
    elif have == "present" and reply.changed:
        kind, text = "mended", f"{row.label}: mended"
    else:
        return
    event.record(
        session,
        now,
        actor,
        kind,
        text,
        reservation_id=row.reservation_id,
        host_id=row.host_id,
        resource_id=row.id,
        data={"did": list(reply.did)[:50]} if reply.did else None,
    )
