# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume as a thin logical volume: empty, or a snapshot of a golden volume, with our tag.

Each is made by one LVM command, so a volume that is there is whole. The time it takes does not depend on its size.
What becomes of its data at the end is the site's choice: discarded, overwritten with zeros, or only unlinked. In
every case the pool zeroes a block before another volume gets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names, thin, wiped
from workers.node.ops import golden
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Detach, EndJob, Exec, GetJob, JobSeen
from workers.node.thin import MIB, Place, Pool, Volume

MAX_SIZE_MIB = 64 << 20  # 64 TiB
WIPES = ("discard", "zero", "none")
DISCARD_TIMEOUT_S = 600


@dataclass(frozen=True)
class Args:
    """`size` in bytes; `origin` is the golden volume to clone, or None for an empty one; `wipe` one of WIPES.

    With `stood` it was there before and has data: it is not made anew.
    """

    dir: str
    place: Place
    volume: str
    size: int
    origin: str | None
    wipe: str
    stood: bool

    @property
    def tag(self) -> str:
        """The mark of the reservation's things."""
        return f"leasehold:{names.key_of(self.volume)}"

    @property
    def where(self) -> str:
        """The volume in LVM's words."""
        return f"{self.place.group}/{self.volume}"

    @property
    def device(self) -> str:
        """Its device."""
        return self.place.device(self.volume)

    @property
    def job(self) -> str:
        """The job that overwrites it."""
        return f"wipe-{self.volume}"


@dataclass(frozen=True)
class Seen:
    """The pool with what is used of it, the volume, its golden volume, and the job that overwrites it."""

    pool: Pool | None
    volume: Volume | None
    origin: Volume | None
    job: JobSeen


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"volume","size_mib","image","wipe","pool_mib","full_percent"} and, optional, "stood"."""
    volume, size_mib, image, wipe, pool_mib, full_percent, stood = names.take(
        {"stood": False, **raw},
        volume=str,
        size_mib=int,
        image=(str, type(None)),
        wipe=str,
        pool_mib=int,
        full_percent=int,
        stood=bool,
    )
    names.marked(volume, remit, "volume")
    names.within(size_mib, 1, MAX_SIZE_MIB, "size_mib")
    if wipe not in WIPES:
        raise names.bad(f"wipe must be one of {', '.join(WIPES)}, not {names.show(wipe)}")
    place = thin.place(remit, pool_mib, full_percent)
    origin = None if image is None else golden.volume_of(place, names.image(image))
    return Args(remit.dir, place, volume, size_mib * MIB, origin, wipe, stood)


def lock(args: Args) -> str:
    """The volume group's."""
    return args.place.lock


def observe(args: Args, ask: Ask) -> Seen:
    """One report of LVM's."""
    wanted = (args.volume, args.origin) if args.origin else (args.volume,)
    report = thin.parse(args.place, ask(thin.query(args.place, *wanted)))
    origin = report.volumes.get(args.origin) if args.origin else None
    return Seen(report.pool, report.volumes.get(args.volume), origin, ask(GetJob(args.job)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Clone or make, grow, activate; a volume is never shrunk. At the end wipe as the site wants, and remove."""
    thin.own(args.place, args.volume, seen.volume, args.tag)
    if want == "absent":
        return _plan_absent(args, seen)
    if seen.job.state != "none":
        raise Refused("busy", f"{args.where} is being overwritten with zeros and cannot be had back")
    if seen.volume is None:
        names.refuse_if_lost(args.stood, args.where)
        return thin.plan_pool(args.place, seen.pool, 0) or _make(args, seen)
    size = _rounded(args.size, seen.pool)
    if seen.volume.size > size:
        raise names.bad(
            f"volume {args.volume} has {seen.volume.size // MIB} MiB and is never shrunk to {args.size // MIB}"
        )
    commands: list[Command] = []
    if seen.volume.size < size:
        commands.append(_extend(args))
    if not seen.volume.is_active:
        commands.append(thin.lvm("lvchange", "--activate", "y", args.where))
    return commands


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """At the end, waits for the zeros."""
    if want == "absent" and seen.volume is not None:
        return f"overwriting {args.where} with zeros"
    return None


def _make(args: Args, seen: Seen) -> list[Command]:
    own = ("--name", args.volume, "--addtag", args.tag)
    if args.origin is None:
        size = ("--virtualsize", f"{args.size}b", "--wipesignatures", "n")
        return [thin.lvm("lvcreate", "--thin", *size, *own, f"{args.place.group}/{args.place.pool}")]
    thin.own(args.place, args.origin, seen.origin, golden.tag_of(args.place))
    if seen.origin is None or golden.IMPORTING in seen.origin.tags:
        raise Refused(
            "busy",
            f"golden volume {args.place.group}/{args.origin} is not whole yet: it is to be imported first",
        )
    if seen.origin.size > _rounded(args.size, seen.pool):
        raise names.bad(
            f"volume {args.volume} must have at least the {seen.origin.size // MIB} MiB of the golden volume it is "
            "cloned from"
        )
    kind = ("--snapshot", "--setactivationskip", "n", "--permission", "rw")
    clone = thin.lvm("lvcreate", *kind, *own, f"{args.place.group}/{args.origin}")
    return [clone, _extend(args)] if seen.origin.size < _rounded(args.size, seen.pool) else [clone]


def _plan_absent(args: Args, seen: Seen) -> list[Command]:
    if seen.volume is None:
        return [EndJob(args.job, args.device)] if seen.job.state != "none" else []
    remove = thin.lvm("lvremove", args.where)
    if seen.job.state != "none":
        return wiped.plan_removal(args.job, seen.job, args.device, args.where, remove)
    if seen.volume.is_open:
        raise Refused("busy", f"{args.where} is open: what exports or uses it must go first")
    if args.wipe == "none":
        return [remove]
    wake: list[Command] = []
    if not seen.volume.is_active:
        wake.append(thin.lvm("lvchange", "--activate", "y", args.where))
    if args.wipe == "discard":
        return [*wake, Exec(("blkdiscard", args.device), None, DISCARD_TIMEOUT_S), remove]
    helper = ("/usr/bin/python3", "-IS", f"{args.dir}/helper.pyz", "wipe", args.device)
    return [*wake, Detach(args.job, helper)]


def _extend(args: Args) -> Command:
    return thin.lvm("lvextend", "--size", f"{args.size}b", args.where)


def _rounded(size: int, pool: Pool | None) -> int:
    """The size that LVM gives: whole extents."""
    extent = pool.extent if pool else MIB
    return -(-size // extent) * extent
