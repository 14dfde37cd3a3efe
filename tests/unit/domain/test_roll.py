# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Rolls: what a folder may say, and how a wish list becomes an order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.db.software import offered_of, read_rolls
from app.domain.roll import Roll, RollError, offered, parse, resolve
from app.settings import Settings

ROLLS = Path(__file__).parents[3] / "rolls"
TOML = """
name = "demo"
version = "1"
summary = "An example"
arch = ["amd64"]
kinds = ["frontend"]
requires = ["base"]
offered = true

[packages]
frontend = ["hello"]
"""


def roll(name: str, *requires: str, **over: object) -> Roll:
    values: dict[str, object] = {
        "name": name,
        "version": "1",
        "summary": name,
        "arch": ("amd64",),
        "kinds": ("frontend", "compute"),
        "requires": requires,
        "offered": True,
        "packages": {},
        "files": {},
    }
    return Roll(**(values | over))  # type: ignore[arg-type]


def by_name(*rolls: Roll) -> dict[str, Roll]:
    return {entry.name: entry for entry in rolls}


def names(rolls: tuple[Roll, ...]) -> list[str]:
    return [entry.name for entry in rolls]


def test_a_roll_is_read_as_written() -> None:
    parsed = parse("demo", TOML, {"scripts/all/50-x": "#!/bin/sh\n"})
    assert parsed == Roll(
        "demo",
        "1",
        "An example",
        ("amd64",),
        ("frontend",),
        ("base",),
        True,
        {"frontend": ("hello",)},
        {"scripts/all/50-x": "#!/bin/sh\n"},
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "demo"', 'name = "other"', "must be the folder's name 'demo'"),
        ('version = "1"', "version = 1", "version must be a text"),
        ('requires = ["base"]', "", "lacks the key 'requires'"),
        ('requires = ["base"]', 'requires = "base"', "requires must be a list of texts"),
        ('kinds = ["frontend"]', 'kinds = ["printer"]', "kinds must name some of frontend, compute"),
        ("offered = true", 'offered = "yes"', "offered must be true or false"),
        ("offered = true", 'offered = true\nurl = "x"', "unknown key 'url'"),
        ("offered = true", "offered = true\nappliance = 1", "appliance must be true or false"),
        ("offered = true", "offered = true\nappliance = true", "an appliance has kinds"),
        ("offered = true", 'offered = true\ndevices = "emulated"', "an appliance may have devices"),
        ('["hello"]', '["hello; reboot"]', "not a Debian package name"),
        ('["hello"]', '["-o", "x"]', "not a Debian package name"),
        ('frontend = ["hello"]', 'printer = ["hello"]', "packages is a table with the keys"),
        ('name = "demo"', "name = ", "is not TOML"),
    ],
)
def test_a_wrong_roll_is_refused_with_place_and_reason(old: str, new: str, says: str) -> None:
    assert old in TOML
    with pytest.raises(RollError, match=r"rolls/demo/roll\.toml") as caught:
        parse("demo", TOML.replace(old, new), {})
    assert says in str(caught.value)


def test_a_roll_comes_after_what_it_needs() -> None:
    rolls = by_name(roll("a", "b"), roll("b", "c"), roll("c"), roll("unasked"))
    assert names(resolve(rolls, ["a"])) == ["c", "b", "a"]


def test_the_order_of_wishes_does_not_matter() -> None:
    rolls = by_name(roll("a"), roll("b", "c"), roll("c"))
    assert resolve(rolls, ["a", "b"]) == resolve(rolls, ["b", "a", "b"])


def test_a_circle_is_named() -> None:
    rolls = by_name(roll("a", "b"), roll("b", "c"), roll("c", "b"))
    with pytest.raises(RollError, match="b -> c -> b"):
        resolve(rolls, ["a"])


def test_a_roll_that_needs_itself_is_a_circle() -> None:
    with pytest.raises(RollError, match="a -> a"):
        resolve(by_name(roll("a", "a")), ["a"])


def test_a_missing_roll_is_named_with_who_needs_it() -> None:
    with pytest.raises(RollError, match="no roll 'b', needed by 'a'; there are a"):
        resolve(by_name(roll("a", "b")), ["a"])


def test_an_unknown_wish_is_named() -> None:
    with pytest.raises(RollError, match="no roll 'nope'; there are a"):
        resolve(by_name(roll("a")), ["nope"])


def test_the_shipped_rolls_resolve_and_offer_nfs_and_slurm() -> None:
    rolls = read_rolls(ROLLS)
    assert offered(rolls).roll_names == ["nfs", "slurm"]
    assert offered(rolls).appliance_names == ["compute", "devel"]
    assert names(resolve(rolls, ["devel"])) == ["base", "nfs", "compute", "devel"]
    assert names(resolve(rolls, ["frontend", "slurm"])) == ["base", "nfs", "frontend", "slurm"]
    assert names(resolve(rolls, ["compute"])) == ["base", "nfs", "compute"]


def test_what_is_offered_follows_the_folder(tmp_path: Path) -> None:
    settings = Settings(rolls_dir=str(tmp_path))
    with pytest.raises(RollError, match="no rolls in"):
        offered_of(settings)
    file = tmp_path / "nfs" / "roll.toml"
    file.parent.mkdir()
    text = (ROLLS / "nfs" / "roll.toml").read_text()
    file.write_text(text)
    assert offered_of(settings).roll_names == ["nfs"]
    file.write_text(text.replace("offered = true", "offered = false"))
    os.utime(file, ns=(1, 1))
    assert offered_of(settings).roll_names == []


def test_a_folder_without_rolls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RollError, match="no rolls in"):
        read_rolls(tmp_path)


def test_a_roll_holds_no_symbolic_links(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    (folder / "scripts").mkdir(parents=True)
    (folder / "roll.toml").write_text(TOML)
    (folder / "scripts" / "x").symlink_to("/etc/shadow")
    with pytest.raises(RollError, match="symbolic link"):
        read_rolls(tmp_path)
