# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume as a thick logical volume, which has all its room from the start: zeros, or a copy of a golden image.

It is filled by a detached job, which takes as long as writing its whole size. Until that has ended the volume carries
a second tag, so one that was interrupted is never used. Since all of it is filled before it is handed out, nobody reads
what somebody else's volume held; what becomes of its data at the end is still the site's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import lent, names, thin
from workers.node.lent import Lent
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Detach, EndJob, FileSeen, GetJob, JobSeen, Stat
from workers.node.thin import MIB, Group, Volume, lvm

FILLING = "leasehold:filling"


@dataclass(frozen=True)
class Args(Lent):
    """`image` is the path of the golden image to copy, or None for zeros."""

    image: str | None

    @property
    def filling(self) -> str:
        """The job that fills it."""
        return f"fill-{self.volume}"


@dataclass(frozen=True)
class Seen:
    """The group with its room, the volume and its jobs, and the image where the volume is not there."""

    group: Group
    volume: Volume | None
    filling: JobSeen
    wiping: JobSeen
    image: FileSeen | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"volume","size_mib","image","wipe"} and, optional, "stood"."""
    volume, size_mib, image, wipe, stood = names.take(
        {"stood": False, **raw}, volume=str, size_mib=int, image=(str, type(None)), wipe=str, stood=bool
    )
    lent.check(remit, volume, size_mib, wipe)
    path = None if image is None else f"{remit.dir}/images/{names.image(image)}.raw"
    return Args(remit.dir, thin.place(remit, 0, 100), volume, size_mib * MIB, wipe, stood, path)


def lock(args: Args) -> str:
    """The volume group's."""
    return args.place.lock


def observe(args: Args, ask: Ask) -> Seen:
    """Two reports of LVM's."""
    volume = thin.parse_volumes(args.place, ask(thin.query(args.place, args.volume))).get(args.volume)
    group = thin.parse_group(args.place, ask(thin.query_group(args.place)))
    image = ask(Stat(args.image)) if volume is None and args.image else None
    return Seen(group, volume, ask(GetJob(args.filling)), ask(GetJob(args.wiping)), image)


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Make it and start the job that fills it; then it counts. At the end overwrite as the site wants, and remove."""
    thin.own(args.place, args.volume, seen.volume, args.tag)
    if want == "absent":
        return _plan_absent(args, seen)
    lent.refuse_while_wiped(args, seen.wiping)
    clear: list[Command] = [EndJob(args.filling, args.device)] if seen.filling.state != "none" else []
    if seen.volume is None:
        names.refuse_if_lost(args.stood, args.where)
        return [*clear, *_start(args, seen)]
    if FILLING in seen.volume.tags:
        return _go_on(args, seen.filling, clear)
    if seen.volume.size != lent.rounded(args.size, seen.group.extent):
        held = seen.volume.size // MIB
        raise names.bad(f"volume {args.volume} has {held} MiB and is not resized to {args.size // MIB}")
    if not seen.volume.is_active:
        return [*clear, args.activation]
    return clear


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the job."""
    if seen.volume is None:
        return None
    if want == "absent":
        return f"overwriting {args.where} with zeros"
    return f"filling {args.where}" if FILLING in seen.volume.tags else None


def _start(args: Args, seen: Seen) -> list[Command]:
    if args.image and (seen.image is None or seen.image.kind != "file"):
        raise Refused(
            "busy", f"{args.image} is not on this host: the image must be built or brought here first"
        )
    if seen.image and seen.image.size > args.size:
        least = -(-seen.image.size // MIB)
        raise names.bad(
            f"volume {args.volume} must have at least the {least} MiB of the image it is copied from"
        )
    size = lent.rounded(args.size, seen.group.extent)
    if seen.group.free < size:
        raise Refused(
            "no_space",
            f"volume group {args.place.group} has {seen.group.free // MIB} MiB free of {seen.group.size // MIB} and "
            f"volume {args.volume} needs {size // MIB}: extend it (vgextend) or make room",
        )
    tags = ("--addtag", args.tag, "--addtag", FILLING)
    # What is on its extents is overwritten as a whole, so LVM need not look for signatures there.
    plain = ("--type", "linear", "--zero", "n", "--wipesignatures", "n")
    made = lvm("lvcreate", *plain, "--size", f"{size}b", "--name", args.volume, *tags, args.place.group)
    return [made, Detach(args.filling, _fill(args, args.image))]


def _go_on(args: Args, job: JobSeen, clear: list[Command]) -> list[Command]:
    if job.state == "running":
        return []
    if job.state == "ended" and job.rc == 0:
        return [*clear, lvm("lvchange", "--deltag", FILLING, args.where)]
    if job.state == "ended":
        said = job.log[-1000:].strip() or f"it ended with status {job.rc}"
        raise Refused("tool_failed", f"filling {args.where} failed: {said}", clean_up=(*clear, args.removal))
    return [*clear, args.removal]  # killed, or never started: the next plan begins anew


def _plan_absent(args: Args, seen: Seen) -> list[Command]:
    clear: list[Command] = [EndJob(args.filling, args.device)] if seen.filling.state != "none" else []
    if seen.volume is None:
        return [*clear, EndJob(args.wiping, args.device)] if seen.wiping.state != "none" else clear
    if FILLING in seen.volume.tags:
        return [*clear, args.removal]  # nobody has had it
    erase = [Detach(args.wiping, _fill(args, None))]
    return [*clear, *lent.plan_end(args, seen.volume, seen.wiping, erase)]


def _fill(args: Args, image: str | None) -> tuple[str, ...]:
    return args.helper("fill", args.device, *([image] if image else []))
