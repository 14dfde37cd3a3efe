# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The accounts as a page and as downloads (R5): one's own, for the days asked for."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from app.db.account import Account
from app.db.reservation import Reservation
from tests.factories import book_now
from tests.web.api import Client
from tests.web.conftest import Site


def approved(site: Site, name: str) -> None:
    number = book_now(site.database, site.accounts[name], name=f"{name}s", node_count=2)
    with site.database.writing() as session:
        session.get_one(Reservation, number).state = "approved"


def asked(**over: str) -> dict[str, str]:
    today = datetime.now(UTC).date()
    days = {"from": today - timedelta(days=2), "to": today + timedelta(days=3)}
    return {name: day.isoformat() for name, day in days.items()} | {"by": "reservation"} | over


def test_a_service_provider_sees_their_own_and_a_cluster_provider_all(site: Site) -> None:
    for name in ("anna", "ben"):
        approved(site, name)
    for name, seen in (("anna", {"annas"}), ("carla", {"annas", "bens"})):
        visitor = site.visitor(name)
        page = visitor.get("/usage", params=asked()).text
        assert {one for one in ("annas", "bens") if f">{one}</a>" in page} == seen
        rows = list(csv.DictReader(io.StringIO(visitor.get("/usage.csv", params=asked()).text)))
        assert {row["name"]: float(row["node_hours"]) for row in rows} == pytest.approx(
            dict.fromkeys(seen, 4.0), abs=0.01
        )
        told = visitor.get("/usage.json", params=asked(by="project"))
        assert told.headers["Content-Type"] == "application/json"
        assert {row["project"] for row in told.json()["usage"]} == {one.removesuffix("s") for one in seen}


def test_a_program_is_told_the_same_as_the_page(site: Site) -> None:
    for name in ("anna", "ben"):
        approved(site, name)
    since, until = (f"{asked()[name]}T00:00:00Z" for name in ("from", "to"))
    for name, seen in (("anna", ["anna"]), ("carla", ["anna", "ben"])):
        for by in ("project", "reservation"):
            path = f"/usage?from={since}&to={until}&by={by}"
            told = Client(site, name).get(path).json()
            assert told == site.visitor(name).get("/usage.json", params=asked(by=by)).json()
            assert [row["project"] for row in told["usage"]] == seen
    wrong = Client(site, "anna").get(f"/usage?from={until}&to={since}")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (422, ["to"])
    assert set(Client(site, "anna").get("/usage?by=host").json()["fields"]) == {"from", "to"}


def test_days_are_those_of_the_visitor_s_zone(sqlite_site: Site) -> None:
    with sqlite_site.database.writing() as session:
        session.get_one(Account, sqlite_site.accounts["anna"].id).time_zone = "Asia/Tokyo"
    told = sqlite_site.visitor("anna").get("/usage.json", params=asked(**{"from": "2026-11-01"})).json()
    assert told["from"] == "2026-10-31T15:00:00Z"


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"from": "NaN"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "0001-01-01"}, "to"),
        ({"to": "2020-01-01"}, "to"),
        ({"by": "host"}, "by"),
    ],
)
def test_what_cannot_be_asked_is_told_at_its_field(
    sqlite_site: Site, over: dict[str, str], field: str
) -> None:
    visitor = sqlite_site.visitor("anna")
    answer = visitor.get("/usage", params=asked(**over))
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text
    assert visitor.get("/usage.csv", params=asked(**over)).status_code == 422
