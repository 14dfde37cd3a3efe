# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold plan`: what the passes would do at a moment, with the exact operations, and nothing touched.

The schedule pass itself runs on a copy of the rows with the clock set to that moment, so the answer is what it would
decide and not what another piece of code believes it would. The copy is a throw-away one (`simulator.scratch`): no lock
of the real database is held, and no host is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.moment import MOMENT
from app.db import site
from app.db.base import Database
from app.db.event import Event
from app.db.reservation import Reservation
from app.db.resource import Need, Resource
from app.db.site import Host
from app.domain.errors import LeaseholdError, NotFound
from app.domain.lifecycle import ON_HOSTS
from app.settings import Settings, load
from workers.engine.advance import advance, lead_of
from workers.engine.blueprint import Blueprint
from workers.simulator.scratch import copy_site, scratch

VERBS = {"present": "make", "absent": "remove"}


@dataclass(frozen=True)
class Operation:
    """One call that a pass has to make; `after` are the numbers of those that come before it.

    `args` name secrets and do not hold them. `waits` says what else keeps the pass from calling at that moment.
    """

    number: int
    reservation: str | None
    pass_name: str
    host: str
    op: str
    name: str
    want: str
    after: tuple[int, ...]
    waits: str | None
    args: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What becomes of one reservation: its state before and after the schedule pass, and why."""

    id: int
    name: str
    before: str
    after: str
    why: str
    events: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """The whole answer."""

    at: datetime
    steps: list[Step]
    operations: list[Operation]


@click.command()
@click.option(
    "--config", type=click.Path(), envvar="LEASEHOLD_CONFIG", help="The TOML file of the site's settings."
)
@click.option("--at", type=MOMENT, help="The moment, in UTC unless it has an offset. Without it: now.")
@click.option("--host", help="Only the operations on this host.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the arguments of each operation.")
def plan(config: str | None, at: datetime | None, host: str | None, as_json: bool) -> None:
    """Say what the passes would do at a moment if the rows were then as they are now.

    Neither the site's database nor a host is changed, and no host is asked. Exit status: 0 told, 1 failed, 2 asked
    wrongly.
    """
    try:
        preview = foresee(load(config), at or datetime.now(UTC), host)
    except NotFound as why:
        raise click.BadParameter(str(why), param_hint="--host") from why
    except LeaseholdError as why:
        raise click.ClickException(str(why)) from why
    if not as_json:
        click.echo(in_words(preview))
        return
    told = asdict(preview) | {"at": preview.at.isoformat()}
    click.echo(json.dumps(told, indent=2))


def foresee(settings: Settings, at: datetime, host: str | None = None) -> Preview:
    """What the passes would do at `at` with the rows of `settings.database` as they are now, on one `host` or on all.

    NotFound where the site has no such host.
    """
    source = Database(settings.database)
    try:
        with source.reading() as session, scratch(settings) as (database, there):
            with database.writing() as target:
                copy_site(session, target)
                if host is not None and site.host_by_name(target, host) is None:
                    raise NotFound(
                        f"The site has no host {host!r}: `leasehold host list` shows those it has."
                    )
            with database.reading() as copy:
                before = {row.id: (row.state, row.why) for row in copy.scalars(select(Reservation))}
            advance(database, there, Blueprint(there).lay_out, lambda: at)
            with database.reading() as copy:
                operations = _operations(copy, at)
                steps = _steps(copy, there, before, {one.reservation for one in operations}, at)
            return Preview(at, steps, [one for one in operations if host in (None, one.host)])
    finally:
        source.close()


def _steps(
    session: Session,
    settings: Settings,
    before: dict[int, tuple[str, str | None]],
    at_work: set[str | None],
    at: datetime,
) -> list[Step]:
    lead = lead_of(session, settings)
    said: dict[int | None, list[str]] = {}
    # History was not copied: every event here is of this very moment.
    for reservation_id, message in session.execute(
        select(Event.reservation_id, Event.message).order_by(Event.id)
    ):
        said.setdefault(reservation_id, []).append(message)
    steps = []
    for row in session.scalars(select(Reservation).order_by(Reservation.start_at, Reservation.id)):
        state, why = before[row.id]
        if row.state != state or row.why != why or row.id in said or row.name in at_work:
            events = tuple(said.get(row.id, ()))
            steps.append(Step(row.id, row.name, state, row.state, _why(row, state, lead, at), events))
    return steps


def _why(row: Reservation, before: str, lead: timedelta, at: datetime) -> str:
    """Why the reservation, whose state was `before`, is then in the state it is in."""
    if row.state == before:
        return row.why or ("Work on it goes on." if row.state in ON_HOSTS else "It stays as it is.")
    if row.state in ("ending", "ended", "cancelled") and row.cancel_requested_at is not None:
        return f"It was cancelled at {_time(row.cancel_requested_at)}."
    if row.state == "saved":
        return "Its slot is over, and its disks are kept."
    if before == "saved":
        return "Its disks are kept no longer."
    if row.state in ("ending", "ended"):
        return f"Its slot ends at {_time(row.end_at)}."
    if row.state == "building":
        return f"Its slot begins at {_time(row.start_at)}, and building begins {_length(lead)} before."
    if row.state == "ready":
        return "All of it is present."
    if before == "requested":
        return f"Nobody decided on it by {_time(min(row.hold_until, row.end_at))}."
    return f"Its slot ends at {_time(row.end_at)}, and nothing of it was built."


def _operations(session: Session, at: datetime) -> list[Operation]:
    """What is wanted otherwise than it is, each after what it has to wait for."""
    names = {row.id: row.name for row in session.scalars(select(Reservation))}
    by_id: dict[int, Host] = {host.id: host for host in site.hosts(session)}
    rows = {
        row.id: row for row in session.scalars(select(Resource).order_by(Resource.id)) if row.want != row.have
    }
    before: dict[int, set[int]] = {number: set() for number in rows}
    for user, needed in session.execute(select(Need.resource_id, Need.needs_id)):
        if user in rows and needed in rows and rows[user].want == rows[needed].want:
            first, then = (needed, user) if rows[user].want == "present" else (user, needed)
            before[then].add(first)
    order = list(TopologicalSorter(before).static_order())
    numbers = {row_id: number for number, row_id in enumerate(order, start=1)}
    return [
        Operation(
            number=numbers[row_id],
            reservation=names.get(rows[row_id].reservation_id or 0),
            pass_name=rows[row_id].pass_name,
            host=by_id[rows[row_id].host_id].name,
            op=rows[row_id].op,
            name=rows[row_id].name,
            want=rows[row_id].want,
            after=tuple(sorted(numbers[one] for one in before[row_id])),
            waits=_waits(rows[row_id], by_id[rows[row_id].host_id], at),
            args=dict(rows[row_id].args),
        )
        for row_id in order
    ]


def _waits(row: Resource, host: Host, at: datetime) -> str | None:
    if host.lost_at is not None:
        return f"{host.name} is lost since {_time(host.lost_at)}"
    until = max((one for one in (row.retry_at, host.suspect_until) if one is not None), default=at)
    if until <= at:
        return None
    return (
        f"not before {_time(until)}: {row.error_message or host.last_error or row.why or 'it was just tried'}"
    )


def in_words(preview: Preview) -> str:
    """For people."""
    lines = [f"At {_time(preview.at)}, with the rows as they are now:"]
    lines += [line for step in preview.steps for line in _of_step(step)]
    for one in preview.operations:
        whose = f"{one.reservation}: " if one.reservation else "shared: "
        after = f" after {', '.join(map(str, one.after))}" if one.after else ""
        waits = f" ({one.waits})" if one.waits else ""
        what = f"{VERBS[one.want]} {one.op} {one.name} on {one.host}"
        lines.append(f"{one.number:5}. {one.pass_name:8} {whose}{what}{after}{waits}")
    if len(lines) == 1:
        lines.append("Nothing to do.")
    return "\n".join(lines)


def _of_step(step: Step) -> Iterable[str]:
    states = step.before if step.before == step.after else f"{step.before} -> {step.after}"
    yield f"{step.name} (number {step.id}), {states}: {step.why}"
    told: Sequence[str] = [text for text in step.events if " -> " not in text]
    yield from (f"    {text}" for text in told)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _length(length: timedelta) -> str:
    return f"{length.total_seconds():,.0f} s"


if __name__ == "__main__":
    plan.main(prog_name="leasehold plan")
