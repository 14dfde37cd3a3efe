# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a host is told where it can be mended, holds up nothing else, and heals once it is mended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lab as labs
from lab.plan import HOST_DIR, IMAGE_CACHE
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

NewLife = Callable[..., Life]
HELPER = str(HOST_DIR / "helper.pyz")
RUBBISH = '#!/usr/bin/python3\nprint(\'{"hello": "leasehold", \' * 3)\n'


@contextmanager
def at_work(life: Life, booked: int) -> Iterator[None]:
    """The passes are at work, and what they have to do is laid out."""
    with life.passes():
        life.wait(booked, "building", 60)
        yield


def end(life: Life, booked: int) -> None:
    """Call it off and see it gone."""
    life.cancel(booked)
    life.wait(booked, "ended", ENDED_WITHIN_S)


def test_host_that_is_down_holds_up_only_its_own(new_life: NewLife) -> None:
    life = new_life()
    booked = life.book(computes=2)
    labs.cut(life.lab.name, "c2")
    try:
        with at_work(life, booked):
            life.until(
                lambda: life.row(booked, "domain", "c1").have in ("pending", "present"),
                "the other node was not started",
                booked,
                READY_WITHIN_S,
            )
            link = life.row(booked, "vxlan", "c2")
            assert (link.have, link.error_code) in (
                ("unknown", "host_unreachable"),
                ("unknown", "timeout"),
            ), life.tell(booked)
            assert "c2" in str(link.why)
            assert "c2" in str(life.host("c2").last_error)
            assert life.row(booked, "domain", "c2").have == "absent", "its link is not there"
            labs.join(life.lab.name, "c2")
            life.wait(booked, "ready", READY_WITHIN_S)
            assert life.host("c2").last_error is None
            end(life, booked)
    finally:
        labs.join(life.lab.name, "c2")
    kinds = [e.kind for e in life.events() if e.host_id == life.host("c2").id and e.resource_id is None]
    assert kinds[0] == "host_failed"
    assert kinds[-1] == "host_back"
    life.assert_nothing_is_left(booked)


def test_host_with_another_key_is_refused_and_untouched(new_life: NewLife) -> None:
    life = new_life()
    booked = life.book()
    labs.change_host_key(life.lab.name, "gw1")
    changed = True
    try:
        with at_work(life, booked):
            life.until(lambda: bool(life.host("gw1").last_error), "no word of the key", booked)
            life.until(
                lambda: life.row(booked, "tgt", "st1").have == "present", "the others did not go on", booked
            )
            assert re.search(r"SHA256:\S+.*SHA256:\S+", str(life.host("gw1").last_error)), "both fingerprints"
            (told,) = [e for e in life.events() if e.kind == "host_failed"]
            assert told.host_id == life.host("gw1").id
            # Another row of the host may have been the first to find out, and have kept this one away for a while.
            life.until(
                lambda: life.row(booked, "vxlan", "gw1").error_code == "host_key_changed",
                "the row has no word of the key",
                booked,
            )
            assert life.snapshot()["gw1"] == life.before["gw1"]
            labs.change_host_key(life.lab.name, "gw1")
            changed = False
            life.until(
                lambda: life.row(booked, "vxlan", "gw1").have == "present", "not taken up again", booked
            )
            end(life, booked)
    finally:
        if changed:
            labs.change_host_key(life.lab.name, "gw1")
    life.assert_nothing_is_left(booked)


def test_full_disk_is_told_with_numbers_and_work_goes_on_once_there_is_room(new_life: NewLife) -> None:
    life = new_life()
    booked = life.book()
    labs.fill(life.lab.name, "st1", 4)
    full = True
    try:
        with at_work(life, booked):
            life.until(
                lambda: life.row(booked, "file", "st1").error_code == "no_space", "no word of space", booked
            )
            assert re.search(r"\d+ MiB free.* needs \d+ MiB", str(life.row(booked, "file", "st1").why))
            assert life.reservation(booked).state == "building"
            labs.unfill(life.lab.name, "st1")
            full = False
            life.until(
                lambda: all(row.have == "present" for row in life.rows(booked) if row.pass_name == "storage"),
                "no volumes though there is room",
                booked,
            )
            end(life, booked)
    finally:
        if full:
            labs.unfill(life.lab.name, "st1")
    life.assert_nothing_is_left(booked)


@contextmanager
def broken_helper(life: Life, host: str) -> Iterator[Callable[[], None]]:
    """The helper of the host is a program that prints rubbish, until the function given is called."""
    there = life.lab.host(host)
    labs.on(life.lab, there, ["mv", HELPER, f"{HELPER}.good"])
    labs.on(life.lab, there, ["tee", HELPER], text=RUBBISH)

    def mend() -> None:
        labs.on(life.lab, there, ["mv", f"{HELPER}.good", HELPER], check=False)

    try:
        yield mend
    finally:
        mend()


def test_host_that_talks_rubbish_is_told_and_tried_again(new_life: NewLife) -> None:
    life = new_life()
    booked = life.book()
    with broken_helper(life, "gw1") as mend, at_work(life, booked):
        life.until(lambda: life.row(booked, "vxlan", "gw1").failures >= 2, "not tried again", booked)
        link = life.row(booked, "vxlan", "gw1")
        assert (link.have, link.error_code) == ("unknown", "bad_reply")
        assert "gw1" in str(link.why)
        assert life.snapshot()["gw1"]["links"] == life.before["gw1"]["links"]
        mend()
        life.until(
            lambda: life.row(booked, "vxlan", "gw1").have == "present",
            "not made though mended",
            booked,
        )
        end(life, booked)
    life.assert_nothing_is_left(booked)


def test_image_that_fails_to_build_is_told_and_tried_again(new_life: NewLife) -> None:
    late = IMAGE_CACHE.parent / "late"
    late.unlink(missing_ok=True)
    life = new_life(image={"suite": "late"})
    booked = life.book()
    images: list[str] = []
    try:
        with at_work(life, booked):
            life.until(lambda: life.row(booked, "image", "st1").failures >= 2, "not tried again", booked, 90)
            row = life.row(booked, "image", "st1")
            images = [row.name for row in life.rows(booked) if row.op == "image"]
            assert row.error_code == "image_failed"
            assert "cannot stat '/var/cache/leasehold/late/" in str(row.why), "the end of the build's log"
            assert row.retry_at is not None
            assert life.row(booked, "file", "st1").have == "absent", "no volume without its image"
            late.symlink_to("tiny")
            life.until(
                lambda: all(row.have == "present" for row in life.rows(booked) if row.op == "image"),
                "not built though it could be",
                booked,
                90,
            )
            end(life, booked)
    finally:
        late.unlink(missing_ok=True)
        for name in images:
            Path(IMAGE_CACHE, f"{name}.raw").unlink(missing_ok=True)
    life.assert_nothing_is_left(booked)
