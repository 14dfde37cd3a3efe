# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A guest's report of an event, waited for: pending until it is in, an error when it says that a check failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names, reports
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, ReadTail


@dataclass(frozen=True)
class Args:
    """The domain whose guest reports, the event, and the edition of the site roll it must be about (None: any)."""

    dir: str
    domain: str
    event: str
    edition: str | None


@dataclass(frozen=True)
class Seen:
    """The guest's last report of the event, as it came; None when there is none."""

    report: dict[str, Any] | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"domain","event","edition"}."""
    domain, event, edition = names.take(raw, domain=str, event=str, edition=(str, type(None)))
    names.marked(domain, remit, "domain")
    return Args(remit.dir, domain, names.event(event), names.edition(edition))


def lock(args: Args) -> str:
    """Reading disturbs nobody, so the lock is the report's own."""
    return f"report-{args.domain}-{args.event}"


def observe(args: Args, ask: Ask) -> Seen:
    """The end of the channel's file; without a report there, that of the console which Xen keeps."""
    text = ask(ReadTail(f"{args.dir}/domains/{args.domain}.report", reports.MAX_READ))
    report = reports.find_event(text, args.event, args.edition)
    if report is None:
        text = ask(ReadTail(reports.xen_console(args.dir, args.domain), reports.MAX_CONSOLE_READ))
        report = reports.find_event(text, args.event, args.edition)
    return Seen(report)


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Nothing is ever done: the file belongs to the domain and goes with it."""
    if want == "present" and seen.report is not None and seen.report.get("ok") is False:
        raise Refused("report_failed", f"{args.domain} reported {args.event}: {_failed(seen.report)}")
    return []


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the guest."""
    if want == "absent" or seen.report is not None:
        return None
    return f"waiting for {args.domain} to report {args.event}"


def _failed(report: dict[str, Any]) -> str:
    checks = report.get("checks")
    failed = [
        f"{str(check.get('name'))[:40]}: {str(check.get('detail'))[:200]}"
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and check.get("ok") is not True
    ]
    return "; ".join(failed[:5]) or "not ok, with no check named"
