# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole weeks of a site in simulated time, by the real passes: what was booked is ready, fits, and goes away."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.db import resource, trouble
from app.db.base import Database
from app.db.event import Event
from app.db.reservation import Node, Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.domain.capacity import Taken, peaks
from app.domain.errors import SiteError
from app.domain.roll import offered
from app.domain.slot import Slot
from app.settings import Network, Passes, Settings, Storage
from tests.factories import NOW, make_account, make_host
from workers import simulate
from workers.engine.blueprint import Blueprint
from workers.engine.run_pass import Pass
from workers.node.ops import OPS
from workers.node.protocol import Remit
from workers.simulator import wishes
from workers.simulator.course import HOST_PASSES, Act, Course, SimulatedClock
from workers.simulator.hosts import Manner, SimulatedHosts
from workers.simulator.outcome import Outcome, sum_up

ROLLS = Path(__file__).parents[1] / "data" / "rolls-tiny"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path) -> Settings:
    """A site's settings over an empty database; hosts are asked seldom, so that time passes quickly."""
    key = tmp_path / "site.key"
    key.touch(0o600)
    key.write_bytes(bytes(32))
    return Settings(
        database=sqlite_url, rolls_dir=str(ROLLS), site_key_file=str(key), passes=Passes(poll_s=30)
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    made = Database(settings.database)
    yield made
    made.close()


def fill(database: Database, computes: int, **over: Any) -> None:
    make_host(database, "gw1", "gateway", vcpus=64, memory_mib=1 << 18)
    for number in range(1, computes + 1):
        make_host(database, f"c{number}", "compute", **over)
    make_host(database, "st1", "storage", "builder", disk_mib=1 << 24)


def wish(name: str, start: datetime, length: timedelta, **over: Any) -> dict[str, Any]:
    return {**wishes.DEFAULTS, "name": name, "start": start, "end": start + length, **over}


class Week:
    """A site whose time passes; `hosts` can be let down meanwhile."""

    def __init__(self, database: Database, settings: Settings, manner: Manner | None = None) -> None:
        self.database, self.settings, self.clock = database, settings, SimulatedClock(NOW)
        self.blueprint = Blueprint(settings)
        with database.reading() as session:
            names = session.scalars(select(Host.name)).all()
        bridges = (settings.network.public_bridge,)
        remit = Remit(settings.mark, settings.host_dir, tuple(OPS), bridges, "vg0", "pool")
        self.hosts = SimulatedHosts(names, remit, self.clock, manner or Manner())

    def run(self, asked: list[dict[str, Any]], until: datetime, *acts: Act) -> Outcome:
        booked, refused = wishes.book(
            self.database, self.settings, asked, software=offered(self.blueprint.rolls), now=NOW
        )
        course = Course(self.database, self.settings, self.blueprint.lay_out, self.hosts, self.clock)
        course.run(until, acts)
        with self.database.reading() as session:
            return sum_up(session, self.settings, self.hosts, Slot(NOW, until), booked, refused)


def stood(database: Database) -> tuple[dict[tuple[int | str, str], int], dict[tuple[int | str, str], int]]:
    """The most that machines that really stood took of each host at any instant, and what the hosts have."""
    with database.reading() as session:
        rows = session.execute(
            select(Resource.host_id, Node.vcpus, Node.memory_mib, Resource.started_at, Resource.absent_at)
            .join(Node, Node.id == Resource.node_id)
            .where(Resource.op == "domain", Resource.started_at.is_not(None))
        ).all()
        hosts = session.scalars(select(Host)).all()
    taken = [
        Taken(host_id, resource, amount, begun, gone or NOW + 400 * DAY)
        for host_id, vcpus, memory, begun, gone in rows
        if begun
        for resource, amount in (("vcpu", vcpus), ("memory_mib", memory))
    ]
    have: dict[tuple[int | str, str], int] = {(host.id, "vcpu"): host.vcpus for host in hosts}
    return peaks(taken, Slot(NOW, NOW + 400 * DAY)), have | {
        (host.id, "memory_mib"): host.memory_mib for host in hosts
    }


def assert_no_host_ever_stood_too_full(database: Database) -> None:
    most, have = stood(database)
    assert most
    assert {key: amount for key, amount in most.items() if amount > have[key]} == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_week_of_a_hundred_bookings(database: Database, settings: Settings) -> None:
    # With no gap a cluster whose host is full until its slot begins is late by what building takes.
    settings = replace(settings, booking=replace(settings.booking, gap_s=600))
    fill(database, 6)
    chance = random.Random(7)
    starts = [NOW + timedelta(minutes=chance.randrange(60, 7 * 24 * 60)) for _ in range(100)]
    asked = [
        wish(
            f"vc{number}",
            start,
            timedelta(minutes=chance.randrange(60, 12 * 60)),
            node_count=chance.randrange(1, 5),
            vcpus=chance.randrange(1, 5),
        )
        for number, start in enumerate(starts)
    ]
    outcome = Week(database, settings).run(asked, NOW + 9 * DAY)
    assert len(outcome.booked) + len(outcome.refused) == 100
    assert len(outcome.booked) > 80
    assert all(refusal.reasons for refusal in outcome.refused)
    assert {fate.state for fate in outcome.fates} == {"ended"}
    assert max(fate.late_s for fate in outcome.fates if fate.late_s is not None) <= 0
    assert {peak.resource: peak for peak in outcome.peaks if peak.most > peak.have} == {}
    assert outcome.left == []
    assert_no_host_ever_stood_too_full(database)


def test_on_a_full_host_the_next_is_built_when_the_last_is_gone_or_in_time_where_a_gap_is_kept(
    database: Database, settings: Settings
) -> None:
    fill(database, 1)
    whole = {"node_count": 2, "vcpus": 4}
    starts = [NOW + HOUR, NOW + 2 * HOUR, NOW + 3.5 * HOUR]
    asked = [wish(f"vc{number}", start, HOUR, **whole) for number, start in enumerate(starts)]
    outcome = Week(database, settings).run(asked, NOW + DAY)
    assert [fate.state for fate in outcome.fates] == ["ended"] * 3
    first, neighbour, after_a_gap = (fate.late_s or 0 for fate in outcome.fates)
    assert first <= 0
    assert after_a_gap <= 0
    assert 0 < neighbour < settings.booking.lead_s
    assert_no_host_ever_stood_too_full(database)


def test_what_fails_by_chance_is_tried_again_and_the_same_seed_gives_the_same(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    fill(database, 2)
    database.close()
    outcomes: list[Outcome] = []
    for seed in (3, 3, 4):
        copy = tmp_path / f"copy{len(outcomes)}.sqlite"
        shutil.copy(settings.database.removeprefix("sqlite:///"), copy)
        there = replace(settings, database=f"sqlite:///{copy}")
        mine = Database(there.database)
        asked = [wish(f"vc{n}", NOW + n * HOUR, HOUR, node_count=2) for n in range(1, 3)]
        outcomes.append(Week(mine, there, Manner(failure_rate=0.3, seed=seed)).run(asked, NOW + DAY))
        mine.close()
    first, again, other = outcomes
    assert first == again
    assert other.work != first.work
    assert sum(sum(work.failed.values()) for work in first.work) > 0
    assert {fate.state for fate in first.fates} == {"ended"}
    assert first.left == []


def test_a_cluster_on_a_host_that_dies_goes_away_as_soon_as_the_host_is_back(
    database: Database, settings: Settings
) -> None:
    fill(database, 1)
    week = Week(database, settings)
    c1 = week.hosts.by_name["c1"]
    outcome = week.run(
        [wish("vc", NOW + HOUR, 2 * HOUR, node_count=2)],
        NOW + DAY,
        Act(NOW + 2 * HOUR, lambda: setattr(c1, "is_up", False)),
        Act(NOW + 4 * HOUR, lambda: _still(database, "ending")),
        Act(NOW + 5 * HOUR, c1.reboot),
    )
    assert [fate.state for fate in outcome.fates] == ["ended"]
    assert outcome.left == []


def test_what_is_ahead_moves_off_a_host_that_dies_and_is_ready_in_time(
    database: Database, settings: Settings
) -> None:
    fill(database, 2)
    week = Week(database, settings)
    c1 = week.hosts.by_name["c1"]
    asked = [wish(f"vc{day}", NOW + day * DAY, 3 * HOUR, node_count=2) for day in range(1, 5)]
    outcome = week.run(
        asked,
        NOW + 6 * DAY,
        Act(NOW + DAY + HOUR, lambda: setattr(c1, "is_up", False)),
        Act(NOW + DAY + 5 * HOUR, c1.reboot),
    )
    assert {fate.state for fate in outcome.fates} == {"ended"}
    assert max(fate.late_s for fate in outcome.fates if fate.late_s is not None) <= 0
    assert outcome.left == []
    with database.reading() as session:
        moved = session.scalars(select(Event).where(Event.kind == "moved")).all()
        lost = session.scalars(select(Event.at).where(Event.kind == "host_lost")).one()
    assert len(moved) == 3, "those ahead; the one that stood there is told to be degraded"
    assert {event.at for event in moved} == {lost}
    assert all("from c1 to c2" in event.message for event in moved)


@pytest.mark.parametrize("name", ["gw1", "c1", "st1"])
def test_a_reboot_is_noticed_where_nothing_is_due_and_everything_comes_back_once(
    database: Database, settings: Settings, name: str
) -> None:
    by_kernel = Storage(volume="lvm", export="lio", attach="open_iscsi")
    settings = replace(settings, network=Network(driver="vlan"), storage=by_kernel)
    fill(database, 1)
    with database.writing() as session:
        for host in session.scalars(select(Host)):
            host.facts = {"initiator": f"iqn.2026-11.org.example:{host.name}"}
    week = Week(database, settings, Manner(durations_s={}))
    week.run([wish("vc", NOW + HOUR, 9 * HOUR, node_count=2)], NOW + 2 * HOUR)
    _still(database, "ready")
    passes = [Pass(database, settings, one, lambda: week.hosts, week.clock) for one in HOST_PASSES]
    rebooted = week.hosts.by_name[name]
    stood, did = set(rebooted.there), rebooted.did.copy()
    rebooted.reboot()
    lost = stood - set(rebooted.there)
    assert {op for op, _ in lost} >= {"vlan", "address"}
    for _ in range(8):
        for one in passes:
            one.run(lambda: False)
    assert set(rebooted.there) == stood
    assert rebooted.did - did == Counter(op for op, _ in lost), "each once"
    with database.reading() as session:
        assert {row.have for row in session.scalars(select(Resource))} == {"present"}
        kinds = session.scalars(select(Event.kind).where(Event.at >= week.clock.now)).all()
    assert (kinds.count("host_rebooted"), kinds.count("mended")) == (1, 1)


@pytest.mark.parametrize("driver", ["file", "lvm"])
def test_a_storage_host_that_is_another_machine_has_lost_its_volumes_and_makes_none_anew(
    database: Database, settings: Settings, driver: str
) -> None:
    settings = replace(settings, storage=Storage(volume=driver))
    fill(database, 1)
    week = Week(database, settings, Manner(durations_s={}))
    week.run([wish("vc", NOW + HOUR, 9 * HOUR, node_count=1)], NOW + 2 * HOUR)
    passes = [Pass(database, settings, one, lambda: week.hosts, week.clock) for one in HOST_PASSES]
    st1 = week.hosts.by_name["st1"]
    st1.replace()
    for _ in range(8):
        for one in passes:
            one.run(lambda: False)
    _still(database, "ready")
    assert st1.did[driver] == 3, "not one was made a second time"
    assert {op for op, _ in st1.there} == {"image"} | ({"golden"} if driver == "lvm" else set())
    with database.reading() as session:
        (number,) = session.scalars(select(Reservation.id))
        told = trouble.degraded(session, [number])[number]
        lost = session.scalars(select(Event.kind).where(Event.kind == "lost")).all()
    assert told == "st1 has lost the disks of frontend, the disks of node1."
    assert len(lost) == 3, "each of the three volumes, once"


def test_one_host_with_every_role_carries_a_whole_cluster(database: Database, settings: Settings) -> None:
    make_host(database, "all", "gateway", "compute", "storage", "builder")
    outcome = Week(database, settings).run([wish("vc", NOW + HOUR, HOUR, node_count=2)], NOW + DAY)
    (fate,) = outcome.fates
    assert (fate.state, outcome.refused, outcome.left) == ("ended", [], [])
    assert {work.host for work in outcome.work if work.did} == {"all"}


def test_another_manager_with_copies_of_keys_and_database_finds_all_as_it_is_and_carries_on(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    fill(database, 1)
    week = Week(database, settings, Manner(durations_s={}))
    week.run([wish("vc", NOW + HOUR, 9 * HOUR, node_count=2)], NOW + 2 * HOUR)
    _still(database, "ready")
    database.close()
    second = tmp_path / "second"
    second.mkdir()
    for file in (settings.database.removeprefix("sqlite:///"), settings.site_key_file):
        shutil.move(file, second / Path(file).name)
    key, copy = second / "site.key", next(second.glob("*.db"))
    settings = replace(settings, database=f"sqlite:///{copy}", site_key_file=str(key))
    mine, did = (
        Database(settings.database),
        {name: host.did.copy() for name, host in week.hosts.by_name.items()},
    )
    with mine.writing() as session:
        for host in session.scalars(select(Host)):
            resource.forget(session, host.id)  # it takes nothing for granted
    passes = [Pass(mine, settings, one, lambda: week.hosts, week.clock) for one in HOST_PASSES]
    for _ in range(8):
        for one in passes:
            one.run(lambda: False)
    assert {name: host.did for name, host in week.hosts.by_name.items()} == did, (
        "nothing was made a second time"
    )
    with mine.reading() as session:
        assert {row.have for row in session.scalars(select(Resource))} == {"present"}
    blueprint = Blueprint(settings)
    Course(mine, settings, blueprint.lay_out, week.hosts, week.clock).run(NOW + DAY, ())
    _still(mine, "ended")
    assert {op for host in week.hosts.by_name.values() for op, _ in host.there} == {"image"}
    mine.close()


def _still(database: Database, state: str) -> None:
    with database.reading() as session:
        assert session.scalars(select(Reservation.state)).all() == [state]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_farm_of_a_hundred_nodes_for_a_month(database: Database, settings: Settings) -> None:
    """R6: the computation farm of the paper, one frontend and a hundred nodes for thirty days."""
    fill(database, 20)
    asked = [wish("farm", NOW + 4 * HOUR, 30 * DAY, node_count=100, rolls=["nfs", "slurm"])]
    outcome = Week(database, settings).run(asked, NOW + 31 * DAY)
    (farm,) = outcome.fates
    assert (outcome.refused, farm.state, outcome.left) == ([], "ended", [])
    assert sum(work.did.get("domain", 0) for work in outcome.work) == 2 * 101
    assert_no_host_ever_stood_too_full(database)


def test_a_class_is_tried_on_a_copy_and_nothing_of_the_site_changes(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    fill(database, 1)
    make_account(database)
    file = tmp_path / "class.toml"
    file.write_text(
        '[[booking]]\nname = "class"\nnode_count = 2\ntimes = 2\nevery_days = 7\n'
        "start = 2026-11-24T09:00:00+01:00\nend = 2026-11-24T12:00:00+01:00\n"
        '[[booking]]\nname = "huge"\nnode_count = 20\n'
        "start = 2026-11-24T09:00:00+01:00\nend = 2026-11-24T12:00:00+01:00\n"
    )
    outcome = simulate.run(settings, wishes.read(file), now=NOW)
    assert outcome.booked == ["class-01", "class-02"]
    (refusal,) = outcome.refused
    assert refusal.name == "huge"
    assert any("c1" in reason for reason in refusal.reasons)
    assert not simulate.is_well(outcome)
    assert "huge" in simulate.in_words(outcome)
    assert outcome.left == []
    with database.reading() as session:
        assert session.scalars(select(Reservation)).all() == []


def test_a_class_of_several_groups_is_tried_by_the_clocks_of_its_zone(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    fill(database, 2)
    file = tmp_path / "class.toml"
    file.write_text(
        '[[booking]]\nname = "class"\ntimes = 2\nzone = "Europe/Berlin"\n'
        "start = 2027-03-23T09:00:00+01:00\nend = 2027-03-23T12:00:00+01:00\n"
        "groups = [\n"
        '  {node_count = 20, least = 2, policy = "pack"},\n'
        '  {name = "big", appliance = "compute", vcpus = 4, pin = ["c2"]},\n]\n'
    )
    asked = wishes.read(file)
    assert [f"{one['start'].astimezone(UTC):%d %H:%M}" for one in asked] == ["23 08:00", "30 07:00"]
    outcome = simulate.run(settings, asked, now=NOW)
    assert (outcome.booked, outcome.refused, outcome.left) == (["class-01", "class-02"], [], [])
    machines = sum(work.did.get("domain", 0) for work in outcome.work) // 2
    assert 2 * (1 + 2 + 1) <= machines < 2 * (1 + 20 + 1), "as many as fit, the least at the least"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('zone = "Mars/Olympus"', "no time zone 'Mars/Olympus'"),
        ("users = []", "no key 'users'"),
        ("times = 0", "times lies in 1..1000"),
        ("times = true", "times lies in 1..1000"),
        ("end = 2026-11-24T09:00:00+01:00", "must be after the start"),
        ("end = 2026-11-24T09:00:00", "times with their offset"),
    ],
)
def test_what_is_wrong_in_a_file_of_bookings_is_told_with_its_place(
    tmp_path: Path, line: str, told: str
) -> None:
    file = tmp_path / "class.toml"
    end = "" if line.startswith("end") else "end = 2026-11-24T12:00:00+01:00\n"
    file.write_text(f'[[booking]]\nname = "class"\nstart = 2026-11-24T09:00:00+01:00\n{end}{line}\n')
    with pytest.raises(SiteError, match=f"booking 1: .*{told}"):
        wishes.read(file)
