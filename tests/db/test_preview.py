# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold plan`: the passes' own decisions for a moment, told before they are taken, with nothing touched."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.booking import decide
from app.db.account import Account
from app.db.base import Base, Database
from app.db.resource import Resource
from app.db.site import Host
from app.settings import Image, Network, Settings
from tests.factories import NOW, book, make_account, make_site
from workers import preview
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint

HOUR = timedelta(hours=1)
ROLLS = str(Path(__file__).parents[1] / "data" / "rolls-tiny")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    key = tmp_path / "site.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    network = Network(dns=("198.18.9.1",))
    return Settings(
        database=database_url,
        rolls_dir=ROLLS,
        image=Image(suite="tiny"),
        network=network,
        site_key_file=str(key),
    )


@pytest.fixture
def booked(database: Database) -> int:
    """An approved reservation of [NOW + 1 h, NOW + 2 h)."""
    make_site(database)
    number = book(database, make_account(database), start=NOW + HOUR, end=NOW + 2 * HOUR)
    carol = make_account(database, "carol", "cluster_provider")
    decide.approve(database, Settings(), carol, number, 1, now=NOW)
    return number


def build(database: Database, settings: Settings) -> None:
    """Let the schedule pass begin the build, and all of it be there but what the passes still have to do."""
    advance(database, settings, Blueprint(settings).lay_out, lambda: NOW + HOUR)


def stand(database: Database, settings: Settings) -> None:
    build(database, settings)
    with database.writing() as session:
        for row in session.scalars(select(Resource)):
            row.have = "present"
    build(database, settings)


def everything(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    with database.reading() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
        }


def owner(database: Database) -> Account:
    with database.reading() as session:
        return session.scalars(select(Account).where(Account.name == "alice")).one()


def test_long_before_the_slot_there_is_nothing_to_do(
    database: Database, settings: Settings, booked: int
) -> None:
    found = preview.foresee(settings, NOW)
    assert (found.steps, found.operations) == ([], [])
    assert preview.in_words(found).endswith("Nothing to do.")


def test_what_is_foreseen_of_a_build_is_what_then_is_done_and_nothing_was_changed(
    database: Database, settings: Settings, booked: int
) -> None:
    before = everything(database)
    found = preview.foresee(settings, NOW + HOUR)
    assert everything(database) == before
    (step,) = found.steps
    assert (step.name, step.before, step.after) == ("class", "approved", "building")
    assert "2026-11-20 13:00:00 UTC" in step.why

    build(database, settings)
    with database.reading() as session:
        names = {host.id: host.name for host in session.scalars(select(Host))}
        rows = [
            (row.pass_name, names[row.host_id], row.op, row.name, row.want, row.args)
            for row in session.scalars(select(Resource))
        ]
    told = [(one.pass_name, one.host, one.op, one.name, one.want, one.args) for one in found.operations]
    key = lambda one: one[1:4]  # noqa: E731 - by host, operation and name
    assert sorted(told, key=key) == sorted(rows, key=key)
    assert len(told) > 10


def test_what_must_come_first_comes_first_and_removal_goes_the_other_way(
    database: Database, settings: Settings, booked: int
) -> None:
    making = preview.foresee(settings, NOW + HOUR).operations
    stand(database, settings)
    removing = preview.foresee(settings, NOW + 2 * HOUR).operations
    assert {one.want for one in making} == {"present"}
    assert {one.want for one in removing} == {"absent"}
    for found in (making, removing):
        assert [one.number for one in found] == list(range(1, len(found) + 1))
        assert all(first < one.number for one in found for first in one.after)
    edges = {(making[first - 1].name, one.name) for one in making for first in one.after}
    back = {(one.name, removing[first - 1].name) for one in removing for first in one.after}
    assert back
    assert back <= edges
    assert "image" not in {one.op for one in removing}, "a golden image stays"


def test_an_end_a_cancellation_and_an_expiry_are_told_with_their_reason(
    database: Database, settings: Settings, booked: int
) -> None:
    book(database, owner(database), name="asked", start=NOW + 3 * HOUR, end=NOW + 4 * HOUR)
    build(database, settings)
    decide.cancel(database, owner(database), booked, now=NOW + HOUR)
    found = preview.foresee(settings, NOW + 30 * 24 * HOUR)
    told = {step.name: (step.before, step.after, step.why) for step in found.steps}
    # No pass has called a host for it yet: nothing stands, so it is over at once.
    assert told["class"][:2] == ("building", "ended")
    assert told["class"][2].startswith("It was cancelled at 2026-11-20 13:00:00")
    assert told["asked"][:2] == ("requested", "expired")
    assert told["asked"][2].startswith("Nobody decided on it by ")


def test_what_waits_says_until_when_and_for_what(database: Database, settings: Settings, booked: int) -> None:
    build(database, settings)
    at = NOW + HOUR
    with database.writing() as session:
        row = session.scalars(select(Resource).where(Resource.op == "vxlan")).first()
        assert row is not None
        row.have, row.retry_at, row.error_message = "unknown", at + HOUR, "RTNETLINK answers: No such device"
    waiting = [one for one in preview.foresee(settings, at).operations if one.waits]
    assert [one.op for one in waiting] == ["vxlan"]
    assert "2026-11-20 14:00:00 UTC: RTNETLINK answers" in str(waiting[0].waits)
    assert not [one for one in preview.foresee(settings, at + HOUR).operations if one.waits]


def test_the_command_prints_one_host_as_json_and_no_secret(
    database: Database, settings: Settings, booked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "load", lambda _: settings)
    at = (NOW + HOUR).isoformat()
    answer = CliRunner().invoke(preview.plan, ["--at", at, "--host", "st1", "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.output)
    assert {one["host"] for one in told["operations"]} == {"st1"}
    assert told["at"] == at
    assert any(one["op"] == "tgt" and "secret" in json.dumps(one["args"]) for one in told["operations"])
    assert bytes(range(32)).hex() not in answer.output
    assert CliRunner().invoke(preview.plan, ["--at", "tomorrow"]).exit_code == 2
    unknown = CliRunner().invoke(preview.plan, ["--at", at, "--host", "elsewhere"])
    assert unknown.exit_code == 2
    assert "elsewhere" in unknown.output
