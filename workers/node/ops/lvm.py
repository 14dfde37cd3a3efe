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

from workers.node import lent, names, thin
from workers.node.lent import Lent
from workers.node.ops import golden
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Detach, EndJob, Exec, GetJob, JobSeen
from workers.node.thin import MIB, Pool, Volume

DISCARD_TIMEOUT_S = 600


@dataclass(frozen=True)
class Args(Lent):
    """`origin` is the golden volume to clone, or None for an empty one."""

    origin: str | None


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
    lent.check(remit, volume, size_mib, wipe)
    place = thin.place(remit, pool_mib, full_percent)
    origin = None if image is None else golden.volume_of(place, names.image(image))
    return Args(remit.dir, place, volume, size_mib * MIB, wipe, stood, origin)


def lock(args: Args) -> str:
    """The volume group's."""
    return args.place.lock


def observe(args: Args, ask: Ask) -> Seen:
    """One report of LVM's."""
    wanted = (args.volume, args.origin) if args.origin else (args.volume,)
    report = thin.parse(args.place, ask(thin.query(args.place, *wanted)))
    origin = report.volumes.get(args.origin) if args.origin else None
    return Seen(report.pool, report.volumes.get(args.volume), origin, ask(GetJob(args.wiping)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Clone or make, grow, activate; a volume is never shrunk. At the end wipe as the site wants, and remove."""
    thin.own(args.place, args.volume, seen.volume, args.tag)
    if want == "absent":
        return _plan_absent(args, seen)
    lent.refuse_while_wiped(args, seen.job)
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
        commands.append(args.activation)
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
        return [EndJob(args.wiping, args.device)] if seen.job.state != "none" else []
    if args.wipe == "discard":
        erase = [Exec(("blkdiscard", args.device), None, DISCARD_TIMEOUT_S), args.removal]
    else:
        erase = [Detach(args.wiping, args.helper("wipe", args.device))]
    return lent.plan_end(args, seen.volume, seen.job, erase)


def _extend(args: Args) -> Command:
    return thin.lvm("lvextend", "--size", f"{args.size}b", args.where)


def _rounded(size: int, pool: Pool | None) -> int:
    return lent.rounded(size, pool.extent if pool else MIB)
