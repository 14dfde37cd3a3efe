# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Any host can have any roles: one with all of them carries a whole cluster by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lab as labs
from app.db.site import HOST_ROLES
from lab.site import leasehold
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life, assert_each_step_was_done_once, of_clusters

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

NAME = "gw1"


def test_one_host_with_every_role_carries_a_whole_cluster(
    new_life: Callable[..., Life], tiny_images: dict[str, Path]
) -> None:
    life = new_life()
    before = of_clusters(life.before)
    others = [host.name for host in life.lab.hosts if host.name != NAME]
    with every_role(life, tiny_images):
        for name in others:
            leasehold(life.site, "host", "drain", name)
        booked = life.book()
        with life.passes():
            life.wait(booked, "ready", READY_WITHIN_S)
            seen = life.snapshot()
            assert seen[NAME]["domains"] == {
                f"lh{booked}-frontend": "running",
                f"lh{booked}-node1": "running",
            }
            assert len(seen[NAME]["files"]["volumes"]) == 3
            assert {name: seen[name] for name in others} == {name: before[name] for name in others}
            life.cancel(booked)
            life.wait(booked, "ended", ENDED_WITHIN_S)
        life.assert_nothing_is_left(booked)
        assert_each_step_was_done_once(life, booked)


@contextmanager
def every_role(life: Life, images: dict[str, Path]) -> Iterator[None]:
    """The gateway host exports volumes, too, and is used for everything."""
    host = life.lab.host(NAME)
    portal = f"portal={life.lab.address(host)}:3260"
    folder = life.lab.folder(host) / "leasehold" / "images"
    folder.mkdir(exist_ok=True)
    for name, disk in images.items():
        shutil.copy(disk, folder / f"{name}.raw")
    labs.on(
        life.lab,
        host,
        ["sh", "-c", f"setsid tgtd -f --iscsi {portal} < /dev/null > /var/log/tgtd.log 2>&1 &"],
    )
    try:
        add(life, *HOST_ROLES)
        yield
    finally:
        shutil.rmtree(folder)
        labs.on(life.lab, host, ["pkill", "tgtd"])
        add(life, *host.roles)


def add(life: Life, *roles: str) -> None:
    """Give the host these roles, as an operator does."""
    words = [word for role in roles for word in ("--role", role)]
    key = str(life.lab.operator_key)
    address = life.lab.address(life.lab.host(NAME))
    leasehold(life.site, "host", "add", NAME, address, *words, "--identity", key, timeout_s=400)
