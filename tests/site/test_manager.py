# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The manager is lost with its database: clusters go on without it, and another one carries on from a copy."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

import lab as labs
from app.db import site as sites
from app.db.base import Database
from app.settings import Storage, load
from lab.run import run
from lab.site import LEASEHOLD, Site
from tests.site.life import (
    ENDED_WITHIN_S,
    READY_WITHIN_S,
    Life,
    assert_each_step_was_done_once,
    event_kinds,
)
from workers.engine.watch import EX_TEMPFAIL
from workers.plan.naming import Names

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

# An address of the cluster's private network that no node has.
PASSER_BY = "10.20.255.250/16"


def test_clusters_outlive_their_manager_and_another_one_carries_on(
    new_life: Callable[..., Life], tmp_path: Path
) -> None:
    life = new_life(passes={"look_s": 2})
    booked = life.book()
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
    stands, told = life.snapshot(), len(life.events(booked))
    address = life.reservation(booked).public_address
    second = copied(life, tmp_path / "second")
    (tmp_path / "lost").mkdir()
    there = database_file(life)
    life.database.close()
    for file in there.parent.glob(f"{there.name}*"):
        file.rename(tmp_path / "lost" / file.name)
    there.mkdir()  # where no database can be opened, nor made
    try:
        assert one_pass(life.site) == EX_TEMPFAIL, "cron's next start tries again"
        assert life.snapshot() == stands
        assert_it_answers_and_has_its_disks(life, booked, str(address))
    finally:
        there.rmdir()
    since = datetime.now(UTC)
    with second.passes():
        second.until(lambda: all_were_looked_at(second, booked, since), "hosts are not looked at", booked)
        assert second.snapshot() == stands
        assert len(second.events(booked)) == told, "there was nothing to mend"
        assert second.reservation(booked).state == "ready"
        assert_it_answers_and_has_its_disks(second, booked, str(address))
        second.cancel(booked)
        second.wait(booked, "ended", ENDED_WITHIN_S)
    second.assert_nothing_is_left(booked)
    assert_each_step_was_done_once(second, booked)
    assert event_kinds(second, booked)[-2:] == ["ending", "ended"]
    second.database.close()


def copied(life: Life, folder: Path) -> Life:
    """Another manager: settings, keys and a backup of the database of the first one, in another place."""
    folder.mkdir()
    settings, text = load(str(life.site.config)), life.site.config.read_text()
    first = Path(settings.site_key_file).parent
    shutil.copytree(first / "ssh", folder / "ssh")
    for key in (settings.site_key_file, settings.web.secret_key_file):
        shutil.copy2(key, folder)
    url = f"sqlite:///{folder}/leasehold.sqlite"
    with closing(sqlite3.connect(database_file(life))) as old, closing(sqlite3.connect(url[10:])) as new:
        old.backup(new)
    site = Site(folder, life.site.passwords)
    site.config.write_text(text.replace(settings.database, url).replace(str(first), str(folder)))
    return replace(life, site=site, database=Database(url))


def database_file(life: Life) -> Path:
    """Where the manager's database is."""
    return Path(str(make_url(load(str(life.site.config)).database).database))


def one_pass(site: Site) -> int:
    """How the storage pass ends."""
    argv = [str(LEASEHOLD), "pass", "storage", "--once"]
    done = subprocess.run(argv, env=site.environment, capture_output=True, text=True, timeout=120)
    assert "the database cannot be used" in done.stderr
    return done.returncode


def all_were_looked_at(life: Life, booked: int, since: datetime) -> bool:
    """Whether a pass has heard from every host on which something stands."""
    used = {row.host_id for row in life.rows(booked)}
    with life.database.reading() as session:
        return all((host.last_seen_at or since) > since for host in sites.hosts(session) if host.id in used)


def assert_it_answers_and_has_its_disks(life: Life, booked: int, address: str) -> None:
    """The frontend answers from outside, all nodes on the private network, and each guest is logged in to its disks."""
    run(["ping", "-c", "1", "-W", "10", address])
    gateway, bridge = life.lab.host("gw1"), Names("lh", booked, Storage().iqn_base).bridge
    labs.on(life.lab, gateway, ["ip", "address", "add", PASSER_BY, "dev", bridge])
    try:
        for node in ("10.20.0.1", "10.20.1.1"):
            labs.on(life.lab, gateway, ["ping", "-c", "1", "-W", "10", node])
    finally:
        labs.on(life.lab, gateway, ["ip", "address", "del", PASSER_BY, "dev", bridge])
    st1 = life.lab.host("st1")
    shown = labs.on(life.lab, st1, ["tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show"]).stdout
    assert len(re.findall("IP Address: ", shown)) == 3, (
        "logins to both disks of the frontend and one of the node"
    )
    for host in life.lab.hosts:
        for guest in life.snapshot()[host.name].get("domains", {}):
            told = labs.on(life.lab, host, ["virsh", "-q", "domblkerror", guest]).stdout
            assert "No errors found" in told, told
