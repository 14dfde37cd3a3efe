# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Maintenance, tags and bandwidth by the pages of the site's staff."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.db import site as sites
from app.db.site import Host
from tests.factories import book_now
from tests.web.conftest import Site


def typed(**over: str) -> dict[str, str]:
    now = datetime.now(UTC)
    times = {"start": now + timedelta(days=1), "end": now + timedelta(days=2)}
    shown = {name: f"{time:%Y-%m-%d %H:%M}" for name, time in times.items()}
    return {"host": "c1", "why": "new memory"} | shown | over


def ahead(site: Site) -> list[tuple[int, str]]:
    with site.database.reading() as session:
        return [(row.id, name) for row, name in sites.maintenance_ahead(session, datetime.now(UTC))]


def test_a_host_is_kept_free_and_given_back(site: Site) -> None:
    visitor = site.visitor("otto")
    page = visitor.post("/admin/maintenance/enter", typed(), page="/admin/maintenance")
    assert page.status_code == 200
    assert "new memory" in page.text
    ((number, name),) = ahead(site)
    assert name == "c1"
    assert (
        visitor.post(f"/admin/maintenance/{number}/cancel", {}, page="/admin/maintenance").status_code == 200
    )
    assert ahead(site) == []


def test_who_is_booked_there_is_named_and_nothing_typed_is_lost(site: Site) -> None:
    book_now(site.database, site.accounts["anna"], name="annas-class")
    start = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d %H:%M}"
    answer = site.visitor("otto").post(
        "/admin/maintenance/enter", typed(host="gw1", start=start), page="/admin/maintenance"
    )
    assert answer.status_code == 409
    assert "annas-class (anna)" in answer.text
    assert 'value="new memory"' in answer.text
    assert ahead(site) == []


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"start": "soon"}, "start"),
        ({"end": "2026-02-30 10:00"}, "end"),
        ({"end": "2020-01-01 10:00"}, "end"),
        ({"host": "c9"}, "host"),
        ({"why": "x" * 201}, "why"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(sqlite_site: Site, over: dict[str, str], field: str) -> None:
    visitor = sqlite_site.visitor("otto")
    answer = visitor.post("/admin/maintenance/enter", typed(**over), page="/admin/maintenance")
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert ahead(sqlite_site) == []


def test_tags_and_bandwidth_are_changed_or_told_wrong(site: Site) -> None:
    visitor, number = site.visitor("otto"), site.hosts["gw1"].id
    path = f"/admin/hosts/{number}"
    for wrong in (
        {"tags": "GPU"},
        {"tags": "", "bandwidth_mbit": "NaN"},
        {"tags": "", "bandwidth_mbit": "999999999"},
    ):
        assert visitor.post(path, wrong).status_code == 422
    assert visitor.post(path, {"tags": "gpu, fast", "bandwidth_mbit": "1000"}).status_code == 200
    assert 'value="fast gpu"' in visitor.get(path).text
    with site.database.reading() as session:
        row = session.get_one(Host, number)
        assert (row.tags, row.bandwidth_mbit) == (["fast", "gpu"], 1000)
    visitor.post(path, {"tags": "", "bandwidth_mbit": ""})
    with site.database.reading() as session:
        assert session.get_one(Host, number).bandwidth_mbit is None
    assert visitor.get("/admin/hosts/777").status_code == 404
