# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The course of a simulated site: real passes until nothing is due, then the clock jumps to what comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.base import Database
from app.db.look import Look
from app.db.pass_run import PASSES
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.lifecycle import LIVE
from app.settings import Settings
from workers.engine.advance import LayOut, advance, lead_of
from workers.engine.run_pass import Pass
from workers.simulator.hosts import SimulatedHosts

HOST_PASSES = tuple(name for name in PASSES if name != "schedule")


@dataclass
class SimulatedClock:
    """A clock that stands still until it is set."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Act:
    """Something that happens from outside at a moment: a host dies, somebody cancels."""

    at: datetime
    do: Callable[[], object]


class Course:
    """The five passes of one site over simulated hosts; `clock` is theirs, too."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        lay_out: LayOut,
        hosts: SimulatedHosts,
        clock: SimulatedClock,
    ) -> None:
        self.database, self.settings, self.lay_out, self.clock = database, settings, lay_out, clock
        # The clock jumps to what comes next; nobody looks at hosts meanwhile.
        unwatched = replace(settings, passes=replace(settings.passes, look_s=0.0))
        self.passes = [Pass(database, unwatched, name, lambda: hosts, clock) for name in HOST_PASSES]
        self.moments = 0

    def run(self, until: datetime, acts: Sequence[Act] = ()) -> None:
        """Let time pass until `until`, or until nothing can happen any more; acts take place in their order."""
        coming = sorted(acts, key=lambda act: act.at)
        with Look(self.settings.database) as look:
            while True:
                while coming and coming[0].at <= self.clock.now:
                    coming.pop(0).do()
                while self._turn(look):
                    pass
                self.moments += 1
                with self.database.reading() as session:
                    following = next_moment(session, self.settings, self.clock.now)
                moments = [act.at for act in coming[:1]] + ([following] if following else [])
                if not moments or min(moments) > until:
                    self.clock.now = until
                    return
                self.clock.now = min(moments)

    def _turn(self, look: Look) -> bool:
        """Every pass that has something to do, once; whether one of them came any further."""
        now = self.clock.now
        with self.database.reading() as session:
            lead = lead_of(session, self.settings)
        moved = False
        if look.is_due("schedule", lead, now):
            moved = any(advance(self.database, self.settings, self.lay_out, self.clock))
        for one in self.passes:
            if look.is_due(one.name, lead, now):
                tally = one.run(lambda: False)
                moved = moved or bool(tally.worked or tally.failed)
        return moved


def next_moment(session: Session, settings: Settings, now: datetime) -> datetime | None:
    """When, after `now`, something becomes due by the clock alone; None where nothing ever does."""
    r, c = Reservation, Resource
    lead = lead_of(session, settings)
    is_open = c.want != c.have
    running = r.state.in_(("approved", "building", "ready", "suspended"))
    moments = [
        session.scalar(query)
        for query in (
            select(func.min(r.hold_until)).where(r.state == "requested", r.hold_until > now),
            select(func.min(r.end_at)).where(running, r.end_at > now),
            select(func.min(r.keep_until)).where(r.state == "saved", r.keep_until > now),
            select(func.min(r.retry_at)).where(r.state.in_(LIVE), r.retry_at > now),
            select(func.min(c.retry_at)).where(is_open, c.retry_at > now),
            select(func.min(c.lease_until)).where(is_open, c.lease_until > now),
            select(func.min(Host.suspect_until)).where(Host.suspect_until > now),
        )
    ]
    start = session.scalar(select(func.min(r.start_at)).where(r.state == "approved", r.start_at > now + lead))
    moments.append(start - lead if start else None)
    return min((moment for moment in moments if moment is not None), default=None)
