# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The form for a counter-offer: filled in with what was asked for, and read as what is offered instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import SelectMultipleField, StringField, TextAreaField

from app.domain.offer import Terms
from app.domain.shape import NodeGroup
from app.web.forms import SHARED_DISK, moment, number_or_none, read_fields, typed, whole_number
from app.web.group_form import SIZES, Group, numbered


class CounterOffer(FlaskForm):
    """What is offered, as typed; the node groups are forms of their own, in `groups`."""

    start = StringField("Start")
    end = StringField("End")
    home_gib = StringField("Shared /home, GiB")
    shared_disk_gib = StringField(SHARED_DISK)
    rolls = SelectMultipleField("Software", validate_choice=False)
    message = TextAreaField("Why you offer this instead")

    def __init__(self, groups: Sequence[Group], **fields: object) -> None:
        super().__init__(**fields)
        self.groups = groups

    def read(self, asked: Terms, zone: ZoneInfo, most: int) -> tuple[dict[str, object], dict[str, str]]:
        """The raw terms that `booking.offer.make` reads, and by field what could not even be read.

        A time as it was filled in is the one `asked` for, to the microsecond. Nodes keep the names they have; of those
        that come, `most` at the most are named.
        """
        times = {typed(one, zone): one for one in (asked.slot.start, asked.slot.end)}
        readers: dict[str, Callable[[str], object]] = {
            "start": lambda text: times.get(text) or moment(text, zone) if text.strip() else None,
            "end": lambda text: times.get(text) or moment(text, zone),
            "home_gib": whole_number,
            "shared_disk_gib": number_or_none,
        }
        raw, wrong = read_fields(self, readers)
        # No start means now: one that cannot be read must not.
        raw = {name: self[name].data for name in wrong} | raw | {"rolls": self.rolls.data or []}
        groups = []
        for group, form in zip(asked.shape.groups, self.groups, strict=True):
            sizes, told = form.read()
            wrong |= told
            names = _names(group, sizes.get("node_count"), asked, most)
            kept = {"name": group.name, "appliance": group.appliance, "node_names": names}
            groups.append(sizes | kept)
        return raw | {"groups": groups}, wrong


def groups_of(terms: Terms) -> list[Group]:
    """A form for each group, filled in."""
    return numbered([_texts(group) for group in terms.shape.groups])


def _texts(group: NodeGroup) -> dict[str, str]:
    values = asdict(group) | {"node_count": group.most}
    shown = {"node_count", *SIZES, "policy", "tags", "pin", "avoid"}
    if group.least < group.most:
        shown.add("least")
    return {
        name: " ".join(value) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
        if name in shown
    }


def _names(group: NodeGroup, number: object, asked: Terms, most: int) -> tuple[str, ...]:
    """The nodes of the group when there are so many; none where that is no number of nodes."""
    if not isinstance(number, int) or not 1 <= number <= most:
        return ()
    return group.of(number, asked.shape.node_names).node_names
