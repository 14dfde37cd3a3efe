# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume group, its thin pool and its volumes, as LVM reports them and as the operations with LVM need them.

A volume is ours when it has our tag. The pool is the site's: found, or made where the request says how large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names
from workers.node.protocol import Refused, Remit
from workers.node.steps import Command, Exec, Output, Show

MIB = 1 << 20
LVM_TIMEOUT_S = 60
MAX_POOL_MIB = 1 << 30  # 1 PiB
_FIELDS = (
    *("lv_name", "lv_size", "lv_tags", "pool_lv", "lv_active", "lv_device_open", "segtype"),
    *("data_percent", "metadata_percent", "zero", "vg_extent_size"),
)


_JSON = ("--reportformat", "json", "--units", "b", "--nosuffix")


@dataclass(frozen=True)
class Place:
    """The volume group and its thin pool, as the remit names them; `full_percent` of data or metadata is full.

    `pool_mib` is the size of a pool that may be made, 0 where it has to be there.
    """

    mark: str
    group: str
    pool: str
    pool_mib: int
    full_percent: int

    def device(self, volume: str) -> str:
        """The device of a volume, once it is active."""
        return f"/dev/{self.group}/{volume}"

    @property
    def lock(self) -> str:
        """One lock a volume group: LVM itself lets one command at a time change it."""
        return f"lvm-{self.group}"


@dataclass(frozen=True)
class Group:
    """The volume group; sizes in bytes. What is free has no volume in it, neither thick ones nor a pool."""

    size: int
    free: int
    extent: int


@dataclass(frozen=True)
class Pool:
    """The pool; sizes in bytes. `zeroes`: a block is zeroed before a volume gets it."""

    size: int
    data_percent: float
    metadata_percent: float
    extent: int
    zeroes: bool


@dataclass(frozen=True)
class Volume:
    """One volume; `pool` is empty where it is no thin one."""

    size: int
    tags: tuple[str, ...]
    pool: str
    is_active: bool
    is_open: bool


@dataclass(frozen=True)
class Report:
    """What was asked for of a volume group: its pool, and those of the volumes that are there."""

    pool: Pool | None
    volumes: dict[str, Volume]


def place(remit: Remit, pool_mib: int, full_percent: int) -> Place:
    """Where this host's volumes are; out_of_remit where its forced command names no pool."""
    if not (remit.volume_group and remit.thin_pool):
        raise Refused(
            "out_of_remit",
            "this host's forced command names no --volume-group and --thin-pool: run `leasehold host add` for it "
            "again",
        )
    names.within(pool_mib, 0, MAX_POOL_MIB, "pool_mib")
    names.within(full_percent, 1, 100, "full_percent")
    return Place(remit.mark, remit.volume_group, remit.thin_pool, pool_mib, full_percent)


def device(remit: Remit, volume: str) -> str:
    """The device of a volume, where all that matters is to use it."""
    return place(remit, 0, 100).device(volume)


def query(place: Place, *volumes: str) -> Show:
    """The query for the pool and these volumes alone: a group may hold thousands."""
    chosen = " || ".join(f"lv_name={name}" for name in (place.pool, *volumes))
    return Show(("lvs", *_JSON, "--options", ",".join(_FIELDS), "--select", chosen, place.group))


def query_group(place: Place) -> Show:
    """The query for the volume group itself."""
    return Show(("vgs", *_JSON, "--options", "vg_size,vg_free,vg_extent_size", place.group))


def query_all(place: Place) -> Show:
    """The query for every volume of the group, however many."""
    return Show(("lvs", *_JSON, "--options", ",".join(_FIELDS), place.group))


def parse(place: Place, output: Output) -> Report:
    """The answer to `query`; raises Refused when there is no such group, or no pool under the pool's name."""
    rows = {row["lv_name"]: row for row in _rows(place, output, "lv")}
    pool = rows.pop(place.pool, None)
    if pool is not None and pool["segtype"] != "thin-pool":
        raise Refused(
            "not_ours", f"{place.group}/{place.pool} is a {pool['segtype']} volume and no thin pool"
        )
    return Report(_pool(pool) if pool else None, {name: _volume(row) for name, row in rows.items()})


def parse_volumes(place: Place, output: Output) -> dict[str, Volume]:
    """The volumes in the answer to `query` or `query_all`, whatever else has the pool's name."""
    return {row["lv_name"]: _volume(row) for row in _rows(place, output, "lv")}


def parse_group(place: Place, output: Output) -> Group:
    """The answer to `query_group`; raises Refused when there is no such group."""
    (row,) = _rows(place, output, "vg")
    return Group(int(row["vg_size"]), int(row["vg_free"]), int(row["vg_extent_size"]))


def lent(place: Place, volumes: Mapping[str, Volume]) -> int:
    """The bytes that reservations' thick volumes have among these."""
    mine = f"leasehold:{place.mark}"
    return sum(
        volume.size
        for name, volume in volumes.items()
        if name != place.pool and not volume.pool and any(tag.startswith(mine) for tag in volume.tags)
    )


def own(place: Place, name: str, volume: Volume | None, tag: str) -> None:
    """Refuses when a volume is there that has not our tag."""
    if volume is not None and tag not in volume.tags:
        tags = ",".join(volume.tags) or "none"
        raise Refused(
            "not_ours",
            f"{place.group}/{name} is there (tags: {tags}) without our tag {tag}: it was left alone; rename or remove "
            "it by hand",
        )


def plan_pool(place: Place, pool: Pool | None, needs: int) -> list[Command]:
    """What has to be done before a volume can be made: nothing, or the pool. Refuses what would fill it.

    `needs` are the bytes that will be written at once.
    """
    where = f"{place.group}/{place.pool}"
    if pool is None and place.pool_mib == 0:
        raise Refused(
            "busy",
            f"there is no thin pool {where}: make it (lvcreate --type thin-pool --size ... --name {place.pool} "
            f"{place.group}), or set storage.pool_gib",
        )
    if pool is None:
        kind = ("--type", "thin-pool", "--zero", "y", "--discards", "passdown")
        size = ("--size", f"{place.pool_mib}m", "--name", place.pool, "--addtag", f"leasehold:{place.mark}")
        return [lvm("lvcreate", *kind, *size, place.group)]
    if not pool.zeroes:
        raise Refused(
            "tool_failed",
            f"thin pool {where} hands out blocks with an earlier volume's data: run lvchange --zero y {where}",
        )
    free = int(pool.size * (100 - pool.data_percent) / 100)
    if max(pool.data_percent, pool.metadata_percent) >= place.full_percent or free < needs:
        raise Refused(
            "no_space",
            f"thin pool {where} is full: {pool.data_percent:g} % of its {pool.size // MIB} MiB and "
            f"{pool.metadata_percent:g} % of its metadata are used, {place.full_percent} % is the limit and "
            f"{needs // MIB} MiB are needed; extend it (lvextend --size or --poolmetadatasize) or make room",
        )
    return []


def lvm(program: str, *words: str) -> Exec:
    """An LVM command that asks nothing back."""
    return Exec((program, "--yes", "--quiet", *words), None, LVM_TIMEOUT_S)


def _rows(place: Place, output: Output, what: str) -> list[dict[str, Any]]:
    if output.rc != 0:
        said = " ".join(output.stderr.split())[-500:]
        raise Refused("tool_failed", f"LVM does not tell of volume group {place.group}: {said}")
    rows: list[dict[str, Any]] = json.loads(output.stdout)["report"][0][what]
    return rows


def _pool(row: dict[str, Any]) -> Pool:
    return Pool(
        int(row["lv_size"]),
        float(row["data_percent"] or 0),
        float(row["metadata_percent"] or 0),
        int(row["vg_extent_size"]),
        row["zero"] == "zero",
    )


def _volume(row: dict[str, Any]) -> Volume:
    tags = tuple(filter(None, row["lv_tags"].split(",")))
    return Volume(
        int(row["lv_size"]),
        tags,
        row["pool_lv"],
        row["lv_active"] == "active",
        row["lv_device_open"] == "open",
    )
