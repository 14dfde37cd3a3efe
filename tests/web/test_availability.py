# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is free and when, and booking what was offered instead, over HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db.reservation import Reservation
from app.domain.slot import Slot
from app.settings import Booking, Seats
from tests.browse import form_fields
from tests.factories import book_now
from tests.web.api import Client
from tests.web.conftest import Site
from tests.web.test_new import count, filled

NEW = "/reservations/new"
NAMED = {name: filled()[name] for name in ("name", "users", "rolls")}
BIG = {"groups-1-name": "big", "groups-1-node_count": "1", "groups-1-vcpus": "2", "groups-1-disk_gib": "8"}
LARGE = {"node_count": "2", "memory_mib": "16000"}


def fill_the_site(site: Site) -> datetime:
    """Take both compute hosts for two hours; the end."""
    booked = book_now(site.database, site.accounts["ben"], node_count=2, memory_mib=16_000)
    with site.database.reading() as session:
        return session.get_one(Reservation, booked).end_at


def offered_forms(page: str) -> dict[str, dict[str, list[str]]]:
    """What a click on each offer would send: its first word -> field -> values."""
    found: dict[str, dict[str, list[str]]] = {}
    for body in re.findall(r'<form method="post">(.*?)</form>', page, re.S):
        word = re.search(r"<button[^>]*>\s*(\w+):", body)
        if word:
            fields = found.setdefault(word[1], {})
            for name, value in re.findall(r'name="([\w-]+)" value="([^"]*)"', body):
                fields.setdefault(name, []).append(html.unescape(value))
    return found


def test_a_refusal_says_who_is_in_the_way_and_one_click_books_the_later_slot(site: Site) -> None:
    end = fill_the_site(site)
    visitor = site.visitor("anna")
    answer = visitor.post("/reservations/new", filled(**LARGE))
    assert answer.status_code == 409
    assert "another project until" in answer.text
    offers = offered_forms(answer.text)
    assert set(offers) == {"Later"}
    booked = visitor.session.post(f"{site.base}/reservations/new", data=offers["Later"], timeout=30)
    assert re.fullmatch(rf"{site.base}/reservations/\d+", booked.url), booked.text
    assert count(site) == 2
    assert offers["Later"]["users"] == [filled()["users"]]
    assert end > datetime.now(UTC)


def test_a_smaller_cluster_is_offered_where_one_fits(site: Site) -> None:
    book_now(site.database, site.accounts["ben"], node_count=1, memory_mib=16_000)
    visitor = site.visitor("anna")
    offers = offered_forms(visitor.post("/reservations/new", filled(**LARGE, node_names="red blue")).text)
    assert offers["Smaller"]["groups-0-node_count"] == ["1"]
    assert offers["Smaller"]["groups-0-node_names"] == ["red"]
    booked = visitor.session.post(f"{site.base}/reservations/new", data=offers["Smaller"], timeout=30)
    assert re.fullmatch(rf"{site.base}/reservations/\d+", booked.url)


def test_the_page_tells_the_earliest_slot_and_its_link_fills_in_the_form(site: Site) -> None:
    fill_the_site(site)
    visitor = site.visitor("anna")
    page = visitor.get("/availability", params={**LARGE, "vcpus": "1", "hours": "3"}).text
    assert "Not even one node of this size fits then" in page
    link = html.unescape(re.findall(r'href="([^"]*)">Book this slot', page)[0])
    form = visitor.get(link).text
    typed = dict(re.findall(r'name="([\w-]+)" type="[\w-]+" value="([^"]*)"', form))
    assert typed["groups-0-node_count"] == "2"
    assert typed["groups-0-memory_mib"] == "16000"
    start, end = (datetime.fromisoformat(typed[name]).replace(tzinfo=UTC) for name in ("start", "end"))
    assert Slot(start, end).length == timedelta(hours=3)
    booked = visitor.post("/reservations/new", filled() | typed | {"name": "vc-1"})
    assert re.fullmatch(rf"{site.base}/reservations/\d+", booked.url)


def test_the_page_tells_the_largest_cluster_and_what_is_free(site: Site) -> None:
    page = site.visitor("anna").get("/availability?memory_mib=4000&vcpus=2").text
    assert "8 nodes of this size" in page
    assert "public addresses" in page


def test_what_cannot_be_read_is_told_at_its_field(site: Site) -> None:
    answer = site.visitor("anna").get(
        "/availability?hours=NaN&vcpus=-1&memory_mib=9999999999&after=2026-02-30T10:00"
    )
    assert answer.status_code == 422
    for field in ("hours", "groups-0-vcpus", "groups-0-memory_mib", "after"):
        assert f'id="{field}-error"' in answer.text
    assert site.visitor("anna").get("/availability?hours=0&node_count=0").status_code == 422


def test_without_questions_it_only_asks(site: Site) -> None:
    page = site.visitor("anna").get("/availability")
    assert page.status_code == 200
    assert "Earliest slot" not in page.text


def test_several_groups_are_asked_about_and_their_links_fill_in_the_form(site: Site) -> None:
    visitor = site.visitor("anna")
    asked = {"groups-0-node_count": "1", "groups-0-memory_mib": "512", "home_gib": "7", "hours": "2"} | BIG
    asked |= {"groups-1-memory_mib": "15000", "groups-1-node_count": "3", "groups-1-node_names": "x y z"}
    page = visitor.get("/availability", params=asked)
    assert "There is none as far ahead as one may book." in page.text
    link = re.findall(r'href="([^"]*)">Book 1 of node and 2 of big in this slot', page.text)
    shown = form_fields(visitor.get(html.unescape(link[0])).text, NEW)
    assert (shown["groups-1-node_count"], shown["groups-1-node_names"]) == (["2"], ["x y"])
    assert (shown["groups-1-name"], shown["home_gib"]) == (["big"], ["7"])
    booked = visitor.session.post(site.base + NEW, data=filled() | shown | NAMED, timeout=30)
    assert re.fullmatch(rf"{site.base}/reservations/\d+", booked.url), booked.text
    fitting = visitor.get(
        "/availability", params=asked | {"groups-1-node_count": "1", "groups-1-node_names": ""}
    )
    assert "Book this slot" in fitting.text


def test_a_group_is_added_to_the_question_by_a_button(sqlite_site: Site) -> None:
    visitor = sqlite_site.visitor("anna")
    page = visitor.get("/availability", params={"do": "add", "groups-0-vcpus": "many", "hours": "9"})
    assert page.status_code == 200
    assert "Earliest slot" not in page.text
    shown = form_fields(page.text, "/availability")
    assert (shown["groups-0-vcpus"], shown["groups-1-vcpus"], shown["hours"]) == (["many"], ["many"], ["9"])
    wrong = visitor.get("/availability", params={name: values[0] for name, values in shown.items()})
    assert wrong.status_code == 422
    assert 'href="#groups-1-vcpus">Group 2, vCPUs a node: Give a whole number' in wrong.text
    less = visitor.get(
        "/availability", params={name: values[0] for name, values in shown.items()} | {"do": "remove-0"}
    )
    assert "Group 1" not in less.text


def test_a_question_about_a_host_by_name_is_the_cluster_provider_s(sqlite_site: Site) -> None:
    pinned = "/availability?groups-0-pin=c1"
    refused = sqlite_site.visitor("anna").get(pinned)
    assert refused.status_code == 422
    assert "Only a cluster provider names hosts" in refused.text
    assert "Earliest slot" in sqlite_site.visitor("carla").get(pinned).text


def test_licence_seats_count_for_the_software_that_is_asked_for(
    new_site: Callable[..., Site], sqlite_url: str
) -> None:
    site = new_site(sqlite_url, Booking(seats=(Seats("slurm", 3),)))
    page = site.visitor("anna").get("/availability").text
    assert form_fields(page, "/availability")["rolls"] == ["", "nfs", "slurm"]
    asked = [("node_count", "4"), ("rolls", ""), ("rolls", "nfs")]
    with_room = site.visitor("anna").get("/availability", params=asked).text
    link = html.unescape(re.findall(r'href="([^"]*)">Book this slot', with_room)[0])
    assert form_fields(site.visitor("anna").get(link).text, NEW)["rolls"] == ["nfs"]
    short = site.visitor("anna").get("/availability", params=[*asked, ("rolls", "slurm")]).text
    assert "There is none as far ahead as one may book." in short
    assert "Book 3 nodes in this slot" in short
    none = site.visitor("anna").get("/availability", params=[("node_count", "4"), ("rolls", "")]).text
    link = html.unescape(re.findall(r'href="([^"]*)">Book this slot', none)[0])
    assert "rolls" not in form_fields(site.visitor("anna").get(link).text, NEW)
    wrong = site.visitor("anna").get("/availability?rolls=none-such")
    assert (wrong.status_code, 'id="rolls" class="wrong"' in wrong.text) == (422, True)

    def told(query: str) -> dict[str, Any]:
        return dict(Client(site, "anna").get(f"/availability?nodes=4&duration=PT1H{query}").json())

    assert told("")["earliest"]
    assert told("&rolls=nfs")["earliest"]
    assert told("&rolls=nfs,slurm")["earliest"] is None
    (smaller,) = told("&rolls=nfs,slurm")["alternatives"]
    assert (smaller["request"]["node_count"], smaller["request"]["rolls"]) == (3, ["nfs", "slurm"])
    assert list(told("&rolls=none-such")["fields"]) == ["rolls"]
