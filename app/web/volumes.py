# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Volumes as people think of them, from the two rows that make one: the storage and its export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.resource import Stored
from app.web.steps import DONE, Standing, standing_of

# Where a volume that is no node's own is shown.
ALL_HOSTS = "the hosts of all nodes"
IN_PLACE = Standing("good", "✓", "in place")


@dataclass(frozen=True)
class Volume:
    """One disk, of a node or of all: whose it is, where it is stored, which host it is shown to, under which target."""

    name: str
    owner: str | None
    reservation_id: int | None
    reservation: str | None
    size_mib: int
    storage: str
    target: str | None
    attached: str | None
    standing: Standing


def pair(rows: Sequence[Stored]) -> list[Volume]:
    """One Volume for each stored row, with its export if there is one; the order of the rows is kept."""
    exports = {(found.storage, found.row.name): found for found in rows if "target" in found.row.args}
    volumes = []
    for found in rows:
        if "target" in found.row.args:
            continue
        export = exports.get((found.storage, found.row.name))
        volumes.append(
            Volume(
                name=found.row.name,
                owner=found.owner,
                reservation_id=found.reservation_id,
                reservation=found.reservation,
                size_mib=int(found.row.args.get("size_mib") or 0),
                storage=found.storage,
                target=export.row.args["target"] if export is not None else None,
                attached=_attached(export),
                standing=IN_PLACE if (standing := standing_of(found.row)) is DONE else standing,
            )
        )
    return volumes


def _attached(export: Stored | None) -> str | None:
    """Where it is shown: of a cluster that was saved and is restored, on the hosts of its new slot."""
    if export is None or export.row.have != "present":
        return None
    return export.node_host or ALL_HOSTS
