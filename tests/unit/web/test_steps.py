# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Steps from resource rows: who waits, who runs, who failed, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from app.db.reservation import Reservation
from app.db.resource import Resource
from app.db.site import Host
from app.web import steps
from app.web.steps import make_steps, progress

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
HOST = Host(name="gw1")
RESERVATION = Reservation(id=7, state="building", building_at=NOW - timedelta(minutes=10))
_ids = count(1)


def row(**over: Any) -> Resource:
    values: dict[str, Any] = {
        "id": next(_ids),
        "reservation_id": 7,
        "op": "file",
        "label": "volume",
        "want": "present",
        "have": "absent",
        "failures": 0,
        "seen": {},
    }
    return Resource(**values | over)


def only(one: Resource, host: Host = HOST, needs: tuple[Resource, ...] = ()) -> steps.Step:
    rows = [(one, host), *((other, HOST) for other in needs)]
    return make_steps(RESERVATION, rows, {one.id: [other.id for other in needs]}, NOW)[0]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_step_that_nobody_took_up_yet_is_to_do():
    step = only(row())
    assert (step.standing, step.seconds, step.is_running) == (steps.OPEN, None, False)


def test_a_step_whose_needs_are_not_there_names_the_first():
    needed = row(label="golden image"), row(label="link")
    step = only(row(), needs=needed)
    assert (step.standing, step.detail) == (steps.WAITING, "Waits for: golden image and 1 more")


def test_a_step_whose_needs_are_there_waits_for_nothing():
    assert (
        only(row(), needs=(row(have="present", started_at=ago(9), present_at=ago(8)),)).standing is steps.OPEN
    )


def test_a_running_step_counts_on():
    step = only(row(have="pending", started_at=ago(75), why="booting"))
    assert (step.standing, step.seconds, step.is_running, step.detail) == (steps.WORKING, 75, True, "booting")


def test_a_done_step_keeps_its_duration_and_drops_its_reason():
    step = only(row(have="present", started_at=ago(75), present_at=ago(33), why="left over"))
    assert (step.standing, step.seconds, step.is_running, step.detail) == (steps.DONE, 42, False, None)


def test_a_failed_step_tells_the_error_and_the_next_try():
    step = only(
        row(
            have="unknown",
            started_at=ago(9),
            error_code="no_space",
            error_message="full",
            failures=2,
            retry_at=NOW,
        )
    )
    assert (step.standing, step.detail, step.retry_at, step.failures) == (steps.RETRYING, "full", NOW, 2)


def test_a_host_that_is_left_alone_outweighs_the_rows_own_time():
    back = NOW + timedelta(minutes=2)
    host = Host(name="c2", suspect_until=back, last_error="no route")
    step = only(row(have="unknown", started_at=ago(9), retry_at=NOW), host)
    assert (step.standing, step.retry_at) == (steps.HOST_AWAY, back)
    assert "no route" in (step.detail or "")


def test_what_is_done_stays_done_while_its_host_is_away():
    host = Host(name="c2", suspect_until=NOW + timedelta(minutes=2))
    assert only(row(have="present", started_at=ago(9), present_at=ago(8)), host).standing is steps.DONE


def test_a_shared_image_from_before_the_build_has_no_duration_here():
    early = row(reservation_id=None, op="image", have="present", started_at=ago(9000), present_at=ago(8000))
    step = only(early)
    assert (step.was_ready_before, step.seconds) == (True, None)
    own = row(reservation_id=None, op="image", have="present", started_at=ago(500), present_at=ago(259))
    assert only(own).seconds == 241


def test_a_removal_has_its_own_times_beside_the_builds():
    common = {"want": "absent", "started_at": ago(900), "present_at": ago(890)}
    waiting = only(row(have="present", **common))
    going = only(row(have="unknown", removal_at=ago(6), **common))
    gone = only(row(have="absent", removal_at=ago(6), absent_at=ago(2), **common))
    assert [step.standing for step in (waiting, going, gone)] == [
        steps.STANDING,
        steps.REMOVING,
        steps.REMOVED,
    ]
    assert [step.removal_seconds for step in (waiting, going, gone)] == [None, 6, 4]
    assert {step.seconds for step in (waiting, going, gone)} == {10}


def test_a_row_that_was_never_made_counts_as_removed():
    step = only(row(want="absent", have="absent"))
    assert (step.standing, step.seconds, step.removal_seconds) == (steps.REMOVED, None, None)


def test_progress_points_at_a_failure_first_then_at_what_runs_longest():
    done = row(have="present", started_at=ago(99), present_at=ago(98))
    young = row(have="pending", started_at=ago(10), label="young")
    old = row(have="pending", started_at=ago(60), label="old")
    broken = row(have="unknown", started_at=ago(5), error_code="x", label="broken")

    def summed(*rows: Resource) -> steps.Progress:
        return progress(make_steps(RESERVATION, [(one, HOST) for one in rows], {}, NOW))

    assert (summed(done, young, old).done, summed(done, young, old).total) == (1, 3)
    assert getattr(summed(done, young, old).current, "label", None) == "old"
    assert getattr(summed(done, young, broken).current, "label", None) == "broken"
    assert summed(done).current is None
    assert summed().total == 0


def test_a_reports_checks_are_read_whatever_a_guest_wrote():
    def read(report: object) -> list[steps.Check]:
        return steps.checks_of([(row(op="report", seen={"report": report}), HOST)])

    assert read({"checks": [{"name": "n", "ok": True, "detail": "d", "seconds": 2}]}) == [
        steps.Check("n", True, "d", 2.0)
    ]
    assert read({"checks": [{"ok": "yes", "seconds": True, "detail": None}, 7]}) == [
        steps.Check("?", False, "", None)
    ]
    nonsense: tuple[object, ...] = (None, [], "x", 7, {"checks": {}}, {"checks": None})
    assert [read(one) for one in nonsense] == [[]] * len(nonsense)
