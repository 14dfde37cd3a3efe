# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages of the site's staff: hosts, volumes (R33), workers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db.pass_run import PASSES
from app.db.reservation import Reservation
from tests.factories import book_now, make_resource, make_run
from tests.web.conftest import Site
from tests.web.test_reservation import text


def test_hosts_are_shown_with_capacity_and_why_one_is_left_alone(site: Site):
    with site.database.writing() as session:
        host = session.merge(site.hosts["c2"])
        host.suspect_until = datetime.now(UTC) + timedelta(minutes=2)
        host.last_error = "c2 did not answer within 20 s"
        session.merge(site.hosts["c1"]).state = "drained"
    page = text(site.visitor("otto").get("/admin/hosts").text)
    assert re.search(r"c1 ‖ drained compute 198.18.9.1 8 16 GiB 200 GiB never", page)
    assert re.search(r"c2 ! suspect compute .* c2 did not answer within 20 s Tried again at [\d:]+ UTC", page)
    assert "st1 ✓ enabled builder, storage" in page
    assert "Host c2 does not answer" in text(site.visitor("otto").get("/").text)


def test_ailing_disks_are_told_to_the_staff_on_both_pages_with_when_they_were_seen(site: Site):
    pool = {"size_mib": 1000, "free_mib": 80, "data_percent": 92.0, "metadata_percent": 11.2}
    facts = {
        "health": ["md array md0 has 1 of its 2 disks, sda1 failed"],
        "told_at": "2026-11-22T07:00:00+00:00",
    }
    with site.database.writing() as session:
        session.merge(site.hosts["st1"]).facts = facts | {"pool": pool}
        session.merge(site.hosts["c1"]).facts = {"health": [], "pool": pool | {"data_percent": 10.0}}
    said = "md array md0 has 1 of its 2 disks, sda1 failed; the data of the thin pool is 92 % full."
    page = text(site.visitor("otto").get("/admin/hosts").text)
    assert re.search(rf"pool 92 % full never Disks: {re.escape(said)} As told .*2026 07:00 UTC", page)
    assert page.count("Disks:") == 1
    assert "pool 10 % full" in page
    assert f"The disks of host st1 : {said}" in text(site.visitor("otto").get("/").text)
    assert "md0" not in site.visitor("anna").get("/").text, "it is not for her to mend"


def test_all_volumes_are_on_one_page_with_owner_size_target_and_host(site: Site):
    number = book_now(site.database, site.accounts["anna"], name="vc-42")
    with site.database.reading() as session:
        frontend = session.get_one(Reservation, number).nodes[0]
    name = f"lh{number}-frontend-root"
    target = f"iqn.2026-11.org.leasehold:{name}"
    storage = site.hosts["st1"]
    common: dict[str, Any] = {"name": name, "node_id": frontend.id, "have": "present"}
    make_resource(site.database, storage, number, "file", args={"size_mib": 4096}, **common)
    make_resource(site.database, storage, number, "tgt", args={"target": target}, **common)
    make_resource(
        site.database, storage, number, "file", name=f"lh{number}-frontend-home", args={"size_mib": 1536}
    )
    gone: dict[str, Any] = {"want": "absent", "have": "absent"}
    make_resource(site.database, storage, number, "file", name="lh0-gone", args={"size_mib": 1}, **gone)
    page = text(site.visitor("otto").get("/admin/volumes").text)
    assert f"{name} ✓ in place anna vc-42 4 GiB st1 {target} gw1" in page
    assert f"lh{number}-frontend-home ○ to do anna vc-42 1.5 GiB st1 – no host" in page
    assert "2 volumes, 5.5 GiB booked" in page
    assert "lh0-gone" not in page


def test_workers_show_their_last_run_and_what_is_left(site: Site):
    number = book_now(site.database, site.accounts["anna"])
    now = datetime.now(UTC)
    make_run(site.database, "network", ago_s=10, worked=5, failed=1)
    make_run(site.database, "storage", ago_s=200)
    with site.database.writing() as session:
        session.get_one(Reservation, number).building_at = now - timedelta(minutes=3)
    make_resource(site.database, site.hosts["gw1"], number, "vxlan", label="the first link")
    failing: dict[str, Any] = {"have": "unknown", "error_code": "timeout", "label": "the failing link"}
    begun = now - timedelta(minutes=4)
    make_resource(site.database, site.hosts["c1"], number, "vxlan", started_at=begun, **failing)
    leased: dict[str, Any] = {"lease_owner": "x", "lease_until": now + timedelta(minutes=1)}
    make_resource(site.database, site.hosts["c2"], number, "vxlan", have="unknown", **leased)
    make_resource(site.database, site.hosts["c2"], number, "vxlan", have="present")
    page = text(site.visitor("otto").get("/admin/workers").text)
    done = r"network [^!]* UTC \(1\d s ago, after 55 s\) 5 done, 1 failed"
    assert re.search(done + r" 3 1 ! 1 the failing link on c1 \(4 min ago\)", page)
    assert re.search(r"storage ! late .* UTC \(3 min ago, after 55 s\) nothing to do 0 0 0 –", page)
    assert re.search(r"machine ! late never – 0 0 0 –", page)


def test_staff_are_alarmed_on_every_page_while_passes_do_not_run(site: Site):
    make_run(site.database, *PASSES)
    make_run(site.database, "machine", ago_s=600)
    for name, pages in (("otto", ("/", "/admin/hosts")), ("carla", ("/", "/reservations", "/nowhere"))):
        for path in pages:
            page = text(site.visitor(name).get(path).text)
            assert "Passes do not run: machine (last 10 min ago)." in page, (name, path)
    assert "do not run" not in site.visitor("anna").get("/").text, "it is not for her to mend"
    make_run(site.database, "machine")
    assert "do not run" not in site.visitor("otto").get("/").text
