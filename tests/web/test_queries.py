# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A page needs as many SQL statements for many rows as for few (P16)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import event

from app.db.reservation import Reservation
from tests.factories import book_now, make_host, make_resource
from tests.web.conftest import Site


@contextmanager
def counted(site: Site) -> Iterator[list[str]]:
    """The statements that the web server sends meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement != "BEGIN":
            sent.append(statement)

    event.listen(site.database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(site.database.engine, "before_cursor_execute", note)


def fill(site: Site, rows: int) -> int:
    """`rows` more of everything; the id of a reservation with that many nodes and steps."""
    for index in range(rows):
        make_host(site.database, f"h{rows}-{index}", "compute", "gateway")
    for _ in range(rows):
        book_now(site.database, site.accounts["anna"], node_count=1, memory_mib=384)
    number = book_now(site.database, site.accounts["anna"], node_count=rows, memory_mib=384)
    with site.database.writing() as session:
        session.get_one(Reservation, number).building_at = datetime.now(UTC)
    shared = make_resource(site.database, site.hosts["st1"], None, "image")
    for index in range(rows):
        host = site.hosts["c1"]
        own = make_resource(
            site.database,
            host,
            number,
            "file",
            needs=(shared,),
            args={"size_mib": 1},
            name=f"v{rows}-{index}",
        )
        make_resource(
            site.database, host, number, "tgt", needs=(own,), args={"target": "iqn"}, name=f"v{rows}-{index}"
        )
    return number


# Path -> the most statements it may take.
PAGES = {
    "/": 9,
    "/reservations": 5,
    "/reservations/{}": 14,
    "/reservations/{}/live": 7,
    "/account": 4,
    "/reservations/{}/history": 4,
    "/reservations/{}/cancel": 4,
    "/reservations/{}/end": 11,
    "/reservations/{}/owner": 3,
    "/admin/approvals": 11,
    "/admin/hosts": 4,
    "/admin/maintenance": 5,
    "/usage": 3,
    "/usage.csv?by=reservation": 3,
    "/admin/volumes": 3,
    "/admin/workers": 5,
}


def test_statements_do_not_grow_with_the_rows(site: Site):
    visitor = site.visitor("carla")

    def statements(number: int) -> dict[str, int]:
        counts = {}
        for path in PAGES:
            with counted(site) as sent:
                assert visitor.get(path.format(number)).status_code == 200
            counts[path] = len(sent)
        return counts

    few = statements(fill(site, 2))
    many = statements(fill(site, 12))
    assert few == many
    assert {path: count for path, count in many.items() if count > PAGES[path]} == {}
