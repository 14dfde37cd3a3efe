# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Several node groups by the form: added, removed, mended and booked by buttons alone, no scripts (R21, R76)."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
import requests
from sqlalchemy import select

from app.booking import project
from app.db.reservation import Reservation
from app.db.site import Host
from tests.browse import form_fields
from tests.factories import NOW, book_now
from tests.web.conftest import Site
from tests.web.test_new import count, errors, filled

NEW = "/reservations/new"
BIG = {
    "groups-1-name": "big",
    "groups-1-node_count": "1",
    "groups-1-vcpus": "2",
    "groups-1-memory_mib": "2048",
    "groups-1-disk_gib": "8",
}


def send(site: Site, name: str, fields: dict[str, Any]) -> requests.Response:
    """What a browser sends of these fields, none left out and none added."""
    visitor = site.visitor(name)
    return visitor.session.post(site.base + NEW, data=fields, timeout=30)


def opened(site: Site, by: str = "anna", /, **over: Any) -> dict[str, Any]:
    """All fields of the form as it opens, filled in."""
    return form_fields(site.visitor(by).get(NEW).text, NEW) | filled(**over)


def groups_of(site: Site) -> list[tuple[str, list[str]]]:
    """The groups of the only reservation, each with its nodes."""
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
        return [(g.name, [n.name for n in row.nodes if n.group_id == g.id]) for g in row.groups]


def told(answer: requests.Response) -> dict[str, str]:
    """The messages of the summary, each of which leads to its field and stands there as well."""
    found = errors(answer.text)
    for name, message in found.items():
        assert f'id="{name}"' in answer.text, f"the link to {name} leads nowhere"
        message = message.rpartition(": ")[2]
        assert html.unescape(answer.text).count(message) >= 2, f"{name} does not say so itself"
    return found


def test_a_group_is_added_and_filled_in_and_nothing_typed_before_is_lost(site: Site):
    typed = opened(
        site, memory_mib="half a gig", note='precious <words> & "quotes"', rolls=["nfs"], times="3"
    )
    answer = send(site, "anna", typed | {"do": "add"})
    assert answer.status_code == 200
    assert errors(answer.text) == {}
    shown = form_fields(answer.text, NEW)
    before = {name: value if isinstance(value, list) else [value] for name, value in typed.items()}
    assert {name: shown[name] for name in before if name != "csrf_token"} == {
        name: values for name, values in before.items() if name != "csrf_token"
    }
    assert {name: shown[name] for name in BIG} == {
        "groups-1-name": [""],
        "groups-1-node_count": ["1"],
        "groups-1-vcpus": ["1"],
        "groups-1-memory_mib": ["half a gig"],
        "groups-1-disk_gib": ["4"],
    }
    assert count(site) == 0
    mended = shown | BIG | {"groups-0-memory_mib": "512", "end": filled()["end"], "times": ""}
    booked = send(site, "anna", mended | {"do": "ask"})
    assert re.fullmatch(rf"{site.base}/reservations/\d+", booked.url), errors(booked.text)
    assert groups_of(site) == [("node", ["node1", "node2"]), ("big", ["big1"])]
    assert "node: 2 × 1 vCPU, 512 MiB, 4 GiB<br>big: 1 × 2 vCPU, 2 GiB, 8 GiB" in booked.text


def test_each_group_is_made_of_what_is_chosen_for_it(site: Site):
    first = opened(site)
    assert first["groups-0-appliance"] == ["compute"]
    shown = form_fields(send(site, "anna", first | {"do": "add"}).text, NEW) | BIG
    wrong = send(site, "anna", shown | {"groups-1-appliance": "frontend"})
    assert told(wrong)["groups-1-appliance"].endswith("Choose among: compute, devel.")
    booked = send(site, "anna", shown | {"groups-1-appliance": "devel"})
    assert "big: 1 × 2 vCPU, 2 GiB, 8 GiB, devel" in booked.text
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
        assert [group.appliance for group in row.groups] == ["compute", "devel"]


def test_one_group_is_asked_for_without_a_word_about_groups(sqlite_site: Site):
    page = sqlite_site.visitor("anna").get(NEW).text
    assert "Group 1" not in page
    assert "Remove this group" not in page
    assert 'name="groups-0-name"' not in page
    assert "<details open" not in page.replace("<details >", "")


def test_the_buttons_work_with_fields_left_empty_and_without_a_script(sqlite_site: Site):
    visitor = sqlite_site.visitor("anna")
    page = visitor.post(NEW, {"do": "add"}).text
    assert "<script" not in page
    assert "hx-" not in page
    buttons = re.findall(r'<button([^>]*name="do"[^>]*)>', page)
    values = [re.findall('value="([^"]*)"', one)[0] for one in buttons]
    # The Enter key presses the first.
    assert values[0] == "ask"
    for one, value in zip(buttons, values, strict=True):
        assert ("formnovalidate" in one) == (value != "ask")
    assert re.search(r'value="remove-1"[^>]* formaction="/reservations/new#groups"', page)


def test_a_group_is_removed_and_those_after_it_move_up(sqlite_site: Site):
    typed = opened(sqlite_site) | BIG | {"groups-2-name": "gpu", "groups-2-tags": "gpu x"}
    answer = send(sqlite_site, "anna", typed | {"do": "remove-1"})
    shown = form_fields(answer.text, NEW)
    assert (shown["groups-1-name"], shown["groups-1-tags"]) == (["gpu"], ["gpu x"])
    assert not any(name.startswith("groups-2") for name in shown)
    last = form_fields(send(sqlite_site, "anna", shown | {"do": "remove-0"}).text, NEW)
    assert last["groups-0-tags"] == ["gpu x"]
    again = form_fields(send(sqlite_site, "anna", last | {"do": "remove-0"}).text, NEW)
    # Its mark against forgery is signed with the second it was made in.
    assert again | {"csrf_token": None} == last | {"csrf_token": None}


def test_what_is_wrong_of_a_group_is_told_at_its_field_and_what_was_typed_stays(sqlite_site: Site):
    wrong = {
        "groups-1-name": "Not A Name",
        "groups-1-node_count": "many",
        "groups-1-least": "-1",
        "groups-1-vcpus": "",
        "groups-1-memory_mib": "1",
        "groups-1-disk_gib": "1e9",
        "groups-1-node_names": "a/b",
        "groups-1-tags": "GPU!",
    }
    answer = send(sqlite_site, "anna", opened(sqlite_site) | wrong)
    assert answer.status_code == 422
    assert set(told(answer)) == set(wrong)
    shown = form_fields(answer.text, NEW)
    assert {name: shown[name] for name in wrong} == {name: [text] for name, text in wrong.items()}
    assert count(sqlite_site) == 0


def test_two_groups_need_two_names(sqlite_site: Site):
    answer = send(sqlite_site, "anna", opened(sqlite_site) | BIG | {"groups-1-name": ""})
    assert told(answer) == {
        "groups-1-name": "Group 2, Name of the group: Two groups are called 'node': give each its own name."
    }


def test_hosts_are_named_by_cluster_providers_alone(site: Site):
    pinned = {"groups-0-pin": "c2"}
    refused = send(site, "anna", opened(site) | pinned)
    assert "Only a cluster provider names hosts" in errors(refused.text)["groups-0-pin"]
    assert 'name="groups-0-pin"' not in site.visitor("anna").get(NEW).text
    unknown = send(site, "carla", opened(site, "carla") | {"groups-0-avoid": "c9"})
    assert told(unknown) == {"groups-0-avoid": "There is no host called 'c9'."}
    assert send(site, "carla", opened(site, "carla") | pinned).ok
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
        assert {session.get_one(Host, node.host_id).name for node in row.nodes[1:]} == {"c2"}


def test_ten_groups_are_the_most(sqlite_site: Site):
    shown = opened(sqlite_site)
    for _ in range(9):
        page = send(sqlite_site, "anna", shown | {"do": "add"}).text
        shown = form_fields(page, NEW)
    assert "Group 10" in page
    assert "Add another group" not in page
    many = {f"groups-{index}-name": f"g{index}" for index in range(5000)}
    answer = send(sqlite_site, "anna", shown | many)
    assert told(answer)["groups"] == "Ask for 10 groups at the most."


def test_groups_with_strange_numbers_are_ignored(sqlite_site: Site):
    strange = {f"groups-{number}-name": "x" for number in ("²", "9" * 5000, "-1", "", "3")}
    assert send(sqlite_site, "anna", opened(sqlite_site) | strange | {"groups--": "x", "groups": "x"}).ok
    assert groups_of(sqlite_site) == [("node", ["node1", "node2"])]


@pytest.mark.parametrize(("more", "field"), [({}, "groups-0-node_count"), (BIG, "groups")])
def test_too_many_nodes_for_the_project_are_told_where_they_were_typed(
    sqlite_site: Site, more: dict[str, str], field: str
):
    project.set_ceilings(sqlite_site.database, "anna", {"nodes": 1}, by="test", now=NOW)
    answer = send(sqlite_site, "anna", opened(sqlite_site) | more)
    assert answer.status_code == 422
    assert "may have 1 compute nodes at once" in told(answer)[field]


def test_a_smaller_cluster_is_offered_group_by_group_and_booked_with_one_click(site: Site):
    book_now(site.database, site.accounts["ben"], node_count=1, memory_mib=16_000)
    wide = BIG | {"groups-1-memory_mib": "15000", "groups-1-node_count": "3", "groups-1-node_names": "x y z"}
    wide["groups-1-least"] = "3"
    answer = send(site, "anna", opened(site, node_count="1") | wide)
    assert answer.status_code == 409
    offer = re.search(
        r'<form method="post">((?:(?!</form>).)*Smaller: 1 of node and 1 of big in .*?)</form>',
        answer.text,
        re.S,
    )
    assert offer, answer.text
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([\w-]+)" value="([^"]*)"', offer[1]):
        fields.setdefault(name, []).append(html.unescape(value))
    assert (fields["groups-1-node_count"], fields["groups-1-least"]) == (["1"], [""])
    assert send(site, "anna", fields).ok
    with site.database.reading() as session:
        row = session.scalars(select(Reservation).where(Reservation.name == "vc-42")).one()
        assert [node.name for node in row.nodes] == ["frontend", "node1", "x"]


def test_a_link_fills_in_several_groups(sqlite_site: Site):
    asked = {"name": "vc-7", "home_gib": "9", "groups-0-node_count": "5"} | BIG
    shown = form_fields(sqlite_site.visitor("anna").get(NEW, params=asked).text, NEW)
    assert {name: shown[name] for name in asked} == {name: [text] for name, text in asked.items()}
    assert shown["groups-0-memory_mib"] == ["1024"]


def test_a_group_that_was_mended_makes_it_another_request(sqlite_site: Site):
    fields = opened(sqlite_site) | BIG
    first = send(sqlite_site, "anna", fields)
    assert send(sqlite_site, "anna", fields).url == first.url
    other = send(sqlite_site, "anna", fields | {"groups-1-node_count": "2", "name": "vc-43"})
    assert other.url != first.url
    assert count(sqlite_site) == 2
