# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is free and when, and which software there is: asked by the address alone, as the page is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from app.api import body, show
from app.api.fields import MOMENT_SCHEMA, TEXT, Field, Fields, digits, duration, gib, mib, moment
from app.api.reservation import NEW, groups
from app.booking import availability
from app.booking.request import check_hosts
from app.domain.errors import InvalidRequest
from app.domain.refusal import Alternative
from app.domain.roll import Roll
from app.domain.shape import Shape
from app.domain.shape_input import Limits, validate_shape
from app.domain.slot import Slot
from app.web import visit

# What is asked for where the address does not say: as the page suggests.
SUGGESTED_HOME_GIB = 2
SUGGESTED = {"vcpus": 1, "memory_mib": 1024, "disk_gib": 4}
# name in the address -> name in the domain.
SIZES = {
    "nodes": "node_count",
    "vcpus": "vcpus",
    "memory": "memory_mib",
    "disk": "disk_gib",
    "home": "home_gib",
    "shared_disk": "shared_disk_gib",
}
COUNT = {"type": "integer", "minimum": 1, "maximum": 999999999}
AMOUNT = TEXT | {"pattern": "^[0-9]{1,9} ?(MiB|GiB|TiB)$"}


def _groups(value: object) -> list[dict[str, object]]:
    try:
        found = body.parse(str(value))
    except ValueError as why:
        raise ValueError(f"Give the groups as JSON, as a request has them: {why}.") from None
    return groups(found)


def _names(value: object) -> tuple[str, ...]:
    return tuple(name.strip() for name in str(value).split(",") if name.strip())


QUESTION: Fields = {
    "nodes": Field(digits, COUNT | {"description": "Compute nodes; or say groups."}),
    "groups": Field(
        _groups,
        {
            **NEW["groups"].schema,
            "description": "In place of nodes, vcpus, memory and disk: groups as a request has them, as JSON.",
        },
        is_json=True,
    ),
    "duration": Field(
        duration, TEXT | {"description": "ISO 8601: P7D, PT4H30M.", "examples": ["P7D"]}, is_required=True
    ),
    "vcpus": Field(digits, COUNT | {"default": 1, "description": "Of each node."}),
    "memory": Field(mib, AMOUNT | {"default": "1GiB", "description": "Of each node."}),
    "disk": Field(gib, AMOUNT | {"default": "4GiB", "description": "Of each node."}),
    "home": Field(gib, AMOUNT | {"default": "2GiB", "description": "Shared by all nodes."}),
    "shared_disk": Field(
        gib, AMOUNT | {"default": "0GiB", "description": "A disk that every node may write; 0: none."}
    ),
    "rolls": Field(
        _names,
        TEXT
        | {
            "description": "Those that have licence seats count; with commas between. None: no roll.",
            "examples": ["nfs,slurm"],
        },
    ),
    "after": Field(moment, MOMENT_SCHEMA | {"description": "Not before; none: now."}),
    "before": Field(moment, MOMENT_SCHEMA | {"description": "It must have begun by then."}),
}


def ask() -> ResponseReturnValue:
    """The earliest slot, the largest cluster in the first one possible, and what is free throughout that.

    Nothing is held by asking. Each alternative is the part of a request that says when and how large.
    """
    site, now = visit.site(), visit.now()
    limits = availability.limits(site.settings)
    values, wrong = body.query(QUESTION)
    asked, software = _asked(values, wrong), visit.software()
    shape = None
    try:
        shape = validate_shape(
            asked, rolls=software.roll_names, appliances=software.appliance_names, limits=limits
        )
    except InvalidRequest as why:
        outer = {inner: outer for outer, inner in SIZES.items()}
        wrong = {outer.get(name, name): message for name, message in why.fields.items()} | wrong
    after = max(now, values.get("after", now))
    length: timedelta = values.get("duration", timedelta(hours=1))
    wrong |= _wrong_times(after, length, values.get("before"), now, limits)
    if wrong or shape is None:
        raise InvalidRequest(wrong)
    check_hosts(site.database, visit.me(), asked, shape)
    slot = Slot(after, after + length)
    earliest = availability.earliest(
        site.database, site.settings, shape, length, after, values.get("before"), now=now
    )
    number = availability.largest(site.database, site.settings, shape, slot, now=now)
    largest = shape.yielding.of(number) if number else None
    instead = []
    if earliest is not None and earliest != slot:
        instead.append(Alternative("later", earliest, shape))
    if largest is not None and number < shape.least:
        instead.append(Alternative("smaller", slot, largest))
    return jsonify(
        earliest=show.slot(earliest) if earliest else None,
        largest=show.slot(slot) | {"node_count": number, "groups": _counts(largest)},
        free=[
            {
                "role": share.role,
                "resource": share.resource,
                "free": share.free,
                "total": share.total,
                "largest": share.largest,
            }
            for share in availability.shares(site.database, site.settings, slot, now=now)
        ],
        alternatives=show.alternatives(instead, asked | show.slot(slot)),
    )


def _asked(values: Mapping[str, Any], wrong: Mapping[str, str]) -> dict[str, Any]:
    """The shape as `domain.shape_input` reads it: of groups, or of the one that the address says by itself."""
    sizes = {inner: values[outer] for outer, inner in SIZES.items() if outer in values}
    asked = {"home_gib": SUGGESTED_HOME_GIB, "rolls": values.get("rolls", ())} | sizes
    if "groups" in values:
        return asked | {"groups": values["groups"]}
    if "groups" in wrong:
        asked.setdefault("node_count", 1)  # the groups are told wrong; that nothing else says how many is not
    return SUGGESTED | asked


def _counts(shape: Shape | None) -> list[dict[str, Any]]:
    return [{"name": group.name, "node_count": group.most} for group in (shape.groups if shape else ())]


def _wrong_times(
    after: datetime, length: timedelta, before: datetime | None, now: datetime, limits: Limits
) -> dict[str, str]:
    wrong: dict[str, Any] = {}
    if not timedelta(0) < length <= limits.length:
        wrong["duration"] = f"A slot lasts at most {limits.length.days} days, and longer than none."
    if after > now + limits.ahead:
        wrong["after"] = f"Book at most {limits.ahead.days} days ahead."
    if before is not None and before < after:
        wrong["before"] = "This is before the time to search from."
    return wrong


def rolls() -> ResponseReturnValue:
    """The software that can be asked for: rolls for a cluster, appliances for the nodes of a group.

    What is not offered comes with every cluster.
    """
    software = visit.software()
    return jsonify(rolls=_told(software.rolls), appliances=_told(software.appliances))


def _told(found: Sequence[Roll]) -> list[dict[str, str]]:
    return [{"name": roll.name, "version": roll.version, "summary": roll.summary} for roll in found]
