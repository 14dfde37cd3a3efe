# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A volume as a sparse file: empty, or a clone of a golden image, in DIR/volumes.

A clone is copied under a temporary name, grown, synced and then renamed: a volume that is there is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Exec, FileSeen, Free, MakeDir, Remove, Rename, SetSize, Stat

MIB = 1 << 20
MAX_SIZE_MIB = 64 << 20  # 64 TiB
SPARE = 64 * MIB  # left free for everybody else's small files
CLONE_TIMEOUT_S = 900


@dataclass(frozen=True)
class Args:
    """`image` is the path of the golden image to clone, or None for an empty volume; `size` in bytes.

    With `stood` it was there before and has data: it is not made anew.
    """

    dir: str
    volume: str
    size: int
    image: str | None
    stood: bool

    @property
    def path(self) -> str:
        """Where the volume is."""
        return f"{self.dir}/volumes/{self.volume}.raw"

    @property
    def part(self) -> str:
        """Where it is while it is being made."""
        return f"{self.dir}/volumes/.{self.volume}.part"


@dataclass(frozen=True)
class Seen:
    """The volume, an unfinished one, the image, and the bytes free on their disk."""

    volume: FileSeen | None
    part: FileSeen | None
    image: FileSeen | None
    free: int


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"volume","size_mib","image"} and, optional, "stood"."""
    volume, size_mib, image, stood = names.take(
        {"stood": False, **raw}, volume=str, size_mib=int, image=(str, type(None)), stood=bool
    )
    names.marked(volume, remit, "volume")
    names.within(size_mib, 1, MAX_SIZE_MIB, "size_mib")
    path = None if image is None else f"{remit.dir}/images/{names.image(image)}.raw"
    return Args(remit.dir, volume, size_mib * MIB, path, stood)


def lock(args: Args) -> str:
    """One volume, one lock."""
    return f"volume-{args.volume}"


def observe(args: Args, ask: Ask) -> Seen:
    """Sizes only; the content is never read."""
    image = ask(Stat(args.image)) if args.image else None
    return Seen(ask(Stat(args.path)), ask(Stat(args.part)), image, ask(Free(f"{args.dir}/volumes")))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Clone or make, grow; a volume is never shrunk."""
    if seen.volume is not None and seen.volume.kind != "file":
        raise Refused("not_ours", f"{args.path} is there and is no plain file: it was left alone")
    tidy: list[Command] = [Remove(args.part)] if seen.part else []
    if want == "absent":
        return [*tidy, Remove(args.path)] if seen.volume else tidy
    if seen.volume is None:
        names.refuse_if_lost(args.stood, args.path)
        return [*tidy, MakeDir(f"{args.dir}/volumes"), *_make(args, seen)]
    if seen.volume.size > args.size:
        raise names.bad(
            f"volume {args.volume} has {seen.volume.size // MIB} MiB and is never shrunk to {args.size // MIB}"
        )
    return tidy if seen.volume.size == args.size else [*tidy, SetSize(args.path, args.size)]


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def _make(args: Args, seen: Seen) -> list[Command]:
    needs = SPARE + (seen.image.allocated if seen.image else 0)
    if args.image and (seen.image is None or seen.image.kind != "file"):
        raise Refused(
            "busy", f"{args.image} is not on this host: the image must be built or brought here first"
        )
    if seen.image and seen.image.size > args.size:
        least = -(-seen.image.size // MIB)
        raise names.bad(
            f"volume {args.volume} must have at least the {least} MiB of the image it is cloned from"
        )
    if seen.free < needs:
        raise Refused(
            "no_space",
            f"the disk of {args.dir}/volumes has {seen.free // MIB} MiB free and volume {args.volume} needs "
            f"{needs // MIB} MiB to begin with: make room there or use another storage host",
        )
    clone = ("cp", "--sparse=always", "--reflink=auto", "--", args.image or "", args.part)
    copy: list[Command] = [Exec(clone, None, CLONE_TIMEOUT_S, args.part, needs)] if args.image else []
    return [*copy, SetSize(args.part, args.size), Rename(args.part, args.path)]
