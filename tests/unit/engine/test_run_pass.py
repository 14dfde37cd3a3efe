# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a reply makes of a resource row, and how long a failed one waits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.base import Database
from app.db.resource import HAVES, Resource
from app.settings import Passes, Settings
from workers.engine.hosts import Answer
from workers.engine.run_pass import HOST_FAILURES, Batch, Pass, _request, backoff, outcome
from workers.engine.ssh import Endpoint
from workers.node.protocol import CODES, Error, Reply, Request

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TEXTS = ("why", "error_code", "error_message")
TIMES = Passes(poll_s=2, backoff_first_s=2, backoff_most_s=300)


def row(want: str = "present", **over: Any) -> Resource:
    values = {"failures": 0, "have": "unknown", "error_message": None} | over
    return Resource(id=1, op="file", name="lh7-node1-root", want=want, **values)


def failed(code: str, retryable: bool = True) -> Reply:
    return Reply("1", ok=False, state="unknown", error=Error(code, f"because of {code}", retryable))


@pytest.mark.parametrize("want", ["present", "absent"])
def test_what_is_as_wanted_is_settled_with_its_time_and_no_trace_of_errors(want: str) -> None:
    written = outcome(row(want, failures=3), Reply("1", True, want, seen={"size": 1}), TIMES, NOW)
    assert written == {
        "have": want,
        f"{want}_at": NOW,
        "seen": {"size": 1},
        "why": None,
        "retry_at": None,
        "failures": 0,
        "error_code": None,
        "error_message": None,
    }


def test_repair_does_not_make_the_step_longer_than_it_was() -> None:
    assert "present_at" not in outcome(row(present_at=NOW), Reply("1", True, "present"), TIMES, NOW)


@pytest.mark.parametrize(("want", "have"), [("present", "pending"), ("absent", "unknown")])
def test_what_is_under_way_is_looked_at_again_soon(want: str, have: str) -> None:
    written = outcome(row(want, failures=3), Reply("1", True, "pending", why="building"), TIMES, NOW)
    assert (written["have"], written["why"], written["failures"]) == (have, "building", 0)
    assert written["retry_at"] == NOW + timedelta(seconds=2)
    assert written["error_code"] is None


@pytest.mark.parametrize("state", ["present", "absent"])
def test_state_that_is_not_the_wanted_one_is_an_error_of_the_host(state: str) -> None:
    want = "absent" if state == "present" else "present"
    written = outcome(row(want), Reply("1", True, state), TIMES, NOW)
    assert (written["have"], written["error_code"], written["failures"]) == ("unknown", "not_converged", 1)
    assert written["retry_at"] == NOW + timedelta(seconds=2)


@pytest.mark.parametrize("code", sorted(HOST_FAILURES))
def test_row_is_not_blamed_for_its_host(code: str) -> None:
    written = outcome(row(failures=4), failed(code), TIMES, NOW)
    assert "failures" not in written
    assert (written["have"], written["why"]) == ("unknown", f"because of {code}")
    assert written["retry_at"] == NOW + timedelta(seconds=2)


def test_error_only_a_person_can_mend_is_tried_seldom() -> None:
    written = outcome(row(), failed("not_ours", retryable=False), TIMES, NOW)
    assert written["retry_at"] == NOW + timedelta(seconds=300)
    assert (written["error_code"], written["error_message"]) == ("not_ours", "because of not_ours")


LENGTHS = {name: getattr(Resource.__table__.c[name].type, "length", 0) for name in TEXTS}
# A mad host's words: too long for the columns, and characters that no database takes as text.
MAD = "x\0\ud800" * 3000


@pytest.mark.parametrize(
    "reply",
    [
        Reply("1", False, "unknown", error=Error(MAD, MAD, True)),
        Reply("1", False, "unknown", error=Error("timeout", MAD, True)),
        Reply("1", True, "pending", why=MAD, seen={"log": MAD}),
        Reply("1", True, "present", seen={MAD: [MAD]}),
    ],
    ids=["error", "host error", "pending", "present"],
)
def test_words_of_a_mad_host_fit_the_columns(reply: Reply) -> None:
    written = outcome(row(), reply, TIMES, NOW)
    for name in TEXTS:
        if written[name] is not None:
            assert len(written[name]) <= LENGTHS[name]
            assert "\0" not in written[name]
            written[name].encode()
    json.dumps(written.get("seen"), ensure_ascii=False).encode()


states = st.sampled_from(["present", "absent", "pending", "unknown"])
errors = st.builds(Error, st.sampled_from(sorted({*CODES, *HOST_FAILURES})), st.text(), st.booleans())
replies = st.one_of(
    st.builds(Reply, st.just("1"), st.just(True), states),
    st.builds(Reply, st.just("1"), st.just(False), states, error=errors),
)


@given(st.sampled_from(["present", "absent"]), st.integers(0, 10_000), replies)
def test_only_a_reply_that_says_so_makes_a_row_settled(want: str, failures: int, reply: Reply) -> None:
    written = outcome(row(want, failures=failures), reply, TIMES, NOW)
    assert written["have"] in HAVES
    assert (written["have"] == want) == (reply.ok and reply.state == want)
    # A row that is not settled is tried again, and not at once: a pass must not spin on it.
    assert (written["retry_at"] is None) == (written["have"] == want)
    assert written["retry_at"] is None or written["retry_at"] > NOW


@given(st.integers(0, 1 << 40))
def test_backoff_grows_to_its_limit_and_stays_there(failures: int) -> None:
    first, second = backoff(failures, True, TIMES), backoff(failures + 1, True, TIMES)
    assert timedelta(seconds=2) <= first <= second <= timedelta(seconds=300)
    assert second == min(2 * first, timedelta(seconds=300))


@pytest.mark.parametrize("op", ["file", "lvm", "tgt"])
@pytest.mark.parametrize("present_at", [None, NOW])
def test_a_volume_that_stood_is_asked_for_as_one_that_stood(op: str, present_at: datetime | None) -> None:
    asked = _request(Resource(id=1, op=op, want="present", args={"volume": "x"}, present_at=present_at))
    is_kept = op != "tgt" and present_at is not None
    assert asked == Request("1", op, "present", {"volume": "x"} | ({"stood": True} if is_kept else {}))


def test_a_pass_that_was_stopped_asks_no_host_after_its_time() -> None:
    asked: list[Mapping[Endpoint, Sequence[Request]]] = []

    class Watched:
        def call_all(
            self, batches: Mapping[Endpoint, Sequence[Request]], *, deadline_s: float
        ) -> Iterator[Answer]:
            assert 0 < deadline_s <= 5
            asked.append(batches)
            return iter(())

    door, to = Watched(), Endpoint("c1", "198.18.9.1", 22, "ssh-ed25519 AAAA")
    one = Pass(Database("sqlite://"), Settings(), "network", lambda: door)
    for until in (time.monotonic() - 1, time.monotonic() + 5):
        assert one._call(door, Batch(1, to, "me", (row(args={}),), until)) is None
    assert len(asked) == 1
    one.database.close()
