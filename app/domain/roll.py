# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A roll: packages, files and scripts for one purpose, what it needs, and how a wish list becomes an order.

The form of a roll's folder is told in `rolls/README.rst`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from app.domain.errors import SiteError
from app.domain.shape import COMPUTE

KINDS = ("frontend", "compute")
# What a machine is made of: paravirtual devices, or those of real machines, which any system brings drivers for.
DEVICES = ("virtio", "emulated")
_NEEDED = {"name", "version", "summary", "arch", "kinds", "requires", "offered"}
_KEYS = _NEEDED | {"packages", "appliance", "devices"}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class RollError(SiteError):
    """A roll is wrong, missing, or needs itself; the operator mends the rolls' folder."""


@dataclass(frozen=True)
class Seats:
    """How many licence seats the site has for a roll, and what takes one: each compute `node`, or each `cluster`."""

    roll: str
    number: int
    per: str = "node"

    def taken_by(self, nodes: int) -> int:
        """How many a cluster with this many compute nodes takes."""
        return nodes if self.per == "node" else 1


@dataclass(frozen=True)
class Roll:
    """One roll as read from its folder; `packages` by kind, or `all`, or `base` (the archive all images share).

    An `appliance` is what the compute nodes of a group are made of; it comes with the groups that name it, and may
    want other `devices` than virtio.
    """

    name: str
    version: str
    summary: str
    arch: tuple[str, ...]
    kinds: tuple[str, ...]
    requires: tuple[str, ...]
    offered: bool
    packages: Mapping[str, tuple[str, ...]]
    files: Mapping[str, str]
    appliance: bool = False
    devices: str = DEVICES[0]


@dataclass(frozen=True)
class Software:
    """What a site offers: rolls for a whole cluster, and appliances for the nodes of a group."""

    rolls: tuple[Roll, ...]
    appliances: tuple[Roll, ...]

    @property
    def roll_names(self) -> list[str]:
        """The names of the rolls."""
        return [roll.name for roll in self.rolls]

    @property
    def appliance_names(self) -> list[str]:
        """The names of the appliances."""
        return [roll.name for roll in self.appliances]


def parse(folder: str, roll_toml: str, files: Mapping[str, str]) -> Roll:
    """The roll of one folder; `files` are its other files by path in it. RollError says what is wrong."""
    where = f"rolls/{folder}/roll.toml"
    try:
        data = tomllib.loads(roll_toml)
    except tomllib.TOMLDecodeError as error:
        raise RollError(f"{where} is not TOML: {error}") from error
    if unknown := sorted(set(data) - _KEYS):
        raise RollError(f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    if missing := sorted(_NEEDED - set(data)):
        raise RollError(f"{where} lacks the key {missing[0]!r}")
    for key in ("name", "version", "summary"):
        if not isinstance(data[key], str) or not data[key]:
            raise RollError(f"{where}: {key} must be a text")
    if data["name"] != folder or not _NAME.fullmatch(folder):
        raise RollError(f"{where}: name must be the folder's name {folder!r}: small letters, digits and -")
    appliance = data.get("appliance", False)
    for key, value in (("offered", data["offered"]), ("appliance", appliance)):
        if not isinstance(value, bool):
            raise RollError(f"{where}: {key} must be true or false")
    kinds = _texts(where, "kinds", data["kinds"])
    if not kinds or set(kinds) - set(KINDS):
        raise RollError(f"{where}: kinds must name some of {', '.join(KINDS)}")
    if appliance and (kinds != ("compute",) or data["offered"]):
        raise RollError(f'{where}: an appliance has kinds = ["compute"] and offered = false')
    devices = data.get("devices", DEVICES[0])
    if devices not in DEVICES or ("devices" in data and not appliance):
        raise RollError(f"{where}: an appliance may have devices, which are {' or '.join(DEVICES)}")
    packages = data.get("packages", {})
    if not isinstance(packages, dict) or set(packages) - {"all", "base", *KINDS}:
        raise RollError(f"{where}: packages is a table with the keys all, base, {', '.join(KINDS)}")
    lists = {kind: _texts(where, f"packages.{kind}", names) for kind, names in packages.items()}
    for names in lists.values():
        for name in names:
            if not _PACKAGE.fullmatch(name):
                raise RollError(f"{where}: {name!r} is not a Debian package name")
    return Roll(
        name=folder,
        version=data["version"],
        summary=data["summary"],
        arch=_texts(where, "arch", data["arch"]),
        kinds=kinds,
        requires=_texts(where, "requires", data["requires"]),
        offered=data["offered"],
        packages=lists,
        files=dict(files),
        appliance=appliance,
        devices=devices,
    )


def resolve(rolls: Mapping[str, Roll], wanted: Iterable[str]) -> tuple[Roll, ...]:
    """The wanted rolls and all they need, each after what it needs; RollError for a missing one or a cycle.

    The order depends on the set alone, not on the order of wishes: two equal wishes give one image.
    """
    ordered: dict[str, Roll] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        if name in path:
            raise RollError(
                f"rolls need each other in a circle: {' -> '.join([*path[path.index(name) :], name])}"
            )
        if name not in rolls:
            needed = f", needed by {path[-1]!r}" if path else ""
            raise RollError(f"there is no roll {name!r}{needed}; there are {', '.join(sorted(rolls))}")
        for required in sorted(rolls[name].requires):
            visit(required, (*path, name))
        ordered[name] = rolls[name]

    for name in sorted(set(wanted)):
        visit(name, ())
    return tuple(ordered.values())


def offered(rolls: Mapping[str, Roll], devices: Collection[str] = DEVICES) -> Software:
    """What a person may choose from, by name, the plain appliance first; the other rolls come with every cluster.

    `devices` are those that guests can have.
    """
    by_name = [roll for _, roll in sorted(rolls.items())]
    able = [roll for roll in by_name if roll.appliance and roll.devices in devices]
    appliances = sorted(able, key=lambda roll: roll.name != COMPUTE)
    return Software(tuple(roll for roll in by_name if roll.offered), tuple(appliances))


def _texts(where: str, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RollError(f"{where}: {key} must be a list of texts")
    return tuple(value)
