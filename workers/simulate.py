# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold simulate`: what would become of the site's bookings, and of others besides, with no host touched."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select

from app.db.base import Database
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.errors import LeaseholdError, SiteError
from app.domain.lifecycle import LIVE
from app.domain.roll import offered
from app.domain.slot import Slot
from app.settings import Settings, load
from workers.engine.blueprint import Blueprint
from workers.node.ops import OPS
from workers.node.protocol import Remit
from workers.simulator import wishes
from workers.simulator.course import Course, SimulatedClock
from workers.simulator.hosts import DURATIONS_S, NAMED_BY, Manner, SimulatedHosts
from workers.simulator.outcome import Outcome, sum_up
from workers.simulator.scratch import copy_site, measured, scratch

# After the last slot has ended everything has this long to go away.
AFTERWARDS = timedelta(days=1)
# Hosts that work on something are asked this often: the real passes ask more often than a simulation has to.
POLL_S = 20.0
MOST_SHOWN = 20


@click.command()
@click.option(
    "--config", type=click.Path(), envvar="LEASEHOLD_CONFIG", help="The TOML file of the site's settings."
)
@click.option(
    "--add",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file of bookings to try.",
)
@click.option(
    "--failure-rate", type=click.FloatRange(0, 0.9), default=0.0, help="How often a step fails, 0 to 0.9."
)
@click.option("--seed", type=int, default=0, help="Another seed, other failures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(
    config: str | None, files: tuple[Path, ...], failure_rate: float, seed: int, as_json: bool
) -> None:
    """Copy what the site has booked, try more bookings, and let all slots pass over simulated hosts.

    Neither the site's database nor a host is changed. Exit status: 0 all fitted, 1 failed, 3 something was refused,
    late beyond its start, never ready, or left standing.
    """
    try:
        settings = load(config)
        asked = [wish for file in files for wish in wishes.read(file)]
        outcome = run(settings, asked, now=datetime.now(UTC), failure_rate=failure_rate, seed=seed)
    except LeaseholdError as why:
        raise click.ClickException(str(why)) from why
    click.echo(json.dumps(as_plain(outcome), indent=2) if as_json else in_words(outcome))
    sys.exit(0 if is_well(outcome) else 3)


def run(
    settings: Settings,
    asked: Sequence[dict[str, Any]],
    *,
    now: datetime,
    failure_rate: float = 0.0,
    seed: int = 0,
) -> Outcome:
    """Simulate the site of `settings` from `now` until everything is over, with `asked` booked first."""
    source = Database(settings.database)
    try:
        with source.reading() as session, scratch(settings) as (database, there):
            with database.writing() as target:
                copy_site(session, target)
            manner = Manner(measured(session, DURATIONS_S), failure_rate, seed)
            there = dataclasses.replace(there, passes=dataclasses.replace(there.passes, poll_s=POLL_S))
            return _pass_time(database, there, asked, manner, now)
    finally:
        source.close()


def _pass_time(
    database: Database, settings: Settings, asked: Sequence[dict[str, Any]], manner: Manner, now: datetime
) -> Outcome:
    blueprint = Blueprint(settings)
    software = offered(blueprint.rolls)
    booked, refused = wishes.book(database, settings, asked, software=software, now=now)
    clock = SimulatedClock(now)
    hosts = _hosts(database, settings, clock, manner)
    with database.reading() as session:
        last = session.scalar(select(func.max(Reservation.end_at)).where(Reservation.state.in_(LIVE)))
    Course(database, settings, blueprint.lay_out, hosts, clock).run((last or now) + AFTERWARDS)
    with database.reading() as session:
        return sum_up(session, settings, hosts, Slot(now, clock.now), booked, refused)


def _hosts(database: Database, settings: Settings, clock: SimulatedClock, manner: Manner) -> SimulatedHosts:
    """The copied hosts, with what stands on them."""
    with database.reading() as session:
        rows = session.scalars(select(Host)).all()
        standing = session.scalars(select(Resource).where(Resource.have == "present")).all()
    names = {row.id: row.name for row in rows}
    if not names:
        raise SiteError("The site has no hosts to simulate: `leasehold host add` adds them.")
    remit = Remit(settings.mark, settings.host_dir, tuple(OPS), (settings.network.public_bridge,))
    hosts = SimulatedHosts(names.values(), remit, clock, manner)
    for host in rows:
        hosts.by_name[host.name].is_up = host.lost_at is None
    for row in standing:
        hosts.by_name[names[row.host_id]].there[row.op, str(row.args[NAMED_BY[row.op]])] = clock.now
    return hosts


def is_well(outcome: Outcome) -> bool:
    """Whether everything fitted, was ready in time, and went away."""
    in_time = all(fate.late_s is None or fate.late_s <= 0 for fate in outcome.fates)
    was_ready = all(fate.late_s is not None for fate in outcome.fates if fate.name in outcome.booked)
    return not outcome.refused and not outcome.left and in_time and was_ready


def as_plain(outcome: Outcome) -> dict[str, Any]:
    """For JSON: times as ISO 8601 in UTC."""
    data = asdict(outcome) | {"late_s": outcome.late_s, "is_well": is_well(outcome)}
    return data | {"begin": outcome.begin.isoformat(), "end": outcome.end.isoformat()}


def in_words(outcome: Outcome) -> str:
    """For people."""
    lines = [f"Simulated {outcome.begin:%Y-%m-%d %H:%M} to {outcome.end:%Y-%m-%d %H:%M} UTC."]
    lines.append(f"Booked: {len(outcome.booked)}. Refused: {len(outcome.refused)}.")
    for refusal in outcome.refused[:MOST_SHOWN]:
        lines.append(f"  {refusal.name}: {refusal.reasons[0]}")
        lines += [f"    would fit {words}" for words in refusal.instead]
    if outcome.late_s:
        lines.append(
            "Ready against the slot's start, median {median:+.0f} s, latest {most:+.0f} s.".format(
                **outcome.late_s
            )
        )
    never = [fate for fate in outcome.fates if fate.late_s is None]
    lines += [f"  {fate.name} was never ready: {fate.state}" for fate in never[:MOST_SHOWN]]
    lines.append("At most in use at once:")
    lines += [f"  {peak.holder}: {peak.most:,} of {peak.have:,} {peak.resource}" for peak in outcome.peaks]
    lines.append("Operations carried out, by host:")
    for work in outcome.work:
        done = ", ".join(f"{count} {op}" for op, count in sorted(work.did.items()))
        failed = sum(work.failed.values())
        lines.append(f"  {work.host}: {done or 'none'}" + (f"; {failed} failed" if failed else ""))
    lines.append("Left over at the end: " + (", ".join(outcome.left[:MOST_SHOWN]) or "nothing") + ".")
    return "\n".join(lines)


if __name__ == "__main__":
    simulate.main(prog_name="leasehold simulate")
