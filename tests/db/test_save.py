# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Disks that outlive a slot, and the cluster booked again on them: what stands, what the ledger holds, who may not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update

from app.booking import accounting, decide
from app.booking.change import latest_end, set_end
from app.booking.offer import make
from app.booking.replace import move_off
from app.booking.resize import resize
from app.booking.save import keep, restore
from app.db import event, ledger, resource, site
from app.db.account import Account
from app.db.base import Database
from app.db.look import Look
from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.errors import Conflict, InvalidRequest, NoRoom, NotAllowed, NotFound
from app.settings import Settings
from tests.factories import NOW, ROLLS, book, make_account, make_host, make_site, wish
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OVER = NOW + HOUR
KEPT = OVER + 7 * DAY
AGAIN: dict[str, Any] = {"name": "again", "start": OVER + DAY, "end": OVER + DAY + HOUR}


@pytest.fixture
def booked(database: Database, settings: Settings) -> Iterator[int]:
    """A ready cluster of two nodes in [NOW, OVER), at NOW, on the site `make_site`, of alice's."""
    with time_machine.travel(NOW, tick=False):
        make_site(database)
        carol = make_account(database, "carol", "cluster_provider")
        made = book(database, make_account(database))
        decide.approve(database, settings, carol, made, 1, now=NOW)
        go_on(database, settings)
        yield made


def go_on(database: Database, settings: Settings, at: datetime = NOW) -> None:
    """Let the passes do at this time all there is to do: whatever is wanted of a row comes to be."""
    with time_machine.travel(at, tick=False):
        for _ in range(3):
            assert advance(database, settings, Blueprint(settings).lay_out)[1] == 0
            with database.writing() as session:
                session.execute(update(Resource).values(have=Resource.want, present_at=at))


def row_of(database: Database, number: int) -> Reservation:
    with database.reading() as session:
        row = session.get_one(Reservation, number)
        assert row.nodes
        assert row.users
        return row


def who(database: Database, name: str = "alice") -> Account:
    with database.reading() as session:
        return session.scalars(select(Account).where(Account.name == name)).one()


def keep_it(
    database: Database,
    settings: Settings,
    number: int,
    until: datetime | None = KEPT,
    by: str = "alice",
    now: datetime = NOW,
) -> None:
    seen = row_of(database, number).version
    keep(database, settings, who(database, by), number, seen, until, now=now)


def saved(database: Database, settings: Settings, number: int) -> None:
    keep_it(database, settings, number)
    go_on(database, settings, OVER)
    assert row_of(database, number).state == "saved"


def restore_it(
    database: Database,
    settings: Settings,
    number: int,
    by: str = "alice",
    now: datetime = OVER,
    **over: Any,
) -> int:
    seen = row_of(database, number).version
    return restore(database, settings, who(database, by), number, seen, AGAIN | over, now=now)


def stands(database: Database, number: int) -> dict[str, str]:
    """Name of what stands, or is to, of this reservation -> operation."""
    with database.reading() as session:
        rows = resource.of_reservation(session, number)
    return {f"{row.op} {row.name}": row.have for row in rows if row.want == "present"}


def held(database: Database, number: int, at: datetime) -> dict[str, int]:
    """What it holds at this moment, by resource."""
    found: dict[str, int] = {}
    with database.reading() as session:
        for one in ledger.held_by(session, number):
            if one.start <= at < one.end:
                found[one.resource] = found.get(one.resource, 0) + one.amount
    return found


VOLUMES = ("frontend-home", "frontend-root", "node1-root", "node2-root")


def test_its_disks_stay_when_all_else_of_it_is_gone(
    database: Database, database_url: str, booked: int, settings: Settings
) -> None:
    whole = held(database, booked, NOW)
    keep_it(database, settings, booked)
    assert held(database, booked, NOW) == whole
    assert held(database, booked, KEPT - HOUR) == {"disk_mib": whole["disk_mib"]}, "room is held at once"
    with time_machine.travel(OVER, tick=False):
        assert advance(database, settings, Blueprint(settings).lay_out) == (1, 0)
    assert row_of(database, booked).state == "ending"
    with database.reading() as session:
        machines = [row for row in resource.of_reservation(session, booked) if row.op == "domain"]
    assert [(row.want, row.args["gently"]) for row in machines] == [("absent", True)] * 3
    with Look(database_url) as look:
        assert not look.is_due("schedule", timedelta(0), OVER), "its machines shut down"
        go_on(database, settings, OVER)
        assert not look.is_due("schedule", timedelta(0), KEPT - HOUR)
        assert look.is_due("schedule", timedelta(0), KEPT)
    assert row_of(database, booked).state == "saved"
    assert stands(database, booked) == {f"file lh{booked}-{name}": "present" for name in VOLUMES}
    assert held(database, booked, OVER) == {"disk_mib": whole["disk_mib"]}
    with database.reading() as session:
        assert site.assignments(session, booked) == {}
    go_on(database, settings, KEPT)
    assert row_of(database, booked).state == "ended"
    assert (stands(database, booked), held(database, booked, KEPT)) == ({}, {})


def test_its_disks_are_used_for_as_long_as_they_are_kept(
    database: Database, booked: int, settings: Settings
) -> None:
    gib = held(database, booked, NOW)["disk_mib"] / 1024
    saved(database, settings, booked)
    report = accounting.report(database, settings, None, NOW, KEPT + DAY, "reservation")
    (used,) = report.uses
    assert used.disk_gib_hours == pytest.approx(gib * (1 + 7 * 24))
    assert (used.node_hours, used.address_hours) == pytest.approx((2, 1))
    keep_it(database, settings, booked, None, now=OVER + 9 * HOUR)
    go_on(database, settings, OVER + 10 * HOUR)
    report = accounting.report(database, settings, None, OVER + HOUR, KEPT + DAY, "reservation")
    assert [use.disk_gib_hours for use in report.uses] == pytest.approx([gib * 8])


def test_it_is_booked_again_on_other_hosts_and_stands_on_its_disks_under_its_names(
    database: Database, booked: int, settings: Settings
) -> None:
    saved(database, settings, booked)
    disk_mib = held(database, booked, OVER)["disk_mib"]
    with database.writing() as session:
        session.execute(update(Host).where(Host.name.in_(("c1", "gw1"))).values(state="drained"))
    make_host(database, "gw2", "gateway")
    again = restore_it(database, settings, booked)
    row, before = row_of(database, again), row_of(database, booked)
    same = ("position", "name", "kind", "disk_gib", "storage_id")
    assert [[getattr(node, name) for name in same] for node in row.nodes] == [
        [getattr(node, name) for name in same] for node in before.nodes
    ]
    assert [(u.name, u.uid, u.keys) for u in row.users] == [(u.name, u.uid, u.keys) for u in before.users]
    during = AGAIN["start"] + HOUR / 2
    assert "disk_mib" not in held(database, again, during)
    assert held(database, booked, during) == {"disk_mib": disk_mib}, "the saved cluster holds its disks"
    decide.approve(database, settings, who(database, "carol"), again, 1, now=OVER)
    go_on(database, settings, AGAIN["start"])
    assert row_of(database, again).state == "ready"
    stand = stands(database, again)
    assert {f"tgt lh{booked}-{name}" for name in VOLUMES} < set(stand)
    assert not [name for name in stand if name.split()[0] in ("file", "image")]
    with database.reading() as session:
        rows = {row.name: row for row in resource.of_reservation(session, again)}
        frontend = rows[f"lh{booked}-frontend"]
        hosts = {host.id: host.name for host in site.hosts(session)}
        where = [hosts[node.host_id] for node in session.get_one(Reservation, again).nodes]
        needs = resource.needs_of(session, again)
        volumes = {row.name: row.id for row in resource.of_reservation(session, booked)}
    assert where == ["gw2", "c2", "c2"]
    assert frontend.host_id != before.nodes[0].host_id
    exports = [row for row in rows.values() if row.op == "tgt"]
    assert all(needs[row.id] == [volumes[row.name]] for row in exports)
    (iso,) = [row for row in rows.values() if row.op == "iso"]
    assert '"instance-id": "again"' in iso.args["files"]["meta-data"]
    assert '"cluster": "class"' in iso.args["files"]["leasehold/site.json"]
    go_on(database, settings, AGAIN["end"])
    assert row_of(database, again).state == "ended"
    with database.reading() as session:
        machines = [row for row in resource.of_reservation(session, again) if row.op == "domain"]
    assert [row.args["gently"] for row in machines] == [True] * 3, "its disks outlive it"
    assert row_of(database, booked).state == "saved"
    assert stands(database, booked) == {f"file lh{booked}-{name}": "present" for name in VOLUMES}


def test_a_third_slot_finds_the_names_of_the_second_free(
    database: Database, booked: int, settings: Settings
) -> None:
    saved(database, settings, booked)
    at = OVER
    for name in ("second", "third"):
        number = restore_it(database, settings, booked, now=at, name=name, start=at, end=at + HOUR)
        decide.approve(database, settings, who(database, "carol"), number, 1, now=at)
        go_on(database, settings, at)
        assert row_of(database, number).state == "ready"
        at += HOUR
        go_on(database, settings, at)
        assert row_of(database, number).state == "ended"


def test_the_disk_that_every_node_may_write_is_kept_with_the_others(
    database: Database, booked: int, settings: Settings
) -> None:
    """R83 with R81; of another cluster, whose slot is at the same time."""
    carol = who(database, "carol")
    other = book(database, who(database), name="other", shared_disk_gib=2, settings=settings)
    decide.approve(database, settings, carol, other, 1, now=NOW)
    go_on(database, settings)
    disk_mib = held(database, other, NOW)["disk_mib"]
    assert disk_mib == held(database, booked, NOW)["disk_mib"] + 2048
    saved(database, settings, other)
    assert stands(database, other) == {f"file lh{other}-{name}": "present" for name in (*VOLUMES, "shared")}
    assert held(database, other, OVER) == {"disk_mib": disk_mib}
    again = restore_it(database, settings, other)
    decide.approve(database, settings, carol, again, 1, now=OVER)
    go_on(database, settings, AGAIN["start"])
    row, stand = row_of(database, again), stands(database, again)
    assert (row.state, row.shared_disk_gib) == ("ready", 2)
    assert [name for name in stand if name.endswith("-shared")] == [f"tgt lh{other}-shared"]


def test_one_cluster_at_a_time_has_its_disks_and_they_do_not_go_under_it(
    database: Database, booked: int, settings: Settings
) -> None:
    saved(database, settings, booked)
    again = restore_it(database, settings, booked)
    with pytest.raises(Conflict, match="It is booked already, as again"):
        restore_it(database, settings, booked, name="other")
    with pytest.raises(Conflict, match="The cluster again stands on its disks"):
        keep_it(database, settings, booked, None, now=OVER)
    with pytest.raises(Conflict, match="The cluster again stands on its disks until"):
        keep_it(database, settings, booked, AGAIN["end"] - timedelta(minutes=1), now=OVER)
    with pytest.raises(Conflict, match="cancel that first"):
        decide.cancel(database, who(database), booked, now=OVER)
    alice = who(database)
    with pytest.raises(InvalidRequest) as refused:
        set_end(database, settings, alice, again, 1, KEPT + HOUR, now=OVER)
    assert "Its disks are kept until" in refused.value.fields["end"]
    assert latest_end(database, settings, alice, again, now=OVER).end == KEPT
    with pytest.raises(Conflict, match="Its disks are those of class"):
        keep_it(database, settings, again, now=OVER)
    decide.cancel(database, alice, again, now=OVER)
    go_on(database, settings, OVER)
    assert row_of(database, again).state == "cancelled"
    decide.cancel(database, alice, booked, now=OVER)
    go_on(database, settings, OVER)
    assert row_of(database, booked).state == "ended"


def test_what_is_cancelled_is_kept_if_that_was_asked_for(
    database: Database, booked: int, settings: Settings
) -> None:
    keep_it(database, settings, booked)
    decide.cancel(database, who(database), booked, now=NOW)
    go_on(database, settings, NOW + HOUR / 4)
    assert row_of(database, booked).state == "saved"
    assert set(held(database, booked, NOW + HOUR / 2)) == {"disk_mib"}
    number = restore_it(database, settings, booked, now=NOW + HOUR / 2, start=None)
    assert row_of(database, number).saved_id == booked


def test_the_wish_can_be_taken_back_and_moves_with_the_end(
    database: Database, booked: int, settings: Settings
) -> None:
    carol = who(database, "carol")
    keep_it(database, settings, booked)
    set_end(database, settings, carol, booked, row_of(database, booked).version, OVER + HOUR, now=NOW)
    for at in (NOW, OVER, OVER + HOUR, KEPT - HOUR):
        assert held(database, booked, at)["disk_mib"] == held(database, booked, NOW)["disk_mib"]
    with pytest.raises(InvalidRequest):
        set_end(database, settings, carol, booked, row_of(database, booked).version, KEPT, now=NOW)
    keep_it(database, settings, booked, None)
    assert held(database, booked, OVER + 2 * HOUR) == {}
    go_on(database, settings, OVER + HOUR)
    assert row_of(database, booked).state == "ended"


def test_what_does_not_fit_is_refused(database: Database, booked: int, settings: Settings) -> None:
    for until in (OVER, NOW - HOUR, OVER + timedelta(days=367)):
        with pytest.raises(InvalidRequest):
            keep_it(database, settings, booked, until)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "st1").values(disk_mib=20 * 1024))
    book(database, make_account(database, "bob"), name="other", start=OVER, end=KEPT, settings=settings)
    with pytest.raises(NoRoom, match=r"st1: .* MiB of disk free for so long") as refused:
        keep_it(database, settings, booked)
    assert [one.what for one in refused.value.in_the_way] == ["another project"]
    assert row_of(database, booked).keep_until is None


def test_it_is_not_restored_where_it_cannot_stand(
    database: Database, booked: int, settings: Settings
) -> None:
    with pytest.raises(Conflict, match="It is ready: only a saved cluster is restored"):
        restore_it(database, settings, booked, now=NOW)
    saved(database, settings, booked)
    with pytest.raises(InvalidRequest) as wrong:
        restore_it(database, settings, booked, end=KEPT + HOUR)
    assert "keep them longer first" in wrong.value.fields["end"]
    with pytest.raises(InvalidRequest, match="class"):
        restore_it(database, settings, booked, name="class")
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "st1").values(state="drained"))
    with pytest.raises(NoRoom, match="st1, which has its disks, cannot be used"):
        restore_it(database, settings, booked)
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "st1").values(state="enabled"))
        session.execute(update(Host).where(Host.name == "gw1").values(vcpus=0))
    with pytest.raises(NoRoom, match="No gateway host has room"):
        restore_it(database, settings, booked)


def test_only_its_owner_and_cluster_providers_keep_and_restore_it(
    database: Database, booked: int, settings: Settings
) -> None:
    make_account(database, "bob")
    make_account(database, "olga", "operator")
    with pytest.raises(NotFound):
        keep_it(database, settings, booked, by="bob")
    with pytest.raises(NotAllowed):
        keep_it(database, settings, booked, by="olga")
    saved(database, settings, booked)
    with pytest.raises(NotFound):
        restore_it(database, settings, booked, by="bob")
    with pytest.raises(NotAllowed):
        restore_it(database, settings, booked, by="olga")
    assert restore_it(database, settings, booked, by="carol")
    with database.reading() as session:
        assert event.of_reservation(session, booked)[0].kind == "restore"


def test_its_nodes_and_terms_stay_those_of_its_disks(
    database: Database, booked: int, settings: Settings
) -> None:
    keep_it(database, settings, booked)
    with pytest.raises(Conflict, match="its nodes stay"):
        resize(
            database, settings, who(database), booked, row_of(database, booked).version, {"node": 1}, now=NOW
        )
    go_on(database, settings, OVER)
    with pytest.raises(Conflict, match="there is nothing left to change"):
        set_end(database, settings, who(database), booked, row_of(database, booked).version, KEPT, now=OVER)
    again = restore_it(database, settings, booked)
    with pytest.raises(Conflict, match="its nodes stay"):
        resize(database, settings, who(database), again, 1, {"node": 1}, now=OVER)
    terms: dict[str, Any] = {"start": AGAIN["start"], "end": AGAIN["end"], "node_count": 1}
    with pytest.raises(Conflict, match="as large as its disks are"):
        make(
            database,
            settings,
            who(database, "carol"),
            again,
            1,
            wish(**terms),
            "smaller",
            rolls=ROLLS,
            now=OVER,
        )


def test_it_is_moved_off_a_host_that_is_out_before_it_is_built(
    database: Database, booked: int, settings: Settings
) -> None:
    saved(database, settings, booked)
    again = restore_it(database, settings, booked)
    make_host(database, "gw2", "gateway")
    with database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(state="drained"))
    (moved,) = move_off(database, settings, now=OVER, actor="test")
    assert (moved.reservation_id, moved.moves) == (again, ("frontend moved from gw1 to gw2",))
    row = row_of(database, again)
    assert {node.storage_id for node in row.nodes} == {row_of(database, booked).nodes[0].storage_id}
    assert "disk_mib" not in held(database, again, AGAIN["start"])
