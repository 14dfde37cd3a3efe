# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A cluster's disks kept, and the cluster asked for again, by the pages and by a program."""

from __future__ import annotations

from datetime import timedelta

import requests
from sqlalchemy import select

from app.booking.save import saved
from app.db.reservation import Reservation
from app.settings import Settings
from tests.factories import book_now, make_resource, make_stand
from tests.web.api import Client
from tests.web.conftest import Site
from tests.web.test_api import version
from tests.web.test_reservation import text


def test_disks_are_kept_and_the_cluster_is_booked_again_by_pages_that_say_what_it_means(sqlite_site: Site):
    site = sqlite_site
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    anna, page = site.visitor("anna"), f"/reservations/{number}"
    assert "Keep its disks…" not in anna.get(page).text, "there are none yet"
    make_stand(site.database, number)
    assert "Keep its disks…" in anna.get(page).text
    asked = text(anna.get(f"{page}/keep").text)
    assert "Its 4 volumes with 13 GiB, /home among them, stay after the slot" in asked
    with site.database.reading() as session:
        end = session.get_one(Reservation, number).end_at
    wrong = anna.post(f"{page}/keep", {"until": f"{end:%Y-%m-%dT%H:%M}Z"})
    assert (wrong.status_code, "a time after the slot" in text(wrong.text)) == (422, True)
    shown = text(anna.post(f"{page}/keep", {"until": f"{end + timedelta(days=3):%Y-%m-%dT%H:%M}Z"}).text)
    assert "Its disks are kept until" in shown
    assert "Resize…" not in shown
    assert "Let them go with the slot" in anna.get(f"{page}/keep").text
    make_saved(site, number)
    shown = text(anna.get(page).text)
    assert "▣ Saved" in shown
    assert "Book it again…" in shown
    early = anna.post(f"{page}/restore", {"name": "again", "end": ""})
    assert (early.status_code, "Give a date and a time" in early.text) == (422, True)
    assert 'value="again"' in early.text, "what was typed stays"
    made = anna.post(
        f"{page}/restore", {"name": "again", "end": f"{end + timedelta(days=2):%Y-%m-%dT%H:%M}Z"}
    )
    assert "again" in text(made.text)
    with site.database.reading() as session:
        again = session.scalars(select(Reservation).where(Reservation.name == "again")).one()
    assert (again.saved_id, made.url) == (number, f"{site.base}/reservations/{again.id}")
    held = anna.post(f"{page}/cancel", {"name": "vc-42"})
    assert (held.status_code, "cancel that first" in text(held.text)) == (409, True)


def make_saved(site: Site, number: int) -> None:
    """Let the reservation be saved, as if its slot were over and the passes had taken down the rest of it."""
    with site.database.writing(ledger=True) as session:
        row = session.get_one(Reservation, number)
        row.state = "saved"
        saved(session, Settings(), row, row.end_at)


def test_disks_are_kept_and_the_cluster_is_asked_for_again(sqlite_site: Site):
    site = sqlite_site
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    anna, ben, path = Client(site, "anna"), Client(site, "ben"), f"/reservations/{number}"

    def put(until: str | None) -> requests.Response:
        return anna.send("PUT", f"{path}/keep", {"until": until}, headers=version(anna.get(path)))

    with site.database.reading() as session:
        end = session.get_one(Reservation, number).end_at
    until = f"{end + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    early = put(until)
    assert (early.status_code, early.json()["detail"][:16]) == (409, "It is requested:")
    make_stand(site.database, number)
    assert ben.send("PUT", f"{path}/keep", {"until": until}, headers={"If-Match": '"1"'}).status_code == 404
    assert list(put("2099-01-01T00:00:00Z").json()["fields"]) == ["until"]
    assert put(until).status_code == 200
    assert anna.get(path).json()["keep_until"][:19] == until[:19]
    assert "Its volumes are kept until" in text(site.visitor("anna").get(f"{path}/cancel").text)
    make_saved(site, number)
    shown = text(site.visitor("anna").get(path).text)
    assert "▣ Saved" in shown
    assert "its disks are kept until" in shown
    assert "Change the end…" not in shown
    wish = {"name": "again", "end": until}
    made = anna.send("POST", f"{path}/restore", wish, headers=version(anna.get(path)))
    assert (made.status_code, made.json()["node_count"]) == (201, 2)
    assert anna.get(f"/reservations/{made.json()['id']}").json()["saved_id"] == number
    twice = anna.send("POST", f"{path}/restore", wish | {"name": "other"}, headers=version(anna.get(path)))
    assert (twice.status_code, "booked already" in twice.json()["detail"]) == (409, True)
    assert put(None).status_code == 409


def test_a_volume_is_shown_to_the_host_of_the_slot_that_it_is_used_in(sqlite_site: Site):
    site = sqlite_site
    number, again = (book_now(site.database, site.accounts["anna"], name=name) for name in ("vc-42", "again"))
    with site.database.writing() as session:
        node, restored = (session.get_one(Reservation, one).nodes[1] for one in (number, again))
        node.host_id, restored.host_id = site.hosts["c1"].id, site.hosts["c2"].id
        ids = node.id, restored.id
    name, storage = f"lh{number}-node1-root", site.hosts["st1"]
    target = f"iqn.2026-11.org.leasehold:{name}"
    for one, op, node_id, args in ((number, "file", ids[0], {}), (again, "tgt", ids[1], {"target": target})):
        make_resource(site.database, storage, one, op, name=name, node_id=node_id, args=args, have="present")
    page = text(site.visitor("otto").get("/admin/volumes").text)
    assert f"vc-42 0 MiB st1 {target} c2" in page
