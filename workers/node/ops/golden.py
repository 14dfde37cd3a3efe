# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A golden image as a thin volume, from which nodes' disks are cloned by snapshots.

The image's file is copied into the volume once, by a detached job that skips what is zero. Until that has ended
the volume carries a second tag, so a copy that was interrupted is never cloned. After that it is read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names, reports, thin
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Detach, EndJob, FileSeen, GetJob, JobSeen, Stat
from workers.node.thin import Place, Pool, Volume, lvm

IMPORTING = "leasehold:importing"


@dataclass(frozen=True)
class Args:
    """`image` is the golden image's name."""

    dir: str
    place: Place
    image: str

    @property
    def path(self) -> str:
        """Where the image's file is."""
        return f"{self.dir}/images/{self.image}.raw"

    @property
    def volume(self) -> str:
        """The name of its volume."""
        return volume_of(self.place, self.image)

    @property
    def job(self) -> str:
        """The job that copies."""
        return f"import-{self.image}"


@dataclass(frozen=True)
class Seen:
    """The image's file, the pool, the golden volume, and the job that fills it."""

    file: FileSeen | None
    pool: Pool | None
    volume: Volume | None
    job: JobSeen


def volume_of(place: Place, image: str) -> str:
    """The name of the golden volume of an image. A reservation's volumes have a number behind the mark."""
    return f"{place.mark}-{image}"


def tag_of(place: Place) -> str:
    """The mark of what belongs to the site and not to one reservation."""
    return f"leasehold:{place.mark}"


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"image","pool_mib","full_percent"}."""
    image, pool_mib, full_percent = names.take(raw, image=str, pool_mib=int, full_percent=int)
    return Args(remit.dir, thin.place(remit, pool_mib, full_percent), names.image(image))


def lock(args: Args) -> str:
    """The volume group's."""
    return args.place.lock


def observe(args: Args, ask: Ask) -> Seen:
    """The volume by its tags; its content is never read."""
    report = thin.parse(args.place, ask(thin.query(args.place, args.volume)))
    return Seen(ask(Stat(args.path)), report.pool, report.volumes.get(args.volume), ask(GetJob(args.job)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Make the volume and start the copy; later seal it, or clear up after a copy that failed."""
    thin.own(args.place, args.volume, seen.volume, tag_of(args.place))
    clear: list[Command] = []
    if seen.job.state != "none":
        clear.append(EndJob(args.job, args.place.device(args.volume)))
    remove = [lvm("lvremove", f"{args.place.group}/{args.volume}")] if seen.volume else []
    if want == "absent":
        return [*clear, *remove]
    if seen.volume is None:
        return [*clear, *_start(args, seen)]
    if IMPORTING not in seen.volume.tags:
        return clear
    if seen.job.state == "running":
        return []
    if seen.job.state == "ended" and seen.job.rc == 0:
        return [*_seal(args), *clear]
    if seen.job.state == "ended":
        raise Refused(*_failure(args, seen.job), clean_up=(*clear, *remove))
    return [*clear, *remove]  # killed, or never started: the next plan begins anew


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the copy."""
    if want == "absent" or seen.volume is None or IMPORTING not in seen.volume.tags:
        return None
    words = reports.last_words(seen.job.log)
    return f"copying {args.image} into {args.place.group}/{args.volume}" + (f": {words}" if words else "")


def _start(args: Args, seen: Seen) -> list[Command]:
    if seen.file is None or seen.file.kind != "file":
        raise Refused(
            "busy", f"{args.path} is not on this host: the image must be built or brought here first"
        )
    if make := thin.plan_pool(args.place, seen.pool, seen.file.allocated):
        return make
    tags = ("--addtag", tag_of(args.place), "--addtag", IMPORTING)
    size = ("--virtualsize", f"{seen.file.size}b", "--wipesignatures", "n")
    made = lvm(
        "lvcreate", "--thin", *size, "--name", args.volume, *tags, f"{args.place.group}/{args.place.pool}"
    )
    device = args.place.device(args.volume)
    # What a thin volume was not given yet reads as zeros, so only what is not zero has to be written.
    copy = ("dd", f"if={args.path}", f"of={device}", "bs=1M", "conv=sparse,fsync,notrunc", "status=none")
    return [made, Detach(args.job, copy)]


def _seal(args: Args) -> list[Command]:
    """Read-only and not active: nothing writes to it any more, and a snapshot of it need not suspend it."""
    where = f"{args.place.group}/{args.volume}"
    return [
        lvm("lvchange", "--activate", "n", where),
        lvm("lvchange", "--permission", "r", "--deltag", IMPORTING, where),
    ]


def _failure(args: Args, job: JobSeen) -> tuple[str, str]:
    log = job.log[-1000:].strip() or "it said nothing"
    if "No space left on device" in job.log or "Input/output error" in job.log:
        return (
            "no_space",
            f"thin pool {args.place.group}/{args.place.pool} became full while {args.image} was copied: {log}",
        )
    return "image_failed", f"copying {args.image} into {args.volume} ended with status {job.rc}: {log}"
