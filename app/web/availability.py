# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is free and when: the three questions as one page that is asked by its address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import render_template, request
from flask.typing import ResponseReturnValue

from app.booking import availability
from app.booking.availability import Share
from app.domain.errors import InvalidRequest
from app.domain.shape_input import validate_shape
from app.domain.slot import Slot
from app.web import visit
from app.web.forms import moment, typed, whole_number

SUGGESTED = {
    "node_count": "2",
    "vcpus": "1",
    "memory_mib": "1024",
    "disk_gib": "4",
    "home_gib": "2",
    "hours": "4",
}
LABELS = {
    "node_count": "Compute nodes",
    "vcpus": "vCPUs a node",
    "memory_mib": "Memory a node, MiB",
    "disk_gib": "Disk a node, GiB",
    "home_gib": "Shared /home, GiB",
    "hours": "For how many hours",
}
SIZES = ("vcpus", "memory_mib", "disk_gib")


@dataclass(frozen=True)
class Answer:
    """The three answers, and what to hand to the form for a new cluster."""

    slot: Slot
    shares: list[Share]
    earliest: Slot | None
    largest: int
    earliest_fields: dict[str, str]
    largest_fields: dict[str, str]


def ask() -> ResponseReturnValue:
    """Show the questions with what the address says; with any of it, also the answers."""
    asked = (
        SUGGESTED
        | {"after": ""}
        | {name: request.args[name] for name in (*SUGGESTED, "after") if name in request.args}
    )
    answer, wrong = None, dict[str, str]()
    if request.args:
        try:
            answer = _answer(asked)
        except InvalidRequest as why:
            wrong = dict(why.fields)
    page = render_template(
        "availability.html", asked=asked, labels=LABELS, wrong=wrong, answer=answer, zone=visit.zone().key
    )
    return page, 422 if wrong else 200


def _answer(asked: Mapping[str, str]) -> Answer:
    site, now, zone = visit.site(), visit.now(), visit.zone()
    limits = availability.limits(site.settings)
    numbers, wrong = _numbers(asked)
    after = _after(asked["after"], now, limits.ahead, wrong)
    hours = numbers.pop("hours", 0)
    most = int(limits.length / timedelta(hours=1))
    if "hours" not in wrong and not 1 <= hours <= most:
        wrong["hours"] = f"Ask for 1 to {most:,} hours."
    try:
        shape = validate_shape(numbers, limits=limits)
    except InvalidRequest as why:
        raise InvalidRequest({**why.fields, **wrong}) from why
    if wrong:
        raise InvalidRequest(wrong)
    slot = Slot(after, after + timedelta(hours=hours))
    earliest = availability.earliest(site.database, site.settings, shape, slot.length, after, now=now)
    largest = availability.largest(site.database, site.settings, shape, slot, now=now)

    def fields(found: Slot, number: int) -> dict[str, str]:
        start = "" if found.start <= now else typed(found.start, zone)
        sizes = {f"groups-0-{name}": asked[name] for name in SIZES} | {"groups-0-node_count": str(number)}
        return sizes | {"start": start, "end": typed(found.end, zone), "home_gib": asked["home_gib"]}

    return Answer(
        slot,
        availability.shares(site.database, site.settings, slot, now=now),
        earliest,
        largest,
        fields(earliest, shape.most) if earliest else {},
        fields(slot, largest) if largest else {},
    )


def _numbers(asked: Mapping[str, str]) -> tuple[dict[str, int], dict[str, str]]:
    numbers, wrong = {}, {}
    for name in SUGGESTED:
        try:
            numbers[name] = whole_number(asked[name])
        except ValueError as why:
            wrong[name] = str(why)
    return numbers, wrong


def _after(text: str, now: datetime, ahead: timedelta, wrong: dict[str, str]) -> datetime:
    """The moment to search from: now where nothing is said or it has passed."""
    try:
        after = max(now, moment(text, visit.zone())) if text.strip() else now
    except ValueError as why:
        wrong["after"] = str(why)
        return now
    if after > now + ahead:
        wrong["after"] = f"Book at most {ahead.days} days ahead."
        return now
    return after
