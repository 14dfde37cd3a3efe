# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a link fills in of a cluster: its software, and node groups as fields of a form, with the buttons that add and
remove one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from werkzeug.datastructures import MultiDict
from wtforms import Form, StringField

from app.domain.roll import Software
from app.domain.shape import Shape
from app.domain.shape_input import USUAL
from app.web.forms import names, number_or_none, read_fields, whole_number

# What we suggest to whoever asks for a cluster, and for one more group of it.
FIRST_GROUP = {"node_count": "2", "vcpus": "1", "memory_mib": "1024", "disk_gib": "4"}
ONE_MORE = {"node_count": "1"}
SIZES = ("vcpus", "memory_mib", "disk_gib")


class Group(Form):
    """A node group as typed; its fields are called groups-<index>-<field>, as `domain.shape_input` tells them wrong."""

    name = StringField("Name of the group")
    node_count = StringField("Compute nodes")
    least = StringField("At the least")
    appliance = StringField("Its nodes are made of")
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
            "appliance": str.strip,
            **dict.fromkeys(("node_count", *SIZES), whole_number),
            "least": number_or_none,
            "policy": str.strip,
            **dict.fromkeys(("node_names", "tags", "pin", "avoid"), names),
        }
        return read_fields(self, readers)


def read_groups(groups: Sequence[Group]) -> tuple[list[dict[str, object]], dict[str, str]]:
    """The raw groups, and by field what could not even be read."""
    found = [group.read() for group in groups]
    return [raw for raw, _ in found], {name: why for _, wrong in found for name, why in wrong.items()}


def place(groups: Sequence[Group], name: str) -> str:
    """Where the field is, for before a message that stands apart from it: nothing where there is one group."""
    if len(groups) == 1:
        return ""
    numbered = enumerate(groups, start=1)
    labels = {one.name: f"Group {number}, {one.label.text}: " for number, group in numbered for one in group}
    return labels.get(name, "")


def groups_in(given: Mapping[str, str], count: int | None = None) -> list[Group]:
    """The groups among the sent fields, `count` of them where that is known, else one at the least; of too many as many
    as are needed to see that."""
    if count is not None:
        return numbered([_sent(given, index) for index in range(count)])
    sent = [_sent(given, index) for index in range(USUAL.groups + 1)]
    number = sent.index({}) if {} in sent else len(sent)
    return numbered(sent[:number] or [{}])


def suggested(given: Mapping[str, str]) -> list[Group]:
    """The groups among the fields of an address, with our suggestions for what it does not say."""
    typed = [{name: text for name, text in one.data.items() if text is not None} for one in groups_in(given)]
    return numbered(FIRST_GROUP | one for one in typed)


def chosen(given: MultiDict[str, str], software: Software) -> list[str]:
    """The rolls that an address names, an empty one being none; all that are offered where it says nothing of them."""
    return [roll for roll in given.getlist("rolls") if roll] if "rolls" in given else software.roll_names


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


def typed_for(groups: Sequence[Group], shape: Shape) -> dict[str, str]:
    """All that was typed into the groups, by field, but with the nodes of `shape`, which has the same groups."""
    typed: dict[str, str] = {}
    for group, wanted in zip(groups, shape.groups, strict=True):
        typed |= {field.name: field.data for field in group if field.data}
        typed[group.node_count.name] = str(wanted.most)
        # A least that leaves nothing to give is none.
        if int((group.least.data or "").strip() or 0) >= wanted.most:
            typed[group.least.name] = ""
        if group.node_names.data:
            typed[group.node_names.name] = " ".join(wanted.node_names)
    return typed


def numbered(typed: Iterable[Mapping[str, str | None]]) -> list[Group]:
    """A form for each group that was typed, by field."""
    return [Group(prefix=f"groups-{index}-", data=one) for index, one in enumerate(typed)]


def _sent(given: Mapping[str, str], index: int) -> dict[str, str]:
    """What was sent of one group, by field."""
    prefix = f"groups-{index}-"
    return {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}
