# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of the rows of a cluster that stands when it is laid out anew, with more nodes or fewer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.plan.layout import LUNS, Key, Row

# What tells of all nodes: the hosts that the network spans, the site roll with what shows it to the frontend, and the
# report on all of them; besides, the export that is no node's own, as it lists all hosts. Everything else stays as it
# was made, also where rolls or templates have changed since.
TELLS_OF_ALL = ("vlan", "vxlan", "address", "iso", "domain", "xen", "report")


@dataclass(frozen=True)
class Difference:
    """Rows to be written, each after those it needs; rows whose arguments and needs change; keys of rows that go."""

    new: tuple[Row, ...]
    changed: tuple[Row, ...]
    going: tuple[Key, ...]


def difference(laid: Sequence[Row], standing: Mapping[Key, Mapping[str, Any]]) -> Difference:
    """What is to change so that the rows that stand, with their arguments, become those laid out.

    `standing` are the reservation's own rows. A shared row is written with the new ones that need it. The same layout
    again makes no difference.
    """
    own = {row.key: row for row in laid if not row.is_shared}
    new = [row for row in own.values() if row.key not in standing]
    needed = {key for row in new for key in row.needs}
    written = [row for row in laid if row.key in needed or row in new]
    return Difference(
        tuple(row for row in written if row.is_shared or row.key not in standing),
        tuple(row for row in own.values() if _tells_of_all(row) and _is_changed(row, standing)),
        tuple(key for key in standing if key not in own),
    )


def _tells_of_all(row: Row) -> bool:
    return row.op in TELLS_OF_ALL or (row.op in LUNS and row.node_id is None)


def _is_changed(row: Row, standing: Mapping[Key, Mapping[str, Any]]) -> bool:
    """Whether the row stands with other arguments; compared as the database keeps them."""
    return row.key in standing and json.loads(json.dumps(row.args)) != standing[row.key]
