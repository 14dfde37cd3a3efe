# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Looks at a host as the manager reaches it: key, log-in, helper, clock, and what its roles need."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.db.site import CAPABILITIES
from app.settings import Settings
from workers.engine import bootstrap, ssh
from workers.engine.drivers import GUEST_HOSTS, INITIATOR, Facts, fitting
from workers.engine.hosts import Answer, call
from workers.engine.ssh import Endpoint, fingerprint
from workers.node.protocol import Request

GREETING_S = 15.0
DEADLINE_S = 120.0  # finding out how guests run means starting one
SKEW_S = 60.0
SIZES = ("vcpus", "memory_mib", "disk_free_mib")


@dataclass(frozen=True)
class Probe:
    """One thing looked at: how (`command`, its exit status and stderr where there was a process) and the
    result."""

    name: str
    ok: bool
    result: str
    command: str = ""
    exit: int | None = None
    stderr: str = ""


@dataclass(frozen=True)
class Report:
    """All probes of one host. `facts` is None when the host cannot be used; `lacks`: role -> what it
    misses; `ails`: what is wrong with its disks."""

    host: str
    probes: tuple[Probe, ...]
    facts: dict[str, Any] | None = None
    boot_id: str | None = None
    lacks: dict[str, list[str]] = field(default_factory=dict)
    ails: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether it has all it needs and nothing is wrong with it."""
        return not (self.lacks or self.ails)


def look_at(to: Endpoint, settings: Settings, helper: str, roles: frozenset[str]) -> Report:
    """Log in as the manager, ask the helper for the host's facts, and judge them by the site's choice of drivers.

    `helper` is the id that this manager's helper greets with.
    """
    try:
        # Finding out how guests run takes long; that nobody is there at all should not.
        ssh.shown_host_key(to.address, to.port, time.monotonic() + GREETING_S)
    except ssh.Broken as broken:
        return Report(to.name, (Probe("sshd", False, broken.message, _way(to)),))
    request = Request("facts", "facts")
    answer = call(
        to, [request], identity=Path(settings.ssh_key_file), reveal=_no_secret, deadline_s=DEADLINE_S
    )
    return judged(answer, helper, roles, time.time(), settings)


def judged(answer: Answer, helper: str, roles: frozenset[str], now: float, settings: Settings) -> Report:
    """What an answer to `facts` says of a host; pure. `helper` is the id of this manager's helper, `now` Unix
    time."""
    to, reply, hello = answer.endpoint, answer.replies[0], answer.hello
    way = _way(to)
    if answer.failure is not None:
        name = {"host_key_changed": "host key", "bad_reply": "helper"}.get(answer.failure.code, "log-in")
        return Report(to.name, (Probe(name, False, answer.failure.message, way),))
    assert hello is not None
    probes = [
        Probe("host key", True, fingerprint(to.host_key), way),
        Probe("log-in", True, f"in {answer.seconds:.2f} s, facts included", way),
        Probe("helper", hello.helper == helper, _helper_words(hello.helper, helper, to), "its greeting"),
        Probe(
            "clock", abs(hello.time - now) < SKEW_S, f"{hello.time - now:+.0f} s from ours", "its greeting"
        ),
    ]
    if reply.error is not None:
        probes.append(Probe("facts", False, f"{reply.error.code}: {reply.error.message}", "facts"))
        return Report(to.name, tuple(probes))
    facts = dict(reply.seen)
    wrong = [size for size in SIZES if not isinstance(facts.get(size), int)]
    if wrong:
        probes.append(Probe("facts", False, f"{', '.join(wrong)} not told", "facts"))
        return Report(to.name, tuple(probes))
    probes += _fact_probes(facts, bootstrap.needed_tools(roles, settings))
    probes += _driver_probes(facts, roles, settings)
    ails = tuple(map(str, facts.get("health") or ()))
    probes.append(Probe("disks", not ails, "; ".join(ails) or "nothing is wrong to be seen", "facts"))
    lacks = bootstrap.lacking(roles, facts, settings)
    return Report(to.name, tuple(probes), facts, hello.boot_id, lacks, ails)


def beside(report: Report, others: Mapping[str, Facts], roles: frozenset[str], settings: Settings) -> Report:
    """The report with what is wrong only beside the site's other hosts, `others`: name -> facts; pure.

    Two hosts that log in to targets by one name (a copied disk) each end the other's sessions.
    """
    name = (report.facts or {}).get("initiator")
    twins = [host for host, facts in sorted(others.items()) if facts.get("initiator") == name]
    twins = [host for host in twins if host != report.host]
    held = sorted(roles & set(GUEST_HOSTS))
    if settings.storage.attach != "open_iscsi" or not (name and twins and held):
        return report
    words = (
        f"{', '.join(twins)} would log in to targets as {name}, too: put a name of the host's own into {INITIATOR} of"
        " one of them, and restart open-iscsi"
    )
    lacks = report.lacks | {role: [*report.lacks.get(role, ()), words] for role in held}
    return replace(report, probes=(*report.probes, Probe("initiator name", False, words)), lacks=lacks)


def capabilities(facts: Facts) -> list[str]:
    """What requests may ask of a host with these facts by a tag: its architecture, and how guests can run; pure."""
    can = {
        "kvm": facts.get("virt_type") == "kvm",
        "xen": bool(facts.get("xen")),
        str(facts.get("arch")): True,
    }
    return sorted(name for name, is_so in can.items() if is_so and name in CAPABILITIES)


def misfits(was: Facts, facts: Facts, settings: Settings) -> list[str]:
    """What clusters that were built on a host with the facts `was` find missing on one with `facts`; pure."""
    words = []
    name = was.get("initiator")
    if settings.storage.export == "lio" and name and facts.get("initiator") != name:
        words.append(
            f"their targets let it in as {name}: put that into {INITIATOR} there, and restart open-iscsi"
        )
    if was.get("virt_type") == "kvm" and facts.get("virt_type") != "kvm":
        words.append("their guests run by kvm, which does not work there: look at its firmware's settings")
    return words


def _fact_probes(facts: Mapping[str, Any], needed: frozenset[str]) -> list[Probe]:
    """A probe a fact; those that the helper found by a process come with the command, its exit status and
    stderr."""
    ways = {str(way.get("name")): way for way in facts.get("probes") or [] if isinstance(way, Mapping)}
    named = {name: value for name, value in facts.items() if name not in ("tools", "probes", "health")}
    named |= dict(facts.get("tools") or {})
    probes = []
    for name, value in named.items():
        way = ways.get(name, {})
        command, status = " ".join(map(str, way.get("argv") or ["facts"])), way.get("exit")
        ok = value is not None or (name not in needed and name in (facts.get("tools") or {}))
        words = ("not there, not needed" if ok else "not there") if value is None else _words(value)
        probes.append(Probe(name, ok, words, command, status, str(way.get("stderr") or "")[-500:]))
    return probes


def _driver_probes(facts: dict[str, Any], roles: frozenset[str], settings: Settings) -> list[Probe]:
    """A probe a driver: whether this host can do it, and what it lacks; only the chosen ones have to fit."""
    probes = []
    for driver, is_chosen in fitting(roles, settings):
        lacks = driver.lacks(settings, facts)
        words = "; ".join(lacks) or "can be used"
        name = f"{driver.kind} {driver.name}"
        probes.append(Probe(name, not (lacks and is_chosen), words, "chosen" if is_chosen else "not chosen"))
    return probes


def _way(to: Endpoint) -> str:
    return f"ssh {to.user}@{to.address} port {to.port}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _helper_words(theirs: str, ours: str, to: Endpoint) -> str:
    if theirs == ours:
        return theirs[:16]
    return f"{theirs[:16]}, ours is {ours[:16]}: run `leasehold host add {to.name} {to.address}` again"


def _no_secret(name: str) -> str:
    raise KeyError(name)
