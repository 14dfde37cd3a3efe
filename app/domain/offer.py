# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cluster is booked for, as asked or as offered: plain data that can be kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from app.domain.shape import NodeGroup, Shape
from app.domain.slot import Slot


@dataclass(frozen=True)
class Terms:
    """When, how large, and with which software."""

    slot: Slot
    shape: Shape

    def data(self) -> dict[str, Any]:
        """The terms as JSON data, which `of_data` reads."""
        return {"start": self.slot.start.isoformat(), "end": self.slot.end.isoformat(), **asdict(self.shape)}

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Terms:
        """The terms from what `data` made."""
        slot = Slot(datetime.fromisoformat(data["start"]), datetime.fromisoformat(data["end"]))
        groups = tuple(_group(one) for one in data["groups"])
        # Offers of before there was such a thing do not say it.
        shared_disk_gib = data.get("shared_disk_gib", 0)
        return Terms(slot, Shape(groups, data["home_gib"], tuple(data["rolls"]), shared_disk_gib))


def _group(data: Mapping[str, Any]) -> NodeGroup:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    return NodeGroup(**values)


def changed(before: Terms, after: Terms) -> dict[str, tuple[Any, Any]]:
    """Field -> (before, after) for what is different."""
    old, new = _fields(before), _fields(after)
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def _fields(terms: Terms) -> dict[str, Any]:
    groups = [
        f"{group.name}: {', '.join(group.node_names)} with {group.vcpus} vCPU, {group.memory_mib:,} MiB,"
        f" {group.disk_gib:,} GiB"
        for group in terms.shape.groups
    ]
    return {
        "start": terms.slot.start,
        "end": terms.slot.end,
        "nodes": "; ".join(groups),
        "home_gib": terms.shape.home_gib,
        "shared_disk_gib": terms.shape.shared_disk_gib,
        "rolls": ", ".join(terms.shape.rolls),
    }
