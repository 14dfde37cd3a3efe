# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which host takes which part of a cluster: a pure, deterministic choice that explains every refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.domain.errors import NoRoom

# Free amounts by (host id, resource); what a host does not list it does not have.
Free = Mapping[tuple[int | str, str], int]


@dataclass(frozen=True)
class Candidate:
    """A host that may be chosen, and what for."""

    id: int
    name: str
    roles: frozenset[str]


@dataclass(frozen=True)
class Part:
    """One thing to place: on a host of `role`, taking `needs` (resource -> amount) there."""

    name: str
    role: str
    needs: Mapping[str, int]


@dataclass(frozen=True)
class Placement:
    """Part name -> host id."""

    hosts: Mapping[str, int] = field(default_factory=dict)


UNITS = {"vcpu": "vCPU", "memory_mib": "MiB of memory", "disk_mib": "MiB of disk"}


def place(parts: Sequence[Part], candidates: Sequence[Candidate], free: Free) -> Placement:
    """Put every part on a host with room, the emptiest first, or raise NoRoom saying what is short where.

    Equal hosts are taken in order of their names, so the same input always gives the same answer.
    """
    left = dict(free)
    chosen: dict[str, int] = {}
    for part in parts:
        able = [host for host in candidates if part.role in host.roles]
        fits = [host for host in able if all(left.get((host.id, r), 0) >= n for r, n in part.needs.items())]
        if not fits:
            raise NoRoom(_reasons(part, able, left, placed=len(chosen)))
        best = min(fits, key=lambda host: (-left.get((host.id, "memory_mib"), 0), host.name))
        chosen[part.name] = best.id
        for resource, amount in part.needs.items():
            left[best.id, resource] -= amount
    return Placement(chosen)


def _reasons(
    part: Part, able: Sequence[Candidate], left: Mapping[tuple[int | str, str], int], placed: int
) -> list[str]:
    if not able:
        return [f"No {part.role} host is in service for {part.name}."]
    reasons = [
        f"No {part.role} host has room for {part.name} in this slot ({placed} parts before it found a place)."
    ]
    for host in sorted(able, key=lambda host: host.name):
        short = [
            f"{max(0, left.get((host.id, r), 0)):,} of {n:,} {UNITS.get(r, r)} free"
            for r, n in part.needs.items()
            if left.get((host.id, r), 0) < n
        ]
        reasons.append(f"{host.name}: {', '.join(short)}.")
    return reasons[:12]
