# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The list, the page of one reservation with its steps, its history, and calling it off (R4, R46, R57)."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db.reservation import Reservation
from app.db.resource import Resource
from app.domain.lifecycle import STATES
from app.web.access import fingerprint
from tests.factories import book_now, make_resource, public_key
from tests.web.conftest import Site

NOW = datetime.now(UTC)


def change(site: Site, reservation_id: int, **values: Any) -> None:
    with site.database.writing() as session:
        row = session.get_one(Reservation, reservation_id)
        for name, value in values.items():
            setattr(row, name, value)


def made(seconds: float, ago: float = 100) -> dict[str, Any]:
    begun = datetime.now(UTC) - timedelta(seconds=ago)
    return {"have": "present", "started_at": begun, "present_at": begun + timedelta(seconds=seconds)}


def building(site: Site) -> tuple[int, dict[str, Resource]]:
    """A reservation half built: a shared image, a link, a volume that failed, a guest that waits for both."""
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    change(site, number, state="building", building_at=NOW - timedelta(minutes=10), why=None)
    hosts, database = site.hosts, site.database
    image = make_resource(
        database, hosts["st1"], None, "image", label="golden image frontend-3fa9", **made(241, 400)
    )
    link = make_resource(database, hosts["gw1"], number, "vxlan", label="private network 1000", **made(0.4))
    volume = make_resource(
        database,
        hosts["st1"],
        number,
        "file",
        needs=(image,),
        label="volume frontend root",
        have="unknown",
        started_at=datetime.now(UTC) - timedelta(seconds=75),
        error_code="no_space",
        error_message="/var/lib/leasehold/volumes on st1 has 1 GiB free, 4 GiB needed.",
        failures=3,
        retry_at=datetime.now(UTC) + timedelta(minutes=5),
    )
    guest = make_resource(
        database, hosts["gw1"], number, "domain", needs=(link, volume), label="guest frontend on gw1"
    )
    return number, {"image": image, "link": link, "volume": volume, "guest": guest}


def text(page: str) -> str:
    """What a reader sees of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_page_shows_each_step_with_its_duration_and_what_comes_next(site: Site):
    number, _ = building(site)
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "2 of 4 steps are done. One waits to be tried again in 4 min: volume frontend root." in page
    assert re.search(r"golden image frontend-3fa9 ✓ done st1 [\d:]+ UTC 4 min 01 s", page)
    assert re.search(r"private network 1000 ✓ done gw1 [\d:]+ UTC 0.4 s", page)
    assert re.search(
        r"volume frontend root ! failed, tries again after 3 failures st1 [\d:]+ UTC 1 min 1\d s so far"
        r" /var/lib/leasehold/volumes on st1 has 1 GiB free, 4 GiB needed. Tried again at [\d:]+ UTC.",
        page,
    )
    assert "guest frontend on gw1 … waiting gw1 – – Waits for: volume frontend root" in page


def test_a_step_on_a_host_that_is_away_says_so(site: Site):
    number, _ = building(site)
    with site.database.writing() as session:
        host = session.merge(site.hosts["st1"])
        host.suspect_until = datetime.now(UTC) + timedelta(hours=2)
        host.last_error = "st1 refused the connection"
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "! host away" in page
    assert "The host is left alone for a while: st1 refused the connection Tried again at" in page


def test_a_golden_image_that_was_there_before_has_no_duration(site: Site):
    number, steps = building(site)
    with site.database.writing() as session:
        session.get_one(Resource, steps["image"].id).started_at = NOW - timedelta(days=2)
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "golden image frontend-3fa9 ✓ done st1 – made before" in page


def test_the_polled_block_moves_the_title_and_announces_a_new_state_once(sqlite_site: Site):
    number, _ = building(sqlite_site)
    visitor = sqlite_site.visitor("anna")
    page = visitor.get(f"/reservations/{number}").text
    assert "<title>(2/4) Building — vc-42</title>" in page
    poll = re.search(r'hx-get="([^"]+)" hx-trigger="every 3s"', page)
    assert poll is not None
    block = visitor.get(poll[1].replace("&amp;", "&")).text
    assert "<title>(2/4) Building — vc-42</title>" in block
    assert "<html" not in block
    assert "hx-swap-oob" not in block, "nothing has moved, so nothing is announced"
    change(sqlite_site, number, state="ready", ready_at=NOW)
    assert 'hx-swap-oob="innerHTML">vc-42: Ready.' in visitor.get(poll[1].replace("&amp;", "&")).text


@pytest.mark.parametrize("state", ["ended", "rejected", "cancelled", "expired"])
def test_polling_stops_when_nothing_changes_any_more(sqlite_site: Site, state: str):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    change(sqlite_site, number, state=state)
    page = sqlite_site.visitor("anna").get(f"/reservations/{number}").text
    assert "hx-trigger" not in page


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_page_that_says_what_comes_next(sqlite_site: Site, state: str):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    change(sqlite_site, number, state=state, why=None)
    answer = sqlite_site.visitor("anna").get(f"/reservations/{number}")
    assert answer.status_code == 200
    lead = re.search(r'<p class="lead">(.+?)</p>', answer.text)
    assert lead is not None
    assert len(lead[1]) > 8
    assert "Pending" not in answer.text


def test_a_ready_cluster_shows_how_to_get_in(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    key = public_key(99)
    change(
        site,
        number,
        state="ready",
        ready_at=NOW,
        public_address="198.19.0.101",
        host_public_key=f"{key} root@frontend",
    )
    page = site.visitor("anna").get(f"/reservations/{number}").text
    assert "<code>ssh -p 22 alice@198.19.0.101</code>" in page
    assert f"<code>198.19.0.101 {key}</code>" in page.replace("&#43;", "+")
    assert str(fingerprint(key)) in page


def test_a_cluster_that_is_not_ready_shows_no_way_in(site: Site):
    number, _ = building(site)
    change(site, number, public_address="198.19.0.101", host_public_key=public_key())
    assert "ssh -p" not in site.visitor("anna").get(f"/reservations/{number}").text


def test_the_acceptance_report_is_shown_check_by_check(site: Site):
    number, _ = building(site)
    checks = [
        {"name": "all nodes in the scheduler", "ok": True, "detail": "2 of 2 idle", "seconds": 0.4},
        {"name": "outside reached", "ok": False, "detail": "198.19.0.1 did not answer", "seconds": 5},
    ]
    seen = {"report": {"event": "accepted", "ok": False, "checks": checks}}
    make_resource(site.database, site.hosts["gw1"], number, "report", seen=seen)
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "all nodes in the scheduler ✓ passed 0.4 s 2 of 2 idle" in page
    assert "outside reached ! failed 5.0 s 198.19.0.1 did not answer" in page


@pytest.mark.parametrize(
    "report",
    [
        "text",
        {"checks": "text"},
        {"checks": [1, None, "x", {}]},
        {"checks": [{"name": "<script>alert(1)</script>", "ok": "yes", "detail": ["a"], "seconds": "NaN"}]},
        {"checks": [{"name": "x" * 10_000, "ok": True, "seconds": -1}] * 1000},
    ],
)
def test_a_report_from_a_hostile_guest_is_only_text(sqlite_site: Site, report: Any):
    number, _ = building(sqlite_site)
    make_resource(sqlite_site.database, sqlite_site.hosts["gw1"], number, "report", seen={"report": report})
    answer = sqlite_site.visitor("anna").get(f"/reservations/{number}")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert len(answer.text) < 200_000


def test_the_steps_are_to_be_had_as_csv(site: Site):
    number, _ = building(site)
    answer = site.visitor("anna").get(f"/reservations/{number}/steps.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = {row["step"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert rows["golden image frontend-3fa9"]["seconds"] == "241.000"
    assert rows["private network 1000"]["seconds"] == "0.400"
    assert rows["volume frontend root"]["seconds"] == ""
    assert rows["volume frontend root"]["failures"] == "3"
    datetime.fromisoformat(rows["private network 1000"]["started_at"])


def test_while_ending_the_steps_tell_what_is_gone(site: Site):
    number, steps = building(site)
    change(site, number, state="ending", ending_at=NOW)
    with site.database.writing() as session:
        for name, have in (("link", "present"), ("volume", "absent"), ("guest", "absent")):
            row = session.get_one(Resource, steps[name].id)
            row.want, row.have, row.error_code, row.error_message = "absent", have, None, None
            if have == "absent":
                row.removal_at = datetime.now(UTC) - timedelta(seconds=9)
                row.absent_at = row.removal_at + timedelta(seconds=2.5)
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "2 of 3 things are removed" in page, "the shared image stays and does not count"
    assert re.search(r"volume frontend root – removed .* 2.5 s", page)
    assert "private network 1000 ○ to be removed" in page


def test_the_history_tells_who_did_what(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    page = text(site.visitor("anna").get(f"/reservations/{number}/history").text)
    assert "anna asked for 2 compute nodes." in page


def test_the_list_shows_ones_own_and_the_cluster_provider_sees_all(site: Site):
    book_now(site.database, site.accounts["anna"], name="annas")
    book_now(site.database, site.accounts["ben"], name="bens", node_count=3)
    bens = text(site.visitor("ben").get("/reservations").text)
    assert "annas" not in bens
    assert "bens ? Waiting for approval" in bens
    assert "1 + 3 nodes" in bens
    alls = text(site.visitor("carla").get("/reservations").text)
    assert "annas" in alls
    assert "bens" in alls


@pytest.mark.parametrize(
    "query", ["state=live", "state=over", "state=all", "state=ready", "state=' OR 1", "page=2"]
)
def test_the_list_can_be_filtered_and_paged(sqlite_site: Site, query: str):
    answer = sqlite_site.visitor("anna").get(f"/reservations?{query}")
    assert answer.status_code == 200


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e9", "9" * 30, "²", "999999999", ""])
def test_an_odd_page_number_is_no_error(site: Site, page: str):
    assert site.visitor("anna").get("/reservations", params={"page": page}).status_code == 200


def test_a_long_list_is_paged(sqlite_site: Site):
    ids = [book_now(sqlite_site.database, sqlite_site.accounts["anna"], node_count=1) for _ in range(3)]
    with sqlite_site.database.writing() as session:
        first = session.get_one(Reservation, ids[0])
        values = {
            c.key: getattr(first, c.key) for c in Reservation.__table__.columns if c.key not in ("id", "name")
        }
        session.add_all(Reservation(name=f"old-{i}", **values | {"state": "ended"}) for i in range(60))
    visitor = sqlite_site.visitor("anna")
    one = visitor.get("/reservations?state=over").text
    two = visitor.get("/reservations?state=over&page=2").text
    assert (one.count("old-"), two.count("old-")) == (50, 10)
    assert "Older →" in one
    assert "← Newer" in two
    assert "Older →" not in two


def test_cancelling_lists_what_goes_and_needs_the_name(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    visitor = site.visitor("anna")
    page = text(visitor.get(f"/reservations/{number}/cancel").text)
    assert "3 virtual machines (frontend, node1, node2)" in page
    assert "4 volumes with 13 GiB" in page
    wrong = visitor.post(f"/reservations/{number}/cancel", {"name": "vc-4"})
    assert wrong.status_code == 422
    assert "Type the name exactly: vc-42" in wrong.text
    with site.database.reading() as session:
        assert session.get_one(Reservation, number).cancel_requested_at is None
    done = visitor.post(f"/reservations/{number}/cancel", {"name": "vc-42"})
    assert done.url == f"{site.base}/reservations/{number}"
    assert "Cancelled" in done.text
    with site.database.reading() as session:
        assert session.get_one(Reservation, number).cancel_requested_at is not None


def test_what_is_over_cannot_be_cancelled(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    visitor = site.visitor("anna")
    token = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get("/").text)
    assert token is not None
    change(site, number, state="ended")
    assert "there is nothing to cancel" in visitor.get(f"/reservations/{number}/cancel").text
    answer = visitor.session.post(
        f"{site.base}/reservations/{number}/cancel",
        data={"csrf_token": token[1], "name": "vc-42"},
        timeout=10,
    )
    assert answer.status_code == 409
    assert "ended already" in answer.text


def test_the_home_page_shows_the_live_clusters_and_how_it_works_when_there_is_none(site: Site):
    visitor = site.visitor("anna")
    assert "This is how it works" in visitor.get("/").text
    book_now(site.database, site.accounts["anna"], name="vc-42")
    page = text(visitor.get("/").text)
    assert "vc-42 ? Waiting for approval 1 frontend and 2 compute nodes" in page
