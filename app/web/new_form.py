# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The form for a new cluster: fields as they are typed. What is allowed is decided by app.domain alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import Form, HiddenField, SelectMultipleField, StringField, TextAreaField

from app.domain.shape_input import USUAL
from app.web.forms import day, moment, names, users, whole_number

# What we suggest to whoever asks for a cluster, and for one more group of it.
FIRST_GROUP = {"node_count": "2", "vcpus": "1", "memory_mib": "1024", "disk_gib": "4"}
FIRST_HOME = {"home_gib": "2"}
ONE_MORE = {"node_count": "1"}
SIZES = ("vcpus", "memory_mib", "disk_gib")


class Group(Form):
    """A node group as typed; its fields are called groups-<index>-<field>, as `domain.shape_input` tells them wrong."""

    name = StringField("Name of the group")
    node_count = StringField("Compute nodes")
    least = StringField("At the least")
    vcpus = StringField("vCPUs a node")
    memory_mib = StringField("Memory a node, MiB")
    disk_gib = StringField("Disk a node, GiB")
    node_names = StringField("Names of the nodes")
    policy = StringField("Place its nodes")
    tags = StringField("Only on hosts marked")
    pin = StringField("Only on these hosts")
    avoid = StringField("Not on these hosts")

    def read(self) -> tuple[dict[str, object], dict[str, str]]:
        """The raw group that `domain.shape_input` reads, and by field what could not even be read."""
        readers: dict[str, Callable[[str], object]] = {
            "name": str.strip,
            **dict.fromkeys(("node_count", *SIZES), whole_number),
            "least": lambda text: whole_number(text) if text.strip() else None,
            "policy": str.strip,
            **dict.fromkeys(("node_names", "tags", "pin", "avoid"), names),
        }
        return read_fields(self, readers)


class NewReservation(FlaskForm):
    """A virtual cluster as typed: every field is text, so that nothing typed is lost when it is wrong.

    Its node groups are forms of their own, in `groups`.
    """

    token = HiddenField()
    name = StringField("Name of the cluster")
    start = StringField("Start")
    end = StringField("End")
    home_gib = StringField("Shared /home, GiB")
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
            "users": users,
            "note": lambda text: text.replace("\r\n", "\n"),
        }
        raw, wrong = read_fields(self, readers)
        groups = [group.read() for group in self.groups]
        for _, wrong_here in groups:
            wrong |= wrong_here
        return raw | {"rolls": self.rolls.data or [], "groups": [group for group, _ in groups]}, wrong

    def again(self, zone: ZoneInfo) -> tuple[dict[str, object] | None, dict[str, str]]:
        """What `domain.recurrence.validate` reads, None for none, and by field what could not even be read."""
        if not any((self[field].data or "").strip() for field in ("every", "times", "until")):
            return None, {}
        readers: dict[str, Callable[[str], object]] = {
            "every": lambda text: whole_number(text) * (1 if self.unit.data == "days" else 7),
            "times": lambda text: whole_number(text) if text.strip() else None,
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


def groups_in(given: Mapping[str, str], count: int | None = None) -> list[Group]:
    """The groups among the sent fields, `count` of them where that is known, else one at the least; of too many as many
    as are needed to see that."""
    if count is not None:
        return numbered([_sent(given, index) for index in range(count)])
    sent = [_sent(given, index) for index in range(USUAL.groups + 1)]
    number = sent.index({}) if {} in sent else len(sent)
    return numbered(sent[:number] or [{}])


def regrouped(groups: Sequence[Group], do: str) -> list[Group] | None:
    """The groups after the button `do` (add, or remove-<index>), None for any other button."""
    typed = [group.data for group in groups]
    if do == "add":
        last = typed[-1]
        typed.append(ONE_MORE | {size: last[size] for size in SIZES})
    elif (found := re.fullmatch("remove-([0-9]{1,2})", do)) is None:
        return None
    elif len(typed) > 1:
        typed = [one for index, one in enumerate(typed) if index != int(found[1])]
    return numbered(typed)


def numbered(typed: Iterable[Mapping[str, str | None]]) -> list[Group]:
    """A form for each group that was typed, by field."""
    return [Group(prefix=f"groups-{index}-", data=one) for index, one in enumerate(typed)]


def place(groups: Sequence[Group], name: str) -> str:
    """Where the field is, for before a message that stands apart from it: nothing where there is one group."""
    if len(groups) == 1:
        return ""
    labels = {
        one.name: f"Group {number}, {one.label.text}: "
        for number, group in enumerate(groups, start=1)
        for one in group
    }
    return labels.get(name, "")


def _sent(given: Mapping[str, str], index: int) -> dict[str, str]:
    """What was sent of one group, by field."""
    prefix = f"groups-{index}-"
    return {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}


def read_fields(
    form: Form, readers: Mapping[str, Callable[[str], object]]
) -> tuple[dict[str, object], dict[str, str]]:
    """What could be read, and by field's name what could not."""
    raw: dict[str, object] = {}
    wrong: dict[str, str] = {}
    for field, read in readers.items():
        try:
            raw[field] = read(form[field].data or "")
        except ValueError as why:
            wrong[form[field].name] = str(why)
    return raw, wrong
