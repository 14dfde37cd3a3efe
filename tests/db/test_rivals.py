# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Thirty-two at once fight for the last places, for thousands of tries: never more is lent than there is."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.booking import decide
from app.db.account import Account
from app.db.base import Database
from app.db.ledger import NODE, SITE, Allocation
from app.db.reservation import Reservation
from app.db.site import hosts
from app.domain.capacity import Taken, peaks
from app.domain.errors import Conflict, NoRoom
from app.domain.slot import Slot
from app.settings import Network, Settings
from tests.factories import NOW, book, make_account, make_host

HOUR = timedelta(hours=1)
RIVALS = 32
LASTS_S = 12.0
# Few enough addresses that these, too, are fought for.
SETTINGS = Settings(network=Network(public_first="198.19.0.100", public_last="198.19.0.105"))


class Rival:
    """One who books, and calls off about every third, until the time is up."""

    def __init__(self, database: Database, account: Account, number: int) -> None:
        self.database, self.account, self.number = database, account, number
        self.chance = random.Random(number)
        self.won: list[int] = []
        self.tries = self.given_back = 0
        self.answers: Counter[str] = Counter()

    def run(self, until: float) -> None:
        while time.monotonic() < until:
            self.tries += 1
            start = NOW + self.chance.randrange(6) * HOUR
            wish = {"start": start, "end": start + self.chance.randrange(1, 4) * HOUR}
            try:
                booked = book(
                    self.database,
                    self.account,
                    settings=SETTINGS,
                    name=f"r{self.number}-{self.tries}",
                    node_count=self.chance.randrange(1, 4),
                    memory_mib=self.chance.choice([1024, 4096]),
                    **wish,
                )
            except NoRoom as why:
                self.answers["no room, and why" if why.reasons and all(why.reasons) else "no reason"] += 1
                continue
            self.won.append(booked)
            if self.chance.random() < 0.35:
                self._call_off(booked)

    def _call_off(self, booked: int) -> None:
        try:
            decide.reject(self.database, self.provider, booked, 1, "called off", now=NOW)
        except Conflict:
            self.answers["conflict"] += 1
        else:
            self.given_back += 1

    provider: Account


@pytest.mark.slow
def test_thirty_two_at_once_never_get_more_than_there_is(database: Database) -> None:
    make_host(database, "gw1", "gateway")
    for number in range(3):
        make_host(database, f"c{number}", "compute", vcpus=6)
    make_host(database, "st1", "storage", disk_mib=100 * 1024)
    Rival.provider = make_account(database, "carol", "cluster_provider")
    account = make_account(database)
    rivals = [Rival(database, account, number) for number in range(RIVALS)]
    until = time.monotonic() + LASTS_S
    with ThreadPoolExecutor(RIVALS) as pool:
        for done in [pool.submit(rival.run, until) for rival in rivals]:
            done.result(timeout=90)

    answers = sum((rival.answers for rival in rivals), Counter[str]())
    won = [booked for rival in rivals for booked in rival.won]
    assert set(answers) == {"no room, and why"}
    assert all(rival.tries for rival in rivals)
    assert len(won) == len(set(won))
    with database.reading() as session:
        assert sorted(session.scalars(select(Reservation.id))) == sorted(won)
        held = session.scalar(select(func.count()).where(Reservation.state == "requested"))
        assert held == len(won) - sum(rival.given_back for rival in rivals)
        a = Allocation
        rows = session.execute(
            select(a.host_id, a.resource, a.amount, a.start_at, a.end_at).where(a.released_at.is_(None))
        ).all()
        have: dict[tuple[int | str, str], int] = {(host.id, "vcpu"): host.vcpus for host in hosts(session)}
        have |= {(host.id, "memory_mib"): host.memory_mib for host in hosts(session)}
        have |= {(host.id, "disk_mib"): host.disk_mib for host in hosts(session)}
    taken = [
        Taken(SITE if host is None else host, resource, n, start, end)
        for host, resource, n, start, end in rows
    ]
    most = peaks(taken, Slot(NOW, NOW + 24 * HOUR))
    counted = {
        key: level for key, level in most.items() if key != (SITE, NODE)
    }  # nodes are told, not bounded
    assert {key: level for key, level in counted.items() if level > have.get(key, 6)} == {}
    # They did fight: something was filled to the last.
    assert most[SITE, "public_address"] == 6
