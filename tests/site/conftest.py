# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of this test run: one for all tests, taken down at the end and, after a crash, at the next start.

Over it one Leasehold site made by the real commands, and for each test its own copy with a database of its own.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

import lab as labs
from app.db.account import Account
from app.db.base import Database
from app.db.project import Project
from app.db.site import Host, HostRole
from app.db.software import read_rolls
from app.domain.roll import resolve
from lab import lifecycle, plan, tiny
from lab import site as sites
from lab.plan import IMAGE_CACHE
from lab.site import Site
from tests.site import life
from tests.site.door import sshd  # noqa: F401 - fixture of the SSH door's tests
from tests.site.life import Life
from tests.site.scratch_host import clean, host  # noqa: F401 - fixtures of the operations
from workers.plan.image import plan_image

TINY_ROLLS = Path(__file__).parents[1] / "data" / "rolls-tiny"
# The tiny guests' site: short waits, so that a test spends its time on what it is about.
TINY_SETTINGS: dict[str, dict[str, Any]] = {
    "": {"rolls_dir": str(TINY_ROLLS)},
    "booking": {"lead_s": 0, "frontend_memory_mib": 384, "frontend_disk_gib": 3},
    "passes": {
        "lease_s": 20,
        "deadline_s": 15,
        "poll_s": 0.5,
        "backoff_first_s": 0.5,
        "suspect_first_s": 0.5,
        "suspect_most_s": 3,
        # What is called in a test depends on the test alone; tests/simulator and tests/machines look at hosts.
        "look_s": 0,
    },
}


def tiny_settings(lab: plan.Lab) -> dict[str, dict[str, Any]]:
    """The settings of the lab's own site."""
    # Nothing is fetched from there. An image's name depends on it: labs share the builder's cache.
    return TINY_SETTINGS | {"image": {"suite": "tiny", "mirror": f"http://{lab.mark}.invalid"}}


@pytest.fixture(scope="session")
def lab() -> Iterator[plan.Lab]:
    """The test lab with all its hosts answering, one for each process of the run: LEASEHOLD_TEST_LAB names others.

    It is shared: a test leaves the hosts as it found them.
    """
    names = os.environ.get("LEASEHOLD_TEST_LAB", "test,test2").split(",")
    # pytest-xdist counts its processes gw0, gw1, ...
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    the_lab = plan.lab(names[number % len(names)])
    with socket.socket(socket.AF_UNIX) as turn:
        try:
            turn.bind(f"\0{the_lab.mark}-tests")  # goes with this process, however it ends
        except OSError:
            pytest.fail(
                f"another test run is using lab {the_lab.name}; set LEASEHOLD_TEST_LAB=dev3,dev4, say"
            )
        lifecycle.up(the_lab.name, fresh=True)
        try:
            yield the_lab
        finally:
            lifecycle.down(the_lab.name)


@pytest.fixture(scope="session")
def tiny_images(lab: plan.Lab) -> Iterator[dict[str, Path]]:
    """The tiny guests' disks under the names that the planner gives their images; they lie in the cache."""
    rolls, disks = read_rolls(TINY_ROLLS), {}
    for made_of in tiny.KINDS:
        kind = "frontend" if made_of == "frontend" else "compute"
        wanted = resolve(rolls, {"base", kind, made_of, *life.ROLLS})
        image = plan_image(kind, wanted, **tiny_settings(lab)["image"])
        disks[image.name] = tiny.image(made_of)
    life.tiny_images(disks, IMAGE_CACHE)
    yield disks
    for name in disks:
        (IMAGE_CACHE / f"{name}.raw").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def lab_site(lab: plan.Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site made by the real commands over the lab, its hosts added as an operator does: the model of all others."""
    folder = tmp_path_factory.mktemp("site")
    described = json.loads((lab.state / "lab.json").read_text())
    made = sites.make(folder, described, settings=tiny_settings(lab))
    sites.add_hosts(made, described)
    return made


@pytest.fixture
def new_life(
    lab: plan.Lab, lab_site: Site, database_url: str, tmp_path: Path, tiny_images: dict[str, Path]
) -> Iterator[Callable[..., Life]]:
    """``new_life(section={"key": value})`` makes the test's site with these settings beside those of the lab's own.

    It has the projects, accounts, hosts and keys of `lab_site`. Hosts that a failed test left dirty are swept.
    """
    before = labs.snapshot(lab.name)
    database = Database(database_url)

    def make(**settings: dict[str, Any]) -> Life:
        described = json.loads((lab.state / "lab.json").read_text())
        ours = tiny_settings(lab)
        more = {name: ours.get(name, {}) | settings.get(name, {}) for name in {*ours, *settings}}
        text = sites.configuration(lab_site.folder, described, database_url, more)
        site = Site(tmp_path, lab_site.passwords)
        site.config.write_text(text)
        pattern = Database(f"sqlite:///{lab_site.folder}/leasehold.sqlite")
        with pattern.reading() as old, database.writing() as new:
            for model in (Project, Account, Host, HostRole):
                rows = old.execute(select(model.__table__)).mappings()
                new.execute(insert(model), [dict(row) for row in rows])
        pattern.close()
        return Life(lab, site, database, before, life.starts(lab))

    yield make
    database.close()
    if life.of_clusters(labs.snapshot(lab.name)) != life.of_clusters(before):
        life.sweep(lab)
    life.tiny_images(tiny_images, IMAGE_CACHE)
