# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is free and when: the three questions as one page that is asked by its address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flask import render_template, request
from flask.typing import ResponseReturnValue
from wtforms import Form, SelectMultipleField, StringField

from app.booking import availability
from app.booking.availability import Share
from app.booking.request import check_hosts
from app.domain.errors import InvalidRequest
from app.domain.roll import Software
from app.domain.shape import Shape
from app.domain.shape_input import validate_shape
from app.domain.slot import Slot
from app.web import visit, words
from app.web.forms import SHARED_DISK, moment, number_or_none, read_fields, typed, whole_number
from app.web.group_form import SIZES, Group, chosen, place, read_groups, regrouped, suggested, typed_for

# What we suggest besides the groups.
SUGGESTED = {"home_gib": "2", "hours": "4", "after": ""}
# A link that says these by themselves asks about one group.
OF_ONE_GROUP = ("node_count", *SIZES)


class Question(Form):
    """The questions as typed. The node groups stand beside them."""

    hours = StringField("For how many hours")
    after = StringField("Not before")
    home_gib = StringField("Shared /home, GiB")
    shared_disk_gib = StringField(SHARED_DISK)
    rolls = SelectMultipleField("Software", validate_choice=False)


@dataclass(frozen=True)
class Answer:
    """The three answers, and what to hand to the form for a new cluster. `largest` is None where not even the smallest
    cluster has room."""

    slot: Slot
    shares: list[Share]
    earliest: Slot | None
    largest: Shape | None
    earliest_fields: dict[str, str | list[str]]
    largest_fields: dict[str, str | list[str]]


def ask() -> ResponseReturnValue:
    """Show the questions with what the address says; with any of it, also the answers."""
    given = {
        f"groups-0-{name}" if name in OF_ONE_GROUP else name: text for name, text in request.args.items()
    }
    software = visit.software()
    rolls = chosen(request.args, software)
    groups, question = suggested(given), Question(data={**SUGGESTED, **given, "rolls": rolls})
    changed = regrouped(groups, given.get("do", ""))
    answer, wrong = None, dict[str, str]()
    if given and changed is None:
        try:
            answer = _answer(question, groups, software)
        except InvalidRequest as why:
            wrong = dict(why.fields)
    page = render_template(
        "availability.html",
        question=question,
        groups=changed or groups,
        place=partial(place, groups),
        wrong=wrong,
        answer=answer,
        zone=visit.zone().key,
        rolls=software.rolls,
        appliances=words.appliances(software),
    )
    return page, 422 if wrong else 200


def _answer(question: Question, groups: Sequence[Group], software: Software) -> Answer:
    site, now, zone = visit.site(), visit.now(), visit.zone()
    limits = availability.limits(site.settings)
    raw, wrong = read_groups(groups)
    numbers, wrong_numbers = read_fields(
        question, {"hours": whole_number, "home_gib": whole_number, "shared_disk_gib": number_or_none}
    )
    wrong |= wrong_numbers
    after = _after(question.after.data, now, limits.ahead, wrong)
    hours = numbers.get("hours", 0)
    assert isinstance(hours, int)
    most = int(limits.length / timedelta(hours=1))
    if "hours" not in wrong and not 1 <= hours <= most:
        wrong["hours"] = f"Ask for 1 to {most:,} hours."
    asked: dict[str, object] = {
        "groups": raw,
        "home_gib": numbers.get("home_gib"),
        "shared_disk_gib": numbers.get("shared_disk_gib"),
        "rolls": question.rolls.data,
    }
    try:
        shape = validate_shape(
            asked, rolls=software.roll_names, appliances=software.appliance_names, limits=limits
        )
    except InvalidRequest as why:
        raise InvalidRequest({**why.fields, **wrong}) from why
    if wrong:
        raise InvalidRequest(wrong)
    check_hosts(site.database, visit.me(), asked, shape)
    slot = Slot(after, after + timedelta(hours=hours))
    earliest = availability.earliest(site.database, site.settings, shape, slot.length, after, now=now)
    number = availability.largest(site.database, site.settings, shape, slot, now=now)
    largest = shape.yielding.of(number) if number else None

    def fields(found: Slot, cluster: Shape) -> dict[str, str | list[str]]:
        start = "" if found.start <= now else typed(found.start, zone)
        when = {"start": start, "end": typed(found.end, zone)}
        disks = {"home_gib": question.home_gib.data, "shared_disk_gib": question.shared_disk_gib.data or ""}
        return {**when, **disks, **typed_for(groups, cluster), "rolls": list(cluster.rolls) or [""]}

    return Answer(
        slot,
        availability.shares(site.database, site.settings, slot, now=now),
        earliest,
        largest,
        fields(earliest, shape) if earliest else {},
        fields(slot, largest) if largest else {},
    )


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
