# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The cluster provider's queue and decisions."""

from __future__ import annotations

import pytest

from app.db.ledger import Allocation
from app.db.reservation import Reservation
from tests.factories import book_now, group, grouped
from tests.web.conftest import Site
from tests.web.test_reservation import change, text


def test_a_request_is_shown_with_its_place_and_approved(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42", note="For the class")
    visitor = site.visitor("carla")
    page = text(visitor.get("/admin/approvals").text)
    assert "vc-42 for anna" in page
    assert "frontend on gw1; 1 on c1, 1 on c2; disks on st1" in page
    assert "For the class" in page
    answer = visitor.post(f"/admin/approvals/{number}/approve", {}, page="/admin/approvals")
    assert answer.url == f"{site.base}/admin/approvals"
    assert "Approved. Building begins in time for the slot." in answer.text
    assert "Nothing to approve. Last decision: vc-42 was approved now." in text(answer.text).replace(
        "1 s ago", "now"
    )
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "Approved by carla. Building begins in time for the slot." in page


def test_each_group_is_shown_with_what_was_granted_of_what_was_asked_for(site: Site):
    groups = grouped(
        group(node_count=5, least=1, memory_mib=16_000), group(name="big", memory_mib=384, avoid=["c1"])
    )
    number = book_now(site.database, site.accounts["carla"], **groups)
    page = site.visitor("carla").get("/admin/approvals").text
    told = ("node: 1 of 1 to 5 × 1 vCPU, 15.6 GiB, 4 GiB", "big: 1 × 1 vCPU, 384 MiB, 4 GiB, not on c1")
    assert f"1 frontend; {told[0]}; {told[1]}; /home 1 GiB" in text(page)
    page = text(site.visitor("carla").get(f"/reservations/{number}").text)
    assert all(line in page for line in told)


def test_a_rejection_needs_a_reason_which_the_owner_reads_and_frees_the_place(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    visitor = site.visitor("carla")
    path = f"/admin/approvals/{number}/reject"
    refused = visitor.post(path, {"reason": "  "}, page="/admin/approvals")
    assert refused.status_code == 422
    assert "Say why in 1 to 2,000 characters" in refused.text
    visitor.post(path, {"reason": "c2 is in maintenance <that> week"}, page="/admin/approvals")
    page = site.visitor("anna").get(f"/reservations/{number}").text
    assert "Rejected by carla: c2 is in maintenance &lt;that&gt; week" in page
    with site.database.reading() as session:
        rows = session.query(Allocation).filter_by(reservation_id=number).all()
        assert rows
        assert all(row.released_at for row in rows)


@pytest.mark.parametrize("reason", ["a\x00b", "a\x1bb", "x" * 2001])
def test_a_reason_that_cannot_be_kept_is_refused_and_not_lost(site: Site, reason: str):
    number = book_now(site.database, site.accounts["anna"])
    path = f"/admin/approvals/{number}/reject"
    answer = site.visitor("carla").post(path, {"reason": reason}, page="/admin/approvals")
    assert answer.status_code == 422
    assert f'id="reason-{number}-error"' in answer.text
    with site.database.reading() as session:
        assert session.get_one(Reservation, number).state == "requested"


@pytest.mark.parametrize("deed", ["approve", "reject"])
def test_a_request_that_changed_since_it_was_shown_is_not_decided(site: Site, deed: str):
    number = book_now(site.database, site.accounts["anna"])
    fields = {"version": "7", "reason": "no"}
    answer = site.visitor("carla").post(f"/admin/approvals/{number}/{deed}", fields, page="/admin/approvals")
    assert answer.status_code == 409
    assert "was changed since you opened it" in answer.text


@pytest.mark.parametrize("version", ["", "x", "-1", "1e3", "9" * 40, "²", "1\x00"])
def test_an_odd_version_is_a_conflict_and_no_error(site: Site, version: str):
    number = book_now(site.database, site.accounts["anna"])
    path = f"/admin/approvals/{number}/approve"
    answer = site.visitor("carla").post(path, {"version": version}, page="/admin/approvals")
    assert answer.status_code == 409


def test_two_decisions_on_one_page_let_the_first_stand(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    visitor = site.visitor("carla")
    page = visitor.get("/admin/approvals").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    data = {"csrf_token": token, "version": "1", "reason": "no"}
    base = f"{site.base}/admin/approvals/{number}"
    assert visitor.session.post(f"{base}/approve", data=data, timeout=10).ok
    answer = visitor.session.post(f"{base}/reject", data=data, timeout=10)
    assert answer.status_code == 409
    assert "no longer open: it is approved" in answer.text


def test_a_request_whose_hold_ran_out_or_that_was_cancelled_leaves_the_queue(site: Site):
    first = book_now(site.database, site.accounts["anna"], name="too-late")
    with site.database.reading() as session:
        asked = session.get_one(Reservation, first).requested_at
    change(site, first, hold_until=asked)
    second = book_now(site.database, site.accounts["anna"], name="called-off")
    change(site, second, cancel_requested_at=asked)
    assert "Nothing to approve" in site.visitor("carla").get("/admin/approvals").text


def test_the_home_page_counts_what_waits_for_a_decision(site: Site):
    book_now(site.database, site.accounts["anna"])
    assert "1 request waits for your decision" in text(site.visitor("carla").get("/").text)
