# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A reservation's logical volume, thin or thick: its names, its limits, and its way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.node import names
from workers.node.protocol import Refused, Remit
from workers.node.steps import Command, EndJob, JobSeen
from workers.node.thin import Place, Volume, lvm

MAX_SIZE_MIB = 64 << 20  # 64 TiB
WIPES = ("discard", "zero", "none")


@dataclass(frozen=True)
class Lent:
    """`size` in bytes; `wipe`, one of WIPES, says what becomes of its data.

    With `stood` it was there before and has data: it is not made anew.
    """

    dir: str
    place: Place
    volume: str
    size: int
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
    def wiping(self) -> str:
        """The job that overwrites it at its end."""
        return f"wipe-{self.volume}"

    @property
    def removal(self) -> Command:
        """What removes it."""
        return lvm("lvremove", self.where)

    @property
    def activation(self) -> Command:
        """What gives it its device."""
        return lvm("lvchange", "--activate", "y", self.where)

    def helper(self, *words: str) -> tuple[str, ...]:
        """The argv of a job of the helper's own."""
        return ("/usr/bin/python3", "-IS", f"{self.dir}/helper.pyz", *words)


def check(remit: Remit, volume: str, size_mib: int, wipe: str) -> None:
    """Refuses what a request may not say of a volume."""
    names.marked(volume, remit, "volume")
    names.within(size_mib, 1, MAX_SIZE_MIB, "size_mib")
    if wipe not in WIPES:
        raise names.bad(f"wipe must be one of {', '.join(WIPES)}, not {names.show(wipe)}")


def refuse_while_wiped(one: Lent, wiping: JobSeen) -> None:
    """Refuses to give what is being overwritten."""
    if wiping.state != "none":
        raise Refused("busy", f"{one.where} is being overwritten with zeros and cannot be had back")


def plan_end(one: Lent, volume: Volume, wiping: JobSeen, erase: Sequence[Command]) -> list[Command]:
    """The way out of a volume that is there: `erase` deals with its data as `wipe` wants, if it is to be dealt with.

    That begins the job `wiping`, or removes the volume itself. While the job runs nothing is done, once it has ended
    well the volume is removed, else the job is cleared away to be begun anew.
    """
    if wiping.state != "none":
        return _follow(one, wiping)
    if volume.is_open:
        raise Refused("busy", f"{one.where} is open: what exports or uses it must go first")
    if one.wipe == "none":
        return [one.removal]
    return [*erase] if volume.is_active else [one.activation, *erase]


def rounded(size: int, extent: int) -> int:
    """The size that LVM gives: whole extents."""
    return -(-size // extent) * extent


def _follow(one: Lent, wiping: JobSeen) -> list[Command]:
    end = EndJob(one.wiping, one.device)
    if wiping.state == "running":
        return []
    if wiping.state == "lost":
        return [end]
    if wiping.rc == 0:
        return [end, one.removal]
    said = wiping.log[-500:].strip() or f"it ended with status {wiping.rc}"
    raise Refused("tool_failed", f"overwriting {one.where} with zeros failed: {said}", (end,))
