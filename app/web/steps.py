# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a build and of an end, made from resource rows: pure, and the only place that puts them into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host

# A guest wrote the acceptance report, so it is shortened before it is shown.
MOST_CHECKS = 100
MOST_TEXT = 500


class Standing(NamedTuple):
    """How far a thing is: a tone for the style sheet, a sign, and a word, so that nothing is told by colour alone."""

    tone: str
    sign: str
    word: str


DONE = Standing("good", "✓", "done")
WORKING = Standing("busy", "▸", "in progress")
RETRYING = Standing("bad", "!", "failed, tries again")
HOST_AWAY = Standing("bad", "!", "host away")
OPEN = Standing("calm", "○", "to do")
WAITING = Standing("calm", "…", "waiting")
REMOVED = Standing("calm", "–", "removed")
REMOVING = Standing("busy", "▸", "being removed")
STANDING = Standing("calm", "○", "to be removed")


@dataclass(frozen=True)
class Step:
    """One row of the progress table. Times are None before their moment; seconds count on while it runs."""

    label: str
    op: str
    host: str
    standing: Standing
    detail: str | None
    retry_at: datetime | None
    failures: int
    started_at: datetime | None
    done_at: datetime | None
    seconds: float | None
    is_running: bool
    is_done: bool
    is_removal: bool
    removal_at: datetime | None
    removed_at: datetime | None
    removal_seconds: float | None
    was_ready_before: bool


@dataclass(frozen=True)
class Check:
    """One check of the acceptance test inside the cluster."""

    name: str
    is_ok: bool
    detail: str
    seconds: float | None


def make_steps(
    reservation: Reservation,
    rows: Sequence[tuple[Resource, Host]],
    needs: Mapping[int, Sequence[int]],
    now: datetime,
) -> list[Step]:
    """One step for each row, in their order. `needs` maps a row's id to the ids of those it waits for."""
    by_id = {row.id: row for row, _ in rows}
    return [
        _step(reservation, row, host, [by_id[n] for n in needs.get(row.id, ()) if n in by_id], now)
        for row, host in rows
    ]


def standing_of(row: Resource) -> Standing:
    """How far this row is, whatever it waits for."""
    if row.have == row.want:
        return DONE if row.want == "present" else REMOVED
    if row.error_code is not None:
        return RETRYING
    if row.want == "absent":
        return REMOVING if row.removal_at else STANDING
    return WORKING if row.started_at else OPEN


def _step(
    reservation: Reservation, row: Resource, host: Host, needed: Sequence[Resource], now: datetime
) -> Step:
    started, done, early = _times(reservation, row)
    standing, detail = standing_of(row), row.error_message or row.why
    if standing is OPEN:
        unmet = [other.label for other in needed if other.have != "present"]
        if unmet:
            standing = WAITING
            detail = f"Waits for: {unmet[0]}" + (f" and {len(unmet) - 1} more" if len(unmet) > 1 else "")
    is_settled = standing in (DONE, REMOVED)
    if not is_settled and host.suspect_until and host.suspect_until > now:
        reason = host.last_error or f"{host.name} did not answer."
        standing, detail = HOST_AWAY, f"The host is left alone for a while: {reason}"
    wants_present = row.want == "present"
    is_running = wants_present and started is not None and done is None
    is_removing = not wants_present and row.removal_at is not None and row.have != "absent"
    removed = row.absent_at if not wants_present and row.have == "absent" else None
    return Step(
        label=row.label,
        op=row.op,
        host=host.name,
        standing=standing,
        detail=None if is_settled else detail,
        retry_at=_next_try(row, host, now) if standing in (RETRYING, HOST_AWAY) else None,
        failures=row.failures,
        started_at=started,
        done_at=done,
        seconds=_seconds(started, done, now if is_running else None),
        is_running=is_running or is_removing,
        is_done=wants_present and row.have == "present",
        is_removal=not wants_present,
        removal_at=row.removal_at,
        removed_at=removed,
        removal_seconds=_seconds(row.removal_at, removed, now if is_removing else None),
        was_ready_before=early,
    )


def _times(reservation: Reservation, row: Resource) -> tuple[datetime | None, datetime | None, bool]:
    """When the row was begun and done for this reservation, and whether it was there before.

    A shared thing (a golden image) may have been made for an earlier cluster, or seen again for a later one.
    """
    # What is seen again after a fault counts as under way from its first start until it is back.
    done = row.present_at if row.have == "present" or row.want == "absent" else None
    if row.reservation_id is not None or row.started_at is None:
        return row.started_at, done, False
    begun = reservation.building_at
    if begun is None or row.started_at < begun:
        return None, None, True
    return row.started_at, done, False


def _next_try(row: Resource, host: Host, now: datetime) -> datetime:
    moments = [moment for moment in (row.retry_at, host.suspect_until) if moment is not None]
    return max([now, *moments])


def _seconds(start: datetime | None, end: datetime | None, now: datetime | None) -> float | None:
    finish = end or now
    return max(0.0, (finish - start).total_seconds()) if start and finish else None


@dataclass(frozen=True)
class Progress:
    """How many steps are done of how many, and the one to look at now."""

    done: int
    total: int
    current: Step | None
    is_removal: bool


def progress(steps: Sequence[Step]) -> Progress:
    """The sum of the steps; a failed step is the one to look at, then the one that runs longest.

    At the end only what is removed counts: a golden image stays for the next cluster.
    """
    is_removal = any(step.is_removal for step in steps)
    steps = [step for step in steps if step.is_removal == is_removal]
    done = sum(step.standing in (DONE, REMOVED) for step in steps)
    running = [step for step in steps if step.is_running and step.standing not in (DONE, REMOVED)]
    failed = [step for step in steps if step.standing in (RETRYING, HOST_AWAY)]

    def begun(step: Step) -> datetime:
        moment = step.removal_at if step.is_removal else step.started_at
        assert moment is not None
        return moment

    current = failed[0] if failed else min(running, key=begun, default=None)
    return Progress(done, len(steps), current, is_removal)


def checks_of(rows: Sequence[tuple[Resource, Host]]) -> list[Check]:
    """The checks of the acceptance report, if one has come in. A guest wrote it: every part may be anything."""
    reports = [row.seen.get("report") for row, _ in rows if row.op == "report" and row.seen]
    checks: Any = reports[0].get("checks") if reports and isinstance(reports[0], dict) else None
    if not isinstance(checks, list):
        return []
    return [_check(one) for one in checks[:MOST_CHECKS] if isinstance(one, dict)]


def _check(one: Mapping[str, Any]) -> Check:
    seconds = one.get("seconds")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
    return Check(
        name=str(one.get("name", "?"))[:MOST_TEXT],
        is_ok=one.get("ok") is True,
        detail=str(one.get("detail") or "")[:MOST_TEXT],
        seconds=float(seconds) if is_number and seconds is not None else None,
    )
