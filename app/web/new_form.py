# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The form for a new cluster: fields as they are typed. What is allowed is decided by app.domain alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import Form, HiddenField, SelectMultipleField, StringField, TextAreaField

from app.web.forms import SHARED_DISK, day, moment, number_or_none, read_fields, users, whole_number
from app.web.group_form import Group, read_groups


class NewReservation(FlaskForm):
    """A virtual cluster as typed: every field is text, so that nothing typed is lost when it is wrong.

    Its node groups are forms of their own, in `groups`.
    """

    token = HiddenField()
    name = StringField("Name of the cluster")
    start = StringField("Start")
    end = StringField("End")
    home_gib = StringField("Shared /home, GiB")
    shared_disk_gib = StringField(SHARED_DISK)
    rolls = SelectMultipleField("Software", validate_choice=False)
    users = TextAreaField("Users and their SSH keys")
    note = TextAreaField("Note to the cluster provider")
    every = StringField("Repeat it every so many")
    unit = StringField("Days or weeks", default="weeks")
    times = StringField("How many times")
    until = StringField("Or until the date")
    conflicts = StringField("Where a slot has no room", default="all")

    def __init__(self, groups: Sequence[Group], **fields: object) -> None:
        super().__init__(**fields)
        self.groups = groups

    def read(self, zone: ZoneInfo) -> tuple[dict[str, object], dict[str, str]]:
        """The raw request that `domain.request.validate` reads, and by field what could not even be read."""
        readers: dict[str, Callable[[str], object]] = {
            "name": str.strip,
            "start": lambda text: moment(text, zone) if text.strip() else None,
            "end": lambda text: moment(text, zone),
            "home_gib": whole_number,
            "shared_disk_gib": number_or_none,
            "users": users,
            "note": lambda text: text.replace("\r\n", "\n"),
        }
        raw, wrong = read_fields(self, readers)
        groups, wrong_there = read_groups(self.groups)
        return raw | {"rolls": self.rolls.data or [], "groups": groups}, wrong | wrong_there

    def again(self, zone: ZoneInfo) -> tuple[dict[str, object] | None, dict[str, str]]:
        """What `domain.recurrence.validate` reads, None for none, and by field what could not even be read."""
        if not any((self[field].data or "").strip() for field in ("every", "times", "until")):
            return None, {}
        readers: dict[str, Callable[[str], object]] = {
            "every": lambda text: whole_number(text) * (1 if self.unit.data == "days" else 7),
            "times": number_or_none,
            "until": lambda text: day(text) if text.strip() else None,
        }
        raw, wrong = read_fields(self, readers)
        return raw | {"conflicts": self.conflicts.data, "zone": zone.key}, wrong

    def typed(self) -> list[tuple[str, str]]:
        """All that was typed, by the names of the fields; a field with several values comes as often."""
        forms: list[Form] = [self, *self.groups]
        fields = [field for form in forms for field in form if field.name != "csrf_token"]
        values = [(one.name, one.data if isinstance(one.data, list) else [one.data]) for one in fields]
        return [(name, value or "") for name, several in values for value in several]

    def key(self) -> str:
        """A name for this very submission: the page's token with all that was typed, so that mending and sending
        again is a new request, and sending the same twice is not."""
        return hashlib.sha256(json.dumps(sorted(self.typed())).encode()).hexdigest()
