# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is said to fit is what can be booked, slot by slot, on any small site; and what is offered instead fits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from app.booking import project, series
from app.booking import request as booking
from app.booking.outlook import Outlook, outlook
from app.db import series as db
from app.db.account import Account
from app.db.base import Database
from app.db.reservation import Reservation
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.refusal import Alternative
from app.domain.roll import Seats
from app.domain.slot import Slot
from app.settings import Booking, Network, Settings
from tests.factories import NOW, ROLLS, SHAPE_KEYS, book, group, make_account, make_host, wish

HOUR = timedelta(hours=1)
START = NOW + HOUR
SLOTS = st.tuples(st.integers(0, 60), st.integers(1, 30))


@contextmanager
def small_site(template: Path, vcpus: list[int], disk_gib: int) -> Iterator[Database]:
    """A gateway, a storage host with so many GiB, and compute hosts with so many vCPUs."""
    with tempfile.TemporaryDirectory(prefix="leasehold-outlook-") as folder:
        shutil.copy(template, f"{folder}/site.db")
        database = Database(f"sqlite:///{folder}/site.db")
        make_host(database, "gw1", "gateway")
        make_host(database, "st1", "storage", disk_mib=disk_gib * 1024)
        for number, each in enumerate(vcpus):
            make_host(database, f"c{number}", "compute", vcpus=each)
        yield database
        database.close()


@st.composite
def sites(draw: st.DrawFn) -> Settings:
    """Up to three addresses, few licence seats, and a gap that may be longer than the time between two slots."""
    gap_s = draw(st.sampled_from([0, 14 * 3600, 30 * 3600]))
    seats = draw(st.none() | st.integers(1, 5).map(lambda number: Seats("slurm", number)))
    addresses = draw(st.integers(100, 102))
    return Settings(
        booking=Booking(gap_s=gap_s, seats=(seats,) if seats else ()),
        network=Network(public_first="198.19.0.100", public_last=f"198.19.0.{addresses}"),
    )


CEILINGS: st.SearchStrategy[dict[str, int]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"nodes": st.integers(0, 8)}),
    st.fixed_dictionaries({"node_hours": st.integers(0, 200)}),
    st.fixed_dictionaries({"length_hours": st.integers(1, 24), "reservations": st.integers(0, 5)}),
)


@st.composite
def wishes(draw: st.DrawFn) -> dict[str, Any]:
    """A cluster of one or two groups for up to a day, from an hour from now."""
    groups = []
    for name in ("node", "big")[: draw(st.integers(1, 2))]:
        most = draw(st.integers(1, 4))
        least = draw(st.none() | st.integers(1, most))
        policy = draw(st.sampled_from(["spread", "pack"]))
        groups.append(
            group(name=name, node_count=most, least=least, vcpus=draw(st.integers(1, 2)), policy=policy)
        )
    return wish(
        name="class",
        start=START,
        end=START + draw(st.integers(1, 23)) * HOUR,
        rolls=draw(st.sampled_from([[], ["slurm"]])),
        **dict.fromkeys(SHAPE_KEYS) | {"groups": groups},
    )


@st.composite
def repeats(draw: st.DrawFn) -> dict[str, Any]:
    """Two to four times, every day or every other day."""
    return {
        "every": draw(st.integers(1, 2)),
        "times": draw(st.integers(2, 4)),
        "conflicts": draw(st.sampled_from(["all", "skip"])),
        "zone": "UTC",
    }


@given(
    settings=sites(),
    vcpus=st.lists(st.integers(2, 5), min_size=1, max_size=3),
    disk_gib=st.integers(20, 80),
    ceilings=CEILINGS,
    booked=st.lists(SLOTS, max_size=3),
    raw=wishes(),
    again=st.one_of(repeats(), repeats(), st.none()),
)
def test_the_check_and_the_booking_agree_and_what_is_offered_instead_fits(
    migrated_sqlite: Path,
    settings: Settings,
    vcpus: list[int],
    disk_gib: int,
    ceilings: dict[str, int],
    booked: list[tuple[int, int]],
    raw: dict[str, Any],
    again: dict[str, Any] | None,
) -> None:
    with small_site(migrated_sqlite, vcpus, disk_gib) as database:
        alice, bob = make_account(database), make_account(database, "bob")
        for number, (start, length) in enumerate(booked):
            try:
                times = {"start": START + start * HOUR, "end": START + (start + length) * HOUR}
                book(database, bob, name=f"other-{number}", settings=settings, node_count=1, **times)
            except NoRoom:
                pass
        project.set_ceilings(database, "alice", ceilings, by="test", now=NOW)
        said = outlook(database, settings, alice, raw, again, rolls=ROLLS, now=NOW)
        made, instead = attempt(database, settings, alice, raw, again)
        event(f"{'one' if again is None else again['conflicts']}: {'fits' if said.fits else 'does not'}")
        assert (made is not None) == said.fits
        if made is not None:
            assert made == granted(said)
        for one in instead:
            event(f"{'one' if again is None else 'series'}: {one.kind}")
            assert attempt(database, settings, alice, *taken(raw, again, one))[0] is not None
            with database.writing(ledger=True) as session:
                for row in session.query(Reservation).where(Reservation.owner_id == alice.id):
                    session.delete(row)


def granted(said: Outlook) -> list[tuple[Slot, tuple[int, ...]]]:
    return [(slot, tuple(group.most for group in shape.groups)) for slot, shape in said.granted]


def attempt(
    database: Database,
    settings: Settings,
    account: Account,
    raw: dict[str, Any],
    again: dict[str, Any] | None,
) -> tuple[list[tuple[Slot, tuple[int, ...]]] | None, tuple[Alternative, ...]]:
    """The slots that could be booked with the nodes of each group, None where it is refused; and what is offered
    instead."""
    try:
        if again is None:
            number = booking.request(database, settings, account, raw, rolls=ROLLS, now=NOW)
        else:
            number = series.book(database, settings, account, raw, again, rolls=ROLLS, now=NOW)
    except InvalidRequest:
        return None, ()
    except NoRoom as why:
        return None, why.alternatives
    with database.reading() as session:
        if again is None:
            rows = [session.get_one(Reservation, number)]
        else:
            found = db.get(session, account, number)
            assert found is not None
            rows = [session.get_one(Reservation, one.id) for one in found[1]]
        return [
            (
                Slot(row.start_at, row.end_at),
                tuple(sum(node.group_id == group.id for node in row.nodes) for group in row.groups),
            )
            for row in rows
        ], ()


def taken(
    raw: dict[str, Any], again: dict[str, Any] | None, one: Alternative
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What is asked for when the alternative is taken."""
    counts = [{"node_count": group.most, "least": group.least} for group in one.shape.groups]
    groups = [asked | count for asked, count in zip(raw["groups"], counts, strict=True)]
    if again is not None and one.kind == "fewer":
        again = again | {"conflicts": "skip"}
    return raw | {"start": one.slot.start, "end": one.slot.end, "groups": groups}, again
