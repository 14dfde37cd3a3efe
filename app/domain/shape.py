# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The shape of a cluster: its node groups and shared disks, which decide how much room it takes, and where."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace

# The appliance of whoever names none.
COMPUTE = "compute"


@dataclass(frozen=True)
class NodeGroup:
    """Like compute nodes: as many as there are `node_names`, and `least` of them at the least.

    `pin` are the hosts they may be on (none: any), `avoid` those they may not; a host must have all `tags`.
    """

    name: str
    node_names: tuple[str, ...]
    least: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    appliance: str = COMPUTE
    policy: str = "spread"
    tags: tuple[str, ...] = ()
    pin: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """How many nodes it has when there is room for all."""
        return len(self.node_names)

    def of(self, number: int, taken: Collection[str] = ()) -> NodeGroup:
        """The same with this many nodes: the first of those named, then <group>1, <group>2, ... if not `taken`."""
        names = (f"{self.name}{i}" for i in itertools.count(1))
        more = (name for name in names if name not in self.node_names and name not in taken)
        named = (*self.node_names, *itertools.islice(more, max(0, number - self.most)))[:number]
        return replace(self, node_names=named, least=min(self.least, number))


@dataclass(frozen=True)
class Shape:
    """What decides how much room a cluster takes, and where."""

    groups: tuple[NodeGroup, ...]
    home_gib: int
    # The rolls asked for: some may have few licence seats.
    rolls: tuple[str, ...] = ()
    # The volume that every node may write, beside /home; 0: none.
    shared_disk_gib: int = 0

    @property
    def node_names(self) -> tuple[str, ...]:
        """All compute nodes, group by group."""
        return tuple(name for group in self.groups for name in group.node_names)

    @property
    def most(self) -> int:
        """The compute nodes when there is room for all."""
        return sum(group.most for group in self.groups)

    @property
    def least(self) -> int:
        """The compute nodes there must be room for."""
        return sum(group.least for group in self.groups)

    @property
    def smallest(self) -> Shape:
        """With no more nodes than there must be."""
        return replace(self, groups=tuple(group.of(group.least) for group in self.groups))

    @property
    def yielding(self) -> Shape:
        """Where a group has one number of nodes only, one of them is enough; a least that was asked for stays."""
        return replace(
            self, groups=tuple(replace(g, least=1) if g.least == g.most else g for g in self.groups)
        )

    def only(self, names: Collection[str]) -> Shape:
        """With these nodes alone."""
        kept = [
            replace(g, node_names=tuple(name for name in g.node_names if name in names)) for g in self.groups
        ]
        return replace(self, groups=tuple(kept))

    def of(self, number: int) -> Shape:
        """With this many compute nodes, though never fewer than the least.

        The group with the most nodes gives one after the other, the first of equals, and none goes below its least;
        what comes on top goes to the one with the most.
        """
        counts = [group.most for group in self.groups]
        largest = max(range(len(counts)), key=lambda i: counts[i])
        counts[largest] += max(0, number - sum(counts))
        while sum(counts) > number:
            able = [i for i, group in enumerate(self.groups) if counts[i] > group.least]
            if not able:
                break
            counts[max(able, key=lambda i: counts[i])] -= 1
        taken = frozenset(self.node_names)
        pairs = zip(self.groups, counts, strict=True)
        return replace(self, groups=tuple(group.of(count, taken) for group, count in pairs))
