# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A disk that every node may write (R83), by the pages and by the API: asked for, offered, shown, refused."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import select

from app.db.reservation import Reservation
from tests.browse import form_fields
from tests.factories import book_now, make_resource
from tests.web.api import Client, wanted
from tests.web.conftest import Site
from tests.web.test_change import row
from tests.web.test_new import count, errors, filled
from tests.web.test_offer import form, offer
from tests.web.test_reservation import text

NEW = "/reservations/new"


def sizes(site: Site) -> list[int]:
    with site.database.reading() as session:
        return [one.shared_disk_gib for one in session.scalars(select(Reservation).order_by(Reservation.id))]


def test_it_is_asked_for_by_the_form_and_shown_and_nothing_typed_is_none(sqlite_site: Site):
    visitor = sqlite_site.visitor("anna")
    page = visitor.post(NEW, filled(shared_disk_gib="20"))
    assert "Disk that every node may write 20 GiB, /dev/disk/by-id/virtio-shared" in text(page.text)
    for number, typed in enumerate(("", "0")):
        page = visitor.post(NEW, filled(name=f"none-{number}", shared_disk_gib=typed))
        assert page.url != f"{sqlite_site.base}{NEW}"
        assert "every node may write" not in page.text
    assert sizes(sqlite_site) == [20, 0, 0]
    with sqlite_site.database.reading() as session:
        number = session.scalars(select(Reservation.id).where(Reservation.shared_disk_gib == 20)).one()
    assert "5 volumes with 34 GiB" in text(visitor.get(f"/reservations/{number}/cancel").text)
    queue = text(sqlite_site.visitor("carla").get("/admin/approvals").text)
    assert queue.count("20 GiB that every node may write") == 1


@pytest.mark.parametrize(
    ("typed", "sent"), [("-1", -1), ("1.5", 1.5), ("a lot", "a lot"), ("99999", 99999), ("9" * 30, 10**30)]
)
def test_what_is_no_size_is_told_at_the_field_and_stays_typed(sqlite_site: Site, typed: str, sent: object):
    answer = sqlite_site.visitor("anna").post(NEW, filled(shared_disk_gib=typed))
    assert (answer.status_code, set(errors(answer.text))) == (422, {"shared_disk_gib"})
    assert form_fields(answer.text, NEW)["shared_disk_gib"] == [typed]
    answer = Client(sqlite_site, "anna").send("POST", "/reservations", wanted(shared_disk_gib=sent))
    assert (answer.status_code, set(answer.json()["fields"])) == (422, {"shared_disk_gib"})
    assert count(sqlite_site) == 0


def test_an_offer_is_filled_in_with_it_and_both_are_seen_side_by_side(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"], shared_disk_gib=20)
    path = f"/admin/approvals/{number}/offer"
    page = sqlite_site.visitor("carla").get(path).text
    assert form(page, number)["shared_disk_gib"] == ["20"]
    assert offer(sqlite_site, number, shared_disk_gib="10").ok
    page = sqlite_site.visitor("anna").get(f"/reservations/{number}").text
    assert "Disk that every node may write 20 GiB 10 GiB" in text(page)
    assert row(sqlite_site, number).shared_disk_gib == 20


def test_among_the_volumes_it_is_shown_to_the_hosts_of_all_nodes(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"], name="vc-42", shared_disk_gib=2)
    name, storage = f"lh{number}-shared", sqlite_site.hosts["st1"]
    of_volume, of_export = {"size_mib": 2048}, {"target": f"iqn.2026-11.org.leasehold:{name}"}
    for op, args in (("file", of_volume), ("tgt", of_export)):
        make_resource(sqlite_site.database, storage, number, op, name=name, args=args, have="present")
    page = text(sqlite_site.visitor("otto").get("/admin/volumes").text)
    assert f"{name} ✓ in place anna vc-42 2 GiB st1 {of_export['target']} the hosts of all nodes" in page


def test_it_is_asked_for_offered_and_read_by_the_api(sqlite_site: Site):
    anna, carla = Client(sqlite_site, "anna"), Client(sqlite_site, "carla")
    made = anna.send("POST", "/reservations", wanted(shared_disk_gib=20))
    path = f"/reservations/{made.json()['id']}"
    assert anna.get(path).json()["shared_disk_gib"] == 20
    assert anna.send("POST", "/reservations", wanted(name="none")).status_code == 201
    assert sizes(sqlite_site) == [20, 0]
    seen = {"If-Match": carla.get(path).headers["ETag"]}
    less = {"message": "Ten are left.", "shared_disk_gib": 10}
    assert carla.send("POST", f"{path}/offer", less, headers=seen).status_code == 200
    (offered,) = anna.get(path).json()["offers"]
    assert [offered[which]["shared_disk_gib"] for which in ("asked", "offered")] == [20, 10]


def test_a_storage_host_without_room_for_it_is_told_and_what_fits_can_be_booked(sqlite_site: Site):
    anna = Client(sqlite_site, "anna")
    asked = "/availability?nodes=2&duration=PT2H&shared_disk="
    assert anna.get(f"{asked}10GiB").json()["earliest"] is not None
    assert anna.get(f"{asked}9TiB").json()["earliest"] is None
    refused = anna.send("POST", "/reservations", wanted(shared_disk_gib=9000))
    assert refused.status_code == 409
    question = "/availability?groups-0-node_count=1&groups-0-memory_mib=512&hours=2&shared_disk_gib="
    visitor = sqlite_site.visitor("anna")
    assert "There is none as far ahead as one may book." in visitor.get(f"{question}9000").text
    (link, *_) = re.findall(r'href="(/reservations/new[^"]*)"', visitor.get(f"{question}7").text)
    filled_in = form_fields(visitor.get(html.unescape(link)).text, NEW)
    assert filled_in["shared_disk_gib"] == ["7"]
