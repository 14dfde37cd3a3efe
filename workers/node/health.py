# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the disks under a host, in sentences: from the kernel's md arrays and from LVM's report; pure."""

from __future__ import annotations

import json
import re

from workers.node.steps import Output, Show
from workers.node.thin import Place

MDSTAT = "/proc/mdstat"
MOST_NAMED = 6
# As the kernel writes it (drivers/md/md.c, md_seq_show): "md0 : active raid1 sdb1[1] sda1[0](F)", then a line with
# "[2/1] [U_]": two disks belong to it, one is at work.
_ARRAY = re.compile(r"^(md\S*) : (\S+) ?(.*)((?:\n[ \t].*)*)", flags=re.MULTILINE)
_MEMBERS = re.compile(r"\[(\d+)/(\d+)\] \[[U_]+\]")
_FAILED = re.compile(r"(\S+)\[\d+\](?:\([A-Z]\))*\(F\)")
_REPAIR = re.compile(r"(recovery|reshape|resync) *= *([\d.]+%)")


def arrays(mdstat: str) -> list[str]:
    """A sentence for each md array that does not run or has fewer disks than belong to it."""
    return [words for found in _ARRAY.finditer(mdstat) if (words := _array(*found.groups()))]


def query(place: Place) -> Show:
    """The query for the volume group's lost disks, and for the volumes that suffer: a group may hold thousands."""
    fields, chosen = (
        "vg_missing_pv_count,lv_name,lv_health_status",
        f'lv_name={place.pool} || lv_health_status!=""',
    )
    return Show(("lvs", "--reportformat", "json", "--options", fields, "--select", chosen, place.group))


def volumes(place: Place, output: Output) -> list[str]:
    """What the answer to `query` tells; nothing where LVM itself failed, which other facts tell."""
    if output.rc != 0:
        return []
    rows = json.loads(output.stdout)["report"][0]["lv"]
    missing = max((int(row["vg_missing_pv_count"]) for row in rows), default=0)
    words = [f"volume group {place.group} misses {missing} of its disks"] if missing else []
    ill = [f"{row['lv_name']} ({row['lv_health_status']})" for row in rows if row["lv_health_status"]]
    if ill:
        more = f" and {len(ill) - MOST_NAMED} more" if len(ill) > MOST_NAMED else ""
        words.append(f"volumes of {place.group} are not well: {', '.join(ill[:MOST_NAMED])}{more}")
    return words


def _array(name: str, state: str, members: str, below: str) -> str | None:
    if state != "active":
        return f"md array {name} is {state}"
    counted, repair = _MEMBERS.search(below), _REPAIR.search(below)
    failed = _FAILED.findall(members)
    if counted is None or counted[1] == counted[2]:
        return f"md array {name}: {', '.join(failed)} failed" if failed else None
    told = f", {', '.join(failed)} failed" if failed else ""
    under_way = f", {repair[1]} at {repair[2]}" if repair else ""
    return f"md array {name} has {counted[2]} of its {counted[1]} disks{told}{under_way}"
