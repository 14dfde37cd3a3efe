# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Suspended to disk and resumed: in which order, what the ledger holds meanwhile, and who may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
import time_machine
from sqlalchemy import select, update

from app.booking import accounting, decide
from app.booking.host import maintain
from app.booking.resize import resize
from app.booking.suspend import resume, suspend
from app.db import event, ledger, resource, trouble
from app.db.account import Account
from app.db.base import Database
from app.db.look import Look
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.errors import Conflict, LeaseholdError, NoRoom, NotAllowed, NotFound
from app.domain.refusal import InTheWay
from app.domain.slot import Slot
from app.settings import Settings
from tests.factories import NOW, book, make_account, make_site
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MACHINES = ("frontend", "node1", "node2")
Act = Callable[..., None]


@pytest.fixture
def booked(database: Database, settings: Settings) -> Iterator[int]:
    """A ready cluster of two nodes in [NOW, NOW + 1 h), at NOW, on the site `make_site`, of alice's."""
    with time_machine.travel(NOW, tick=False):
        make_site(database)
        carol = make_account(database, "carol", "cluster_provider")
        made = book(database, make_account(database))
        decide.approve(database, settings, carol, made, 1, now=NOW)
        turn(database, settings)
        settle(database)
        turn(database, settings)
        yield made


def turn(database: Database, settings: Settings) -> None:
    """One schedule pass, as if the time until it looks again had passed."""
    with database.writing() as session:
        session.execute(update(Reservation).values(retry_at=None))
    assert advance(database, settings, Blueprint(settings).lay_out)[1] == 0


def settle(database: Database) -> None:
    """Every row is as it is wanted."""
    with database.writing() as session:
        session.execute(update(Resource).values(have=Resource.want))


def row_of(database: Database, booked: int) -> Reservation:
    with database.reading() as session:
        return session.get_one(Reservation, booked)


def ask(
    database: Database, settings: Settings, deed: Act, booked: int, by: str = "alice", now: datetime = NOW
) -> None:
    with database.reading() as session:
        who = session.scalars(select(Account).where(Account.name == by)).one()
        version = session.get_one(Reservation, booked).version
    deed(database, settings, who, booked, version, now=now)


def suspended(database: Database, settings: Settings, booked: int) -> None:
    """Suspend it, and let the passes do all there is to do."""
    ask(database, settings, suspend, booked)
    for _ in range(2):
        turn(database, settings)
        settle(database)
    turn(database, settings)
    assert row_of(database, booked).state == "suspended"


def saved(database: Database, booked: int) -> dict[str, tuple[bool, str]]:
    """Machine -> whether it is asked to be saved, and what is known of it."""
    with database.reading() as session:
        rows = resource.of_reservation(session, booked)
    machines = [row for row in rows if row.op == "domain"]
    return {row.name.partition("-")[2]: (row.args.get("saved", False), row.have) for row in machines}


def held(database: Database, booked: int) -> dict[str, int]:
    """What it holds, by resource."""
    found: dict[str, int] = {}
    with database.reading() as session:
        for one in ledger.held_by(session, booked):
            found[one.resource] = found.get(one.resource, 0) + one.amount
    return found


def test_compute_nodes_are_saved_before_their_frontend_and_run_after_it(
    database: Database, database_url: str, booked: int, settings: Settings
) -> None:
    with Look(database_url) as look:
        assert not look.is_due("schedule", timedelta(0), NOW)
        ask(database, settings, suspend, booked)
        assert look.is_due("schedule", timedelta(0), NOW), "an idle schedule pass sees that there is work"
    turn(database, settings)
    still, told = (False, "present"), (True, "unknown")
    assert saved(database, booked) == {"frontend": still, "node1": told, "node2": told}
    turn(database, settings)
    assert saved(database, booked)["frontend"] == still, "its nodes are not saved yet"
    settle(database)
    turn(database, settings)
    assert saved(database, booked) == {
        "frontend": told,
        "node1": (True, "present"),
        "node2": (True, "present"),
    }
    assert row_of(database, booked).state == "ready"
    settle(database)
    turn(database, settings)
    assert row_of(database, booked).state == "suspended"
    ask(database, settings, resume, booked)
    turn(database, settings)
    assert set(saved(database, booked).values()) == {(False, "unknown")}
    with database.writing() as session:
        due = resource.claim(session, "machine", "me", NOW, MINUTE)
        assert [row.name for row in due] == [f"lh{booked}-frontend"]
        resource.settle(session, due[0].id, "me", "present", {"have": "present"})
    with database.writing() as session:
        assert len(resource.claim(session, "machine", "me", NOW, MINUTE)) == 2
    settle(database)
    turn(database, settings)
    row = row_of(database, booked)
    assert (row.state, row.ready_at) == ("ready", NOW)
    with database.reading() as session:
        kinds = [one.kind for one in event.of_reservation(session, booked)]
    assert kinds[:4] == ["ready", "resume", "suspended", "suspend"]


def test_while_it_is_suspended_its_processors_and_memory_are_free(
    database: Database, booked: int, settings: Settings
) -> None:
    full = held(database, booked)
    ask(database, settings, suspend, booked)
    turn(database, settings)
    assert held(database, booked) == full, "its machines still run"
    suspended_at = NOW + 30 * MINUTE
    with time_machine.travel(suspended_at, tick=False):
        for _ in range(2):
            settle(database)
            turn(database, settings)
        assert row_of(database, booked).state == "suspended"
        less = {name: full[name] - held(database, booked).get(name, 0) for name in full}
        gone = {name: amount for name, amount in less.items() if amount}
        assert gone == {"vcpu": full["vcpu"], "memory_mib": full["memory_mib"], "node": 2}
    report = accounting.report(database, settings, None, NOW, NOW + HOUR, "reservation")
    (used,) = report.uses
    assert used.node_hours == pytest.approx(1.0)
    assert used.disk_gib_hours == pytest.approx(full["disk_mib"] / 1024)
    ask(database, settings, resume, booked)
    assert held(database, booked) == full
    ask(database, settings, lambda *a, **k: decide.cancel(*a[:1], *a[2:4], **k), booked)
    turn(database, settings)
    settle(database)
    turn(database, settings)
    assert (row_of(database, booked).state, held(database, booked)) == ("ended", {})


def test_without_room_it_stays_suspended_and_is_told_who_is_in_the_way_and_until_when(
    database: Database, booked: int, settings: Settings
) -> None:
    suspended(database, settings, booked)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(vcpus=1))
    bob = make_account(database, "bob")
    until = NOW + 20 * MINUTE
    book(database, bob, name="other", node_count=1, end=until, settings=settings)
    before = held(database, booked)
    with pytest.raises(NoRoom) as refused:
        ask(database, settings, resume, booked)
    there = until + timedelta(seconds=settings.booking.gap_s)
    assert refused.value.reasons == (
        "gw1: 0 of 1 vCPU free in what is left of the slot.",
        f"As things stand now there is room for it from {there:%Y-%m-%d %H:%M} UTC.",
    )
    assert refused.value.in_the_way == (InTheWay("another project", None, there),)
    assert (held(database, booked), row_of(database, booked).state) == (before, "suspended")
    with pytest.raises(NoRoom) as refused:
        ask(database, settings, resume, booked, "carol")
    assert refused.value.in_the_way == (InTheWay("the cluster other", "other", there),)


def test_a_host_that_cannot_be_used_is_named(database: Database, booked: int, settings: Settings) -> None:
    suspended(database, settings, booked)
    maintain(database, "c1", Slot(NOW, NOW + 2 * HOUR), "new memory", by="carol", now=NOW)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(state="drained"))
    with pytest.raises(NoRoom) as refused:
        ask(database, settings, resume, booked)
    assert refused.value.reasons[0] == "gw1 cannot be used: it is drained, or does not answer."
    assert refused.value.reasons[-1] == "There is no room for it before its slot ends."
    assert "maintenance of c1" in {one.what for one in refused.value.in_the_way}


def test_who_thinks_better_of_it_half_way_loses_nothing(
    database: Database, booked: int, settings: Settings
) -> None:
    full = held(database, booked)
    ask(database, settings, suspend, booked)
    turn(database, settings)
    ask(database, settings, resume, booked)
    turn(database, settings)
    assert {asked for asked, _ in saved(database, booked).values()} == {False}
    settle(database)
    turn(database, settings)
    assert (row_of(database, booked).state, held(database, booked)) == ("ready", full)


def test_the_end_of_the_slot_takes_what_was_saved_too(
    database: Database, booked: int, settings: Settings
) -> None:
    suspended(database, settings, booked)
    with time_machine.travel(NOW + HOUR, tick=False):
        turn(database, settings)
        row = row_of(database, booked)
        assert row.state == "ending"
        with database.reading() as session:
            rows = resource.of_reservation(session, booked)
        assert {one.want for one in rows} == {"absent"}
        settle(database)
        turn(database, settings)
    assert (row_of(database, booked).state, held(database, booked)) == ("ended", {})


def test_a_suspended_cluster_on_a_host_that_does_not_answer_is_degraded(
    database: Database, booked: int, settings: Settings
) -> None:
    suspended(database, settings, booked)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(failing_since=NOW, lost_at=NOW))
        assert trouble.degraded(session, [booked]) == {booked: "gw1 does not answer: frontend."}


def test_what_cannot_be_suspended_or_resumed_says_why(
    database: Database, booked: int, settings: Settings
) -> None:
    def refusal(deed: Act, by: str = "alice", settings: Settings = settings, now: datetime = NOW) -> str:
        before = row_of(database, booked).version
        with pytest.raises(LeaseholdError) as why:
            ask(database, settings, deed, booked, by, now)
        assert isinstance(why.value, Conflict | NotAllowed | NotFound)
        assert row_of(database, booked).version == before
        return str(why.value)

    make_account(database, "bob")
    make_account(database, "otto", "operator")
    assert refusal(suspend, "bob") == "There is no such reservation."
    assert refusal(suspend, "otto") == "Only its owner or a cluster provider may change a reservation."
    assert "Xen" in refusal(suspend, settings=replace(settings, hypervisor="xen"))
    assert refusal(resume) == "It is not suspended, or about to be resumed."
    ask(database, settings, partial(resize, counts={"node": 1}), booked)
    assert refusal(suspend) == "Its nodes come or go: suspend it when that is done."
    for _ in range(3):
        turn(database, settings)
        settle(database)
    turn(database, settings)
    ask(database, settings, suspend, booked, "carol")
    assert refusal(suspend) == "It is suspended already, or about to be."
    assert refusal(partial(resize, counts={"node": 2}), "carol").startswith("It is suspended: resume it")
    assert refusal(resume, now=NOW + HOUR) == "Its slot is over: there is nothing left to resume."


def test_only_what_is_ready_is_suspended(database: Database, settings: Settings) -> None:
    make_site(database)
    booked = book(database, make_account(database))
    with pytest.raises(Conflict, match="It is requested: only a cluster that is ready can be suspended"):
        ask(database, settings, suspend, booked)
