# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""From rolls to a FAI configuration space: what goes where, what is executable, and when the name changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from app.db.software import read_rolls
from app.domain.roll import Roll, RollError, resolve
from workers.plan.image import Image, plan_image

ROLLS = read_rolls(Path(__file__).parents[3] / "rolls")


def demo(**over: object) -> Roll:
    values: dict[str, object] = {
        "name": "my-tool",
        "version": "1",
        "summary": "x",
        "arch": ("amd64",),
        "kinds": ("frontend", "compute"),
        "requires": ("base",),
        "offered": True,
        "packages": {"all": ("hello",), "frontend": ("hello-server",)},
        "files": {
            "files/all/etc/tool.conf": "a=1\n",
            "files/frontend/etc/server.conf": "b=2\n",
            "scripts/compute/50-node": "#!/bin/sh\n",
            "space/hooks/instsoft.MY_TOOL": "#!/bin/sh\n",
            "README.rst": "not for the guest\n",
        },
    }
    return Roll(**(values | over))  # type: ignore[arg-type]


def image(kind: str = "frontend", *extra: Roll, **options: object) -> Image:
    return plan_image(kind, [*resolve(ROLLS, [kind, "slurm"]), *extra], **options)  # type: ignore[arg-type]


def test_a_roll_lands_where_fai_looks_for_it() -> None:
    added = set(image("frontend", demo()).files) - set(image("frontend").files)
    assert added == {
        "files/etc/tool.conf/MY_TOOL",
        "files/etc/server.conf/MY_TOOL",
        "hooks/instsoft.MY_TOOL",
        "package_config/MY_TOOL",
    }
    assert image("frontend", demo()).files["package_config/MY_TOOL"] == (
        "PACKAGES install-norec\nhello\nhello-server\n"
    )


def test_a_kind_gets_only_what_is_for_it() -> None:
    added = set(image("compute", demo()).files) - set(image("compute").files)
    assert added == {
        "files/etc/tool.conf/MY_TOOL",
        "scripts/MY_TOOL/50-node",
        "hooks/instsoft.MY_TOOL",
        "package_config/MY_TOOL",
    }


def test_a_roll_for_another_kind_is_left_out() -> None:
    assert image("compute", demo(kinds=("frontend",))) == image("compute")


def test_classes_are_the_rolls_in_order_and_the_clean_up_is_last() -> None:
    assert image("frontend", demo()).classes == ("BASE", "NFS", "FRONTEND", "SLURM", "MY_TOOL", "LAST")
    assert "scripts/LAST/90-clean" in image("frontend").files


def test_scripts_are_executable_and_settings_are_not() -> None:
    planned = image("frontend")
    assert planned.modes["build"] == "0755"
    assert planned.modes["hooks/extrbase.BASE.sh"] == "0755"
    assert "class/BASE.var" not in planned.modes
    scripts = {path for path in planned.files if path.startswith("scripts/")}
    assert scripts <= set(planned.modes), "FAI skips a script that is not executable"


def test_two_rolls_may_not_claim_one_path() -> None:
    with pytest.raises(RollError, match="'my-tool' brings 'build'"):
        image("frontend", demo(files={"space/build": "x"}))


def test_equal_rolls_give_an_equal_name() -> None:
    assert image("frontend").name == image("frontend").name
    assert image("frontend").name.startswith("frontend-")


@pytest.mark.parametrize(
    "options",
    [{"suite": "trixie"}, {"mirror": "http://mirror.example.org/debian"}, {"size_mib": 4096}],
)
def test_what_goes_in_is_in_the_name(options: dict[str, object]) -> None:
    assert image("frontend", **options).name != image("frontend").name


def test_one_changed_line_of_a_roll_changes_the_name() -> None:
    changed = dataclasses.replace(demo(), files={**demo().files, "files/all/etc/tool.conf": "a=2\n"})
    assert image("frontend", demo()).name != image("frontend", changed).name


def test_frontend_and_compute_share_one_base_archive() -> None:
    lines = [
        next(
            line
            for line in image(kind).files["class/BASE.var"].splitlines()
            if line.startswith("BASE_ARCHIVE=")
        )
        for kind in ("frontend", "compute")
    ]
    assert lines[0] == lines[1]


def test_the_base_archive_follows_the_suite() -> None:
    assert (
        image("frontend").files["class/BASE.var"].splitlines()[-1]
        != (image("frontend", suite="trixie").files["class/BASE.var"].splitlines()[-1])
    )


@pytest.mark.parametrize("suite", ["book worm", "../x", "", "Bookworm"])
def test_a_suite_is_a_plain_word(suite: str) -> None:
    with pytest.raises(RollError, match="not the name of a Debian suite"):
        image("frontend", suite=suite)


@pytest.mark.parametrize(
    "mirror", ["ftp://x/debian", "http://x/de bian", "http://x/$(reboot)", "file:///etc", "x"]
)
def test_a_mirror_is_a_plain_http_address(mirror: str) -> None:
    with pytest.raises(RollError, match="not an http address"):
        image("frontend", mirror=mirror)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RollError, match="no kind of guest 'printer'"):
        plan_image("printer", [])


def test_an_image_under_construction_is_mounted_by_uuid() -> None:
    """A label is the same in every build: the wrong one of two builds would be mounted."""
    assert "fstabkey:uuid" in image("frontend").files["disk_config/BASE"]
