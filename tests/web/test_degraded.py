# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A cluster of which a host does not answer is marked on every page that shows it, until the host is back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from app.db.reservation import Node, Reservation
from app.db.site import Host
from tests.factories import book_now, make_resource
from tests.web.api import Client
from tests.web.conftest import Site

PAGES = ("/", "/reservations", "/reservations/{}", "/reservations/{}/live")


@pytest.fixture
def number(sqlite_site: Site) -> int:
    """A cluster of one node that is ready."""
    made = book_now(sqlite_site.database, sqlite_site.accounts["anna"], node_count=1)
    with sqlite_site.database.writing() as session:
        session.execute(update(Reservation).values(state="ready", ready_at=datetime.now(UTC)))
        node = session.scalars(select(Node).where(Node.position == 1)).one()
        host = session.get_one(Host, node.host_id)
    make_resource(sqlite_site.database, host, made, "domain", node_id=node.id, have="present")
    return made


def test_degraded_is_told_on_every_page_and_goes_when_the_host_is_back(
    sqlite_site: Site, number: int
) -> None:
    def texts() -> list[str]:
        return [sqlite_site.visitor("anna").get(path.format(number)).text for path in PAGES]

    def by_program() -> str | None:
        told = Client(sqlite_site, "anna").get(f"/reservations/{number}").json()["degraded"]
        assert told is None or isinstance(told, str)
        return told

    assert not any("Degraded" in text or "degraded" in text for text in texts())
    assert by_program() is None
    with sqlite_site.database.writing() as session:
        session.execute(update(Host).values(failing_since=datetime.now(UTC)))
    for text in texts():
        assert "egraded" in text
    assert "does not answer: node1." in texts()[2]
    assert (by_program() or "").endswith("does not answer: node1.")
    assert "egraded" not in sqlite_site.visitor("ben").get("/").text
    with sqlite_site.database.writing() as session:
        session.execute(update(Host).values(failing_since=None))
    assert not any("egraded" in text for text in texts())
    assert by_program() is None


def test_a_request_on_a_drained_host_is_marked_where_it_is_decided(sqlite_site: Site) -> None:
    book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    with sqlite_site.database.writing() as session:
        session.execute(update(Host).where(Host.name == "gw1").values(state="drained"))
    page = sqlite_site.visitor("carla").get("/admin/approvals").text
    assert "It is booked on gw1, which cannot be used." in page
