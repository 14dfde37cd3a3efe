# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that are only memory: they answer the passes' requests as the helper would, and take their time for it.

They read a request with the helper's own parsers, so what the helper would refuse is refused here, too, and they
hold the passes to the order of things: no export without its volume, no network taken from under a guest.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from workers.engine.clock import Clock
from workers.engine.hosts import Answer, filled
from workers.engine.ssh import Endpoint
from workers.node import names
from workers.node.ops import OPS
from workers.node.protocol import PROTOCOL, Error, Hello, Refused, Remit, Reply, Request

Thing = tuple[str, str]
# Which argument of an operation names the thing.
NAMED_BY = {
    "vlan": "bridge",
    "vxlan": "bridge",
    "address": "bridge",
    "file": "volume",
    "lvm": "volume",
    "lvm_thick": "volume",
    "golden": "image",
    "tgt": "volume",
    "lio": "volume",
    "open_iscsi": "target",
    "iso": "iso",
    "image": "image",
    "domain": "domain",
    "xen": "domain",
    "null": "domain",
    "report": "domain",
}
GUESTS, LINKS = ("domain", "xen", "null"), ("vlan", "vxlan")
# What volumes are cloned from.
VOLUMES = {"file": "image", "lvm": "golden", "lvm_thick": "image"}
# What is in memory alone and gone when the host starts again.
LOST_AT_REBOOT = (*GUESTS, *LINKS, "address", "tgt", "open_iscsi", "report")
# Copies of disks are made one after the other: they share the host's disk.
ONE_AFTER_THE_OTHER = ("file",)
# What making takes by default, in seconds; removing is done at once. A site's own figures are better.
DURATIONS_S: Mapping[str, float] = {
    "file": 5.0,
    "lvm_thick": 20.0,
    "golden": 20.0,
    "image": 240.0,
    "domain": 40.0,
    "xen": 40.0,
    "report": 15.0,
}
SECRET = "simulatedsecret0"


@dataclass(frozen=True)
class Manner:
    """How hosts behave: what making takes by operation, and how often a request fails, by a seed of its own."""

    durations_s: Mapping[str, float] = field(default_factory=lambda: DURATIONS_S)
    failure_rate: float = 0.0
    seed: int = 0


@dataclass
class SimulatedHost:
    """One host: what stands there and when it is or will be done, and how often each operation did something."""

    name: str
    there: dict[Thing, datetime] = field(default_factory=dict)
    did: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    boots: int = 1
    is_up: bool = True
    copying_until: datetime | None = None

    def replace(self) -> None:
        """Another machine in its place, which holds nothing."""
        self.reboot()
        self.there.clear()

    def reboot(self) -> None:
        """Come up again with what was on disk."""
        self.boots += 1
        self.is_up = True
        self.there = {thing: at for thing, at in self.there.items() if thing[0] not in LOST_AT_REBOOT}


class SimulatedHosts:
    """The door to all simulated hosts of a site, in the place of `engine.hosts.Connections`."""

    def __init__(self, names: Iterable[str], remit: Remit, clock: Clock, manner: Manner = Manner()) -> None:
        self.by_name = {name: SimulatedHost(name) for name in names}
        self.remit, self.clock, self.manner = remit, clock, manner

    def call_all(
        self, batches: Mapping[Endpoint, Sequence[Request]], *, deadline_s: float
    ) -> Iterator[Answer]:
        """One Answer a host, at once; a host that is down is not reached."""
        for endpoint, requests in batches.items():
            host = self.by_name[endpoint.name]
            if host.is_up:
                hello = Hello(PROTOCOL, "simulated", f"{host.name}-{host.boots}", self.clock().timestamp())
                replies = tuple(self._answer(host, request) for request in requests)
                yield Answer(endpoint, replies, hello, None, 0.0)
            else:
                error = Error("host_unreachable", f"{host.name} does not answer (simulated)", True)
                replies = tuple(Reply(one.id, False, "unknown", error=error) for one in requests)
                yield Answer(endpoint, replies, None, error, deadline_s)

    def _answer(self, host: SimulatedHost, request: Request) -> Reply:
        host.asked += 1
        try:
            return self._converge(host, request)
        except Refused as refused:
            host.failed[request.op] += 1
            return Reply(request.id, False, "unknown", error=refused.error)

    def _converge(self, host: SimulatedHost, request: Request) -> Reply:
        if request.op == "facts":
            return Reply(request.id, True, "present")
        OPS[request.op].parse(filled(request.args, lambda _: SECRET, set()), self.remit)
        thing = request.op, str(request.args[NAMED_BY[request.op]])
        now = self.clock()
        if (thing in host.there) == (request.want == "present"):
            ready_at = host.there.get(thing, now)
            if now < ready_at:
                return Reply(
                    request.id, True, "pending", why=f"ready in {(ready_at - now).total_seconds():.0f} s"
                )
            return Reply(request.id, True, request.want, seen=_seen(request))
        self._fail_at_random(host, thing)
        if request.want == "absent":
            _refuse_removal(host, thing)
            del host.there[thing]
            host.did[request.op] += 1
            return Reply(request.id, True, "absent", True, (f"removed {thing[1]}",))
        names.refuse_if_lost(bool(request.args.get("stood")), f"{host.name} {thing[1]}")
        _refuse_making(host, thing, request.args, now)
        host.there[thing] = ready_at = self._ready_at(host, thing, now)
        host.did[request.op] += 1
        state = "present" if ready_at <= now else "pending"
        why = None if ready_at <= now else "begun"
        return Reply(request.id, True, state, True, (f"made {thing[1]}",), _seen(request), why)

    def _ready_at(self, host: SimulatedHost, thing: Thing, now: datetime) -> datetime:
        takes = timedelta(seconds=self.manner.durations_s.get(thing[0], 0.0))
        if thing[0] not in ONE_AFTER_THE_OTHER or not takes:
            return now + takes
        host.copying_until = max(now, host.copying_until or now) + takes
        return host.copying_until

    def _fail_at_random(self, host: SimulatedHost, thing: Thing) -> None:
        """By a chance that only the seed, the thing and the number of failures so far decide: no order of calls."""
        seed = (self.manner.seed, host.name, *thing, host.failed[thing[0]])
        if random.Random(repr(seed)).random() < self.manner.failure_rate:  # noqa: S311 - no secret depends on it
            raise Refused("tool_failed", f"{thing[0]} {thing[1]} failed by chance (simulated)")


def _seen(request: Request) -> dict[str, Any]:
    if request.op != "report":
        return {}
    return {"report": {"event": request.args["event"], "ok": True, "checks": []}}


def _refuse_making(host: SimulatedHost, thing: Thing, args: Mapping[str, Any], now: datetime) -> None:
    op, name = thing
    needed = {
        "tgt": (args.get("store", "file"), name),
        "lio": (next((one for one in VOLUMES if (one, name) in host.there), "lvm"), name),
        "golden": ("image", name),
        "report": (next((guest for guest in GUESTS if (guest, name) in host.there), "domain"), name),
    }.get(op)
    if op in VOLUMES and args["image"] is not None:
        needed = VOLUMES[op], args["image"]
    if needed is not None and host.there.get(needed, now + timedelta(days=1)) > now:
        raise Refused(
            "tool_failed", f"{op} {name} was asked for before its {needed[0]} {needed[1]} was there"
        )


def _refuse_removal(host: SimulatedHost, thing: Thing) -> None:
    op, name = thing
    if op in VOLUMES and {("tgt", name), ("lio", name)} & set(host.there):
        raise Refused("busy", f"the volume {name} is still exported")
    key = name.partition("-")[0]
    guests = [other for kind, other in host.there if kind in GUESTS and other.partition("-")[0] == key]
    if op in LINKS and guests:
        raise Refused("busy", f"{guests[0]} is still plugged into {name}")
