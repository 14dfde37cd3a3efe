# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Counter-offers by the pages: made by a form that is filled in, seen side by side, accepted or declined."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db import offer as offers
from app.db.offer import Offer
from app.db.reservation import Reservation
from tests.browse import form_fields, hidden_fields
from tests.factories import book_now, group, grouped
from tests.web.api import Client
from tests.web.conftest import Site
from tests.web.test_change import exactly, row
from tests.web.test_reservation import text

HOUR = timedelta(hours=1)


def form(page: str, number: int) -> dict[str, Any]:
    """All fields of the form for an offer, as a browser would send them back."""
    return form_fields(page, f"/admin/approvals/{number}/offer")


def offer(site: Site, number: int, **over: Any) -> Any:
    """Open carla's form and send it back with these fields changed; the answer."""
    path = f"/admin/approvals/{number}/offer"
    visitor = site.visitor("carla")
    data = form(visitor.get(path).text, number) | {"message": "There is more room <then>."} | over
    return visitor.session.post(site.base + path, data=data, timeout=30)


def made(site: Site, number: int) -> list[Offer]:
    with site.database.reading() as session:
        return list(offers.of_reservation(session, number))


def answer(site: Site, name: str, number: int, deed: str, **data: str) -> Any:
    page = f"/reservations/{number}"
    return site.visitor(name).post(f"{page}/offer/{deed}", data, page=page)


def test_a_request_is_answered_with_another_slot_which_its_owner_accepts(site: Site):
    start = datetime.now(UTC) + 2 * HOUR
    number = book_now(
        site.database, site.accounts["anna"], name="vc-42", start=start, end=start + HOUR, memory_mib=512
    )
    assert f"/admin/approvals/{number}/offer" in site.visitor("carla").get("/admin/approvals").text
    later = start + 5 * HOUR
    changed = {"start": exactly(later), "end": exactly(later + HOUR), "groups-0-node_count": "3"}
    sent = offer(site, number, **changed)
    assert sent.url == f"{site.base}/admin/approvals"
    assert "Offered. anna accepts or declines it." in sent.text
    assert "carla offered something else" in text(sent.text)
    assert "wait for your decision" not in text(site.visitor("carla").get("/").text)
    home = text(site.visitor("anna").get("/").text)
    assert "carla offered something else in place of vc-42" in home
    page = site.visitor("anna").get(f"/reservations/{number}").text
    assert "There is more room &lt;then&gt;." in page
    both = re.search(r"Nodes</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>", page, re.S)
    assert both is not None
    assert [text(side).strip() for side in both.groups()] == [
        "node: 2 × 1 vCPU, 512 MiB, 4 GiB",
        "node: 3 × 1 vCPU, 512 MiB, 4 GiB",
    ]
    assert "carla offered something else, which anna accepts or declines until" in text(page)
    taken = answer(site, "anna", number, "accept")
    assert taken.url == f"{site.base}/reservations/{number}"
    assert "Accepted, and so approved." in taken.text
    kept = row(site, number)
    assert (kept.state, kept.start_at) == ("approved", later.replace(microsecond=0))
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "Approved by carla" in page
    assert "node: 2 × 1 vCPU" in page
    assert (
        "anna accepted what carla offered"
        in site.visitor("carla").get(f"/reservations/{number}/history").text
    )


def test_the_owner_declines_with_a_reason_and_the_request_is_decided_as_before(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    assert offer(site, number, **{"groups-0-node_count": "1"}).ok
    long = answer(site, "anna", number, "decline", reason="x" * 2001)
    assert long.status_code == 422
    assert 'id="reason-error"' in long.text
    assert f'value="{"x" * 2001}"' in long.text
    said = answer(site, "anna", number, "decline", reason="One is <too> few.")
    assert "The request is open as it was." in said.text
    assert "Declined because: One is &lt;too&gt; few." in said.text
    assert "1 request waits for your decision" in text(site.visitor("carla").get("/").text)
    site.visitor("carla").post(f"/admin/approvals/{number}/approve", {}, page="/admin/approvals")
    assert row(site, number).state == "approved"


def test_the_cluster_provider_takes_an_offer_back_and_cannot_accept_it(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    assert offer(site, number, **{"groups-0-node_count": "1"}).ok
    page = site.visitor("carla").get(f"/reservations/{number}").text
    assert f"/reservations/{number}/offer/accept" not in page
    assert "Take it back" in page
    answer(site, "carla", number, "decline")
    assert [one.answer for one in made(site, number)] == ["withdrawn"]


def test_who_saw_another_offer_is_told_and_accepts_the_one_that_is(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    assert offer(site, number, **{"groups-0-node_count": "1"}).ok
    anna, path = site.visitor("anna"), f"/reservations/{number}/offer/accept"
    seen = hidden_fields(anna.get(f"/reservations/{number}").text, path)
    assert offer(site, number, **{"groups-0-node_count": "3"}).ok
    told = anna.session.post(site.base + path, data=seen, timeout=30)
    assert told.status_code == 409
    assert "carla made an offer" in text(told.text)
    assert anna.session.post(site.base + path, data=hidden_fields(told.text, path), timeout=30).ok
    with site.database.reading() as session:
        assert len(session.get_one(Reservation, number).nodes) == 4
    assert [one.answer for one in made(site, number)] == ["accepted", "withdrawn"]


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"groups-0-node_count": "many<b>"}, "groups-0-node_count"),
        ({"groups-0-node_count": "0"}, "groups-0-node_count"),
        ({"groups-0-node_count": "999999999"}, "groups-0-node_count"),
        ({"groups-0-memory_mib": "NaN"}, "groups-0-memory_mib"),
        ({"start": "soon"}, "start"),
        ({"end": "2000-01-01T00:00"}, "end"),
        ({"end": ""}, "end"),
        ({"home_gib": "-1"}, "home_gib"),
        ({"rolls": ["none-such"]}, "rolls"),
        ({"message": " "}, "message"),
        ({"message": "a\x00b"}, "message"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_stays_typed(
    sqlite_site: Site, over: dict[str, Any], field: str
):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    told = offer(sqlite_site, number, **over)
    assert told.status_code == 422
    assert f'href="#{field}"' in told.text
    assert f'id="{field}"' in told.text
    (typed,) = over.values()
    if isinstance(typed, str) and field != "message":
        assert form(told.text, number)[field] == [typed]
    assert (made(sqlite_site, number), row(sqlite_site, number).version) == ([], 1)


def test_all_that_is_wrong_is_told_at_once(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    told = offer(
        sqlite_site, number, **{"groups-0-vcpus": "x", "home_gib": "0", "end": "never", "message": ""}
    )
    listed = {"end", "home_gib", "message", "groups-0-vcpus"}
    assert {name for name in re.findall(r'href="#([\w-]+)">', told.text) if name != "main"} == listed


def test_what_was_asked_for_is_no_offer_whatever_its_microseconds(site: Site):
    start = datetime.now(UTC).replace(microsecond=123456) + 2 * HOUR
    number = book_now(site.database, site.accounts["anna"], start=start, end=start + HOUR)
    told = offer(site, number)
    assert told.status_code == 422
    assert "That is what was asked for" in told.text


def test_without_room_what_fits_is_offered_with_one_click(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    told = offer(site, number, **{"groups-0-node_count": "3", "groups-0-memory_mib": "16000"})
    assert told.status_code == 409
    assert "There is no room for this in that slot" in told.text
    assert form(told.text, number)["groups-0-memory_mib"] == ["16000"]
    forms = re.findall(r"<form.*?</form>", told.text, re.S)
    smaller = next(one for one in forms if "Smaller: 2 nodes" in one)
    fields = re.findall(r'name="([\w-]+)" value="([^"]*)"', smaller)
    carla = site.visitor("carla")
    assert carla.session.post(f"{site.base}/admin/approvals/{number}/offer", data=fields, timeout=30).ok
    assert made(site, number)[0].offered["groups"][0]["node_names"] == ["node1", "node2"]


def test_each_group_has_its_fields_and_keeps_its_names(site: Site):
    groups = grouped(
        group(node_count=2, node_names=["left", "right"], tags=[]), group(name="big", memory_mib=2048)
    )
    number = book_now(site.database, site.accounts["anna"], **groups)
    assert offer(site, number, **{"groups-0-node_count": "3", "groups-1-node_count": "2"}).ok
    offered = made(site, number)[0].offered
    assert [one["node_names"] for one in offered["groups"]] == [["left", "right", "node1"], ["big1", "big2"]]
    assert [one["memory_mib"] for one in offered["groups"]] == [512, 2048]


def test_the_cluster_provider_offers_other_hosts(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    told = offer(site, number, **{"groups-0-pin": "c9"})
    assert told.status_code == 422
    assert "There is no host called" in told.text
    assert offer(site, number, **{"groups-0-pin": "c2"}).ok
    assert "only on c2" in text(site.visitor("anna").get(f"/reservations/{number}").text)
    answer(site, "anna", number, "accept")
    with site.database.reading() as session:
        nodes = session.get_one(Reservation, number).nodes
        assert {node.host_id for node in nodes[1:]} == {site.hosts["c2"].id}


def test_bounds_that_were_asked_for_are_offered_and_more_may_come_of_them_than_is_held(site: Site):
    start = datetime.now(UTC) + 2 * HOUR
    times = {"start": start, "end": start + HOUR}
    number = book_now(site.database, site.accounts["anna"], node_count=6, least=2, memory_mib=8000, **times)
    shown = form(site.visitor("carla").get(f"/admin/approvals/{number}/offer").text, number)
    assert (shown["groups-0-node_count"], shown["groups-0-least"]) == (["6"], ["2"])
    assert "what was asked for" in offer(site, number).text
    assert offer(site, number, **{"groups-0-least": "3"}).ok
    page = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "node: 2 to 6 × 1 vCPU" in page
    assert "node: 3 to 6 × 1 vCPU" in page
    assert "4 nodes are held for it. Accepted, it has these, or more" in page
    told = Client(site, "anna").get(f"/reservations/{number}").json()["offers"][0]
    assert [told[side]["groups"][0]["least"] for side in ("asked", "offered")] == [2, 3]
    assert (len(told["offered"]["groups"][0]["node_names"]), told["node_count"]) == (6, 4)
    assert answer(site, "anna", number, "accept").ok
    with site.database.reading() as session:
        kept = session.get_one(Reservation, number)
        assert [(one.least, one.most) for one in kept.groups] == [(3, 6)]
        assert len(kept.nodes) == 5


def test_a_request_that_is_no_longer_open_gets_no_offer(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    path = f"/admin/approvals/{number}/offer"
    data = form(site.visitor("carla").get(path).text, number)
    site.visitor("carla").post(f"/admin/approvals/{number}/approve", {}, page="/admin/approvals")
    late = data | {"message": "Take these.", "groups-0-node_count": "1"}
    told = site.visitor("carla").session.post(site.base + path, data=late, timeout=30)
    assert told.status_code == 409
    assert "no longer open: it is approved" in told.text
    assert 'value="1"' in told.text
