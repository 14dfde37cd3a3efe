# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Suspending and resuming by the pages and the API: what it means is said before, and where it stands meanwhile."""

from __future__ import annotations

import requests
from sqlalchemy import update

from app.booking import decide
from app.db.reservation import Reservation
from app.db.site import Host
from tests.factories import NOW, book_now, make_stand, make_suspended
from tests.web.api import Client
from tests.web.conftest import Site
from tests.web.test_api import version
from tests.web.test_reservation import text


def test_a_cluster_is_suspended_and_resumed_by_buttons_that_say_what_it_means(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    anna, page = site.visitor("anna"), f"/reservations/{number}"
    assert "Suspend…" not in anna.get(page).text, "nothing stands yet"
    make_stand(site.database, number)
    assert "Suspend…" in anna.get(page).text
    asked = text(anna.get(f"{page}/suspend").text)
    assert "Its 3 machines are saved to the disks of their hosts" in asked
    assert "At its end everything is deleted" in asked
    answer = anna.post(f"{page}/suspend", {})
    assert answer.url == site.base + page
    shown = text(answer.text)
    assert "‖ Suspending" in shown
    assert "Resize…" not in shown
    assert 'hx-trigger="every 3s"' in answer.text
    assert "Log in to the frontend" not in shown
    make_suspended(site.database, number)
    shown = text(anna.get(page).text)
    assert "‖ Suspended" in shown
    assert "go on where they were when it is resumed" in shown
    answer = anna.post(f"{page}/resume", {})
    assert "▸ Resuming" in text(answer.text)
    assert "Suspend…" not in answer.text
    assert [
        line
        for line in text(anna.get(f"{page}/history").text).split("anna ")
        if line.startswith("resumed it.")
    ]


def test_without_room_the_page_says_what_is_short_and_nothing_changes(sqlite_site: Site):
    site = sqlite_site
    number = book_now(site.database, site.accounts["anna"])
    make_stand(site.database, number)
    anna, page = site.visitor("anna"), f"/reservations/{number}"
    anna.post(f"{page}/suspend", {})
    make_suspended(site.database, number)
    with site.database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(vcpus=0))
    answer = anna.post(f"{page}/resume", {})
    assert answer.status_code == 409
    shown = text(answer.text)
    assert "There is no room for it now" in shown
    assert "gw1: 0 of 1 vCPU free in what is left of the slot." in shown
    assert "There is no room for it before its slot ends." in shown
    assert "Resume the cluster" in shown, "it can be tried again from here"
    with site.database.reading() as session:
        assert session.get_one(Reservation, number).state == "suspended"


def test_who_cancels_a_suspended_cluster_reads_that_it_goes(sqlite_site: Site):
    site = sqlite_site
    number = book_now(site.database, site.accounts["anna"])
    make_stand(site.database, number)
    make_suspended(site.database, number)
    decide.cancel(site.database, site.accounts["anna"], number, now=NOW)
    shown = text(site.visitor("anna").get(f"/reservations/{number}").text)
    assert "The next pass takes down what stands" in shown
    assert "Resume…" not in shown


def test_a_cluster_is_suspended_and_resumed_or_says_who_is_in_the_way(site: Site):
    anna, ben = Client(site, "anna"), Client(site, "ben")
    number = book_now(site.database, site.accounts["anna"])
    path = f"/reservations/{number}"

    def send(deed: str) -> requests.Response:
        return anna.send("POST", f"{path}/{deed}", headers=version(anna.get(path)))

    early = send("suspend")
    assert (early.status_code, early.json()["detail"][:16]) == (409, "It is requested:")
    make_stand(site.database, number)
    assert send("suspend").json()["state"] == "ready"
    seen = anna.get(path).json()
    assert (seen["suspend_requested_at"] is None, seen["access"]) == (False, None)
    assert "being saved to disk" in seen["summary"]
    make_suspended(site.database, number)
    assert "on disk" in anna.get(path).json()["summary"]
    with site.database.writing() as session:
        session.execute(update(Host).values(vcpus=0))
    full = send("resume")
    assert (full.status_code, len(full.json()["reasons"]), full.json()["in_the_way"]) == (409, 4, [])
    assert ben.send("POST", f"{path}/resume", headers={"If-Match": '"1"'}).status_code == 404
    with site.database.writing() as session:
        session.execute(update(Host).values(vcpus=8))
    assert (send("resume").status_code, anna.get(path).json()["suspend_requested_at"]) == (200, None)
