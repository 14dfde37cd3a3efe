# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person may ask for as the shape of a cluster, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.domain import field
from app.domain.errors import InvalidRequest
from app.domain.placement import POLICIES
from app.domain.shape import COMPUTE, NodeGroup, Shape

# The group of whoever names none.
NODE = "node"
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
MAX_TAGS = 10
# What `pin` and `avoid` may name; a host is called what its operator called it.
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_HOSTS = 100
# Short enough that nine digits may follow it in a node's name.
GROUP_NAME_LENGTH = 20
# Other things of the cluster go by these names: its head, its own address, the batch system's defaults and its queue of
# all nodes.
TAKEN_NODE_NAMES = {
    "frontend": "the frontend's own name",
    "localhost": "every machine's name for itself",
    "default": "a word of the batch system",
}
TAKEN_GROUP_NAMES = ("frontend", "default", "main")
KEYS = frozenset(
    {
        "name",
        "appliance",
        "node_count",
        "least",
        "node_names",
        "vcpus",
        "memory_mib",
        "disk_gib",
        "policy",
        "tags",
        "pin",
        "avoid",
    }
)


@dataclass(frozen=True)
class Limits:
    """What this site lets one request ask for at the most."""

    nodes: int = 1000
    groups: int = 10
    vcpus: int = 64
    memory_mib: int = 1 << 20
    memory_min_mib: int = 384
    disk_gib: int = 1 << 14
    disk_min_gib: int = 3
    # 0: this site has no volume that several nodes may write.
    shared_disk_gib: int = 1 << 14
    length: timedelta = timedelta(days=366)
    ahead: timedelta = timedelta(days=730)


USUAL = Limits()


def validate_shape(
    raw: Mapping[str, object],
    *,
    rolls: Collection[str] = (),
    appliances: Collection[str] = (COMPUTE,),
    limits: Limits = USUAL,
) -> Shape:
    """The shape in `raw`, or InvalidRequest with one message for each field that is wrong; see `read_shape`."""
    wrong: dict[str, str] = {}
    shape = read_shape(raw, rolls, appliances, limits, wrong)
    if wrong:
        raise InvalidRequest(wrong)
    return shape


def read_shape(
    raw: Mapping[str, object],
    rolls: Collection[str],
    appliances: Collection[str],
    limits: Limits,
    wrong: dict[str, str],
) -> Shape:
    """The shape in `raw`: home_gib (int), shared_disk_gib (int, 0 where it is not said), rolls (names) and `groups`, a
    list of mappings with the keys in KEYS.

    Of a group, `node_count` (the most it may have) and the sizes vcpus, memory_mib and disk_gib are whole numbers that
    must be there. `least` is node_count where it is not said, `node_names` (as many as node_count) <name>1, <name>2,
    ..., `name` "node", `appliance` "compute", `policy` spread; tags, pin and avoid are lists of names. A group's field
    is told wrong as `groups-<index>-<field>`. Without `groups` the same fields, but for the name, beside home_gib
    make the one group, and are told wrong by their own names.
    """
    home = field.number(raw.get("home_gib"), "home_gib", "GiB for /home", 1, limits.disk_gib, wrong)
    shared = _shared(raw.get("shared_disk_gib"), limits.shared_disk_gib, wrong)
    groups = tuple(
        _group(one, prefix, appliances, limits, wrong) for prefix, one in _listed(raw, limits, wrong)
    )
    _check_names(groups, wrong)
    total = sum(group.most for group in groups)
    if total > limits.nodes:
        wrong["groups"] = f"The groups have {total:,} nodes together. Ask for {limits.nodes:,} at the most."
    chosen = tuple(dict.fromkeys(field.texts(raw.get("rolls"))))
    unknown = [roll for roll in chosen if roll not in rolls]
    if unknown:
        wrong["rolls"] = f"There is no roll {unknown[0]!r} here. Choose among: {', '.join(sorted(rolls))}."
    return Shape(groups, home, chosen, shared)


def _shared(value: object, most: int, wrong: dict[str, str]) -> int:
    """The size of the volume that every node may write: 0 for none."""
    if value is None or (value == 0 and not isinstance(value, bool)):
        return 0
    if not most:
        wrong["shared_disk_gib"] = (
            "Under this site's hypervisor no volume can be written by several nodes: ask for 0."
        )
        return 0
    return field.number(value, "shared_disk_gib", "GiB that every node may write", 0, most, wrong)


def field_of(raw: Mapping[str, object], index: int, name: str) -> str:
    """What a field of the group at `index` is told wrong as."""
    return name if raw.get("groups") is None else f"groups-{index}-{name}"


def count_field(raw: Mapping[str, object]) -> str:
    """What the number of all nodes is told wrong as: the group's own field where there is one group only."""
    groups = raw.get("groups")
    several = isinstance(groups, Sequence) and len(groups) > 1
    return "groups" if several else field_of(raw, 0, "node_count")


def _listed(
    raw: Mapping[str, object], limits: Limits, wrong: dict[str, str]
) -> list[tuple[str, Mapping[str, object]]]:
    """Each group as it was sent, with what its fields' names begin with."""
    given = raw.get("groups")
    if given is None:
        return [("", {key: raw.get(key) for key in KEYS - {"name"}})]
    if not isinstance(given, Sequence) or not given or not all(isinstance(one, Mapping) for one in given):
        wrong["groups"] = "Describe at least one group of compute nodes."
    elif len(given) > limits.groups:
        wrong["groups"] = f"Ask for {limits.groups:,} groups at the most."
    elif beside := sorted((KEYS - {"name"}) & {key for key, value in raw.items() if value is not None}):
        wrong["groups"] = f"Say {beside[0]} in the groups, not beside them."
    else:
        return [(f"groups-{index}-", one) for index, one in enumerate(given)]
    return []


def _group(
    raw: Mapping[str, object],
    prefix: str,
    appliances: Collection[str],
    limits: Limits,
    wrong: dict[str, str],
) -> NodeGroup:
    for key in sorted(set(raw) - KEYS, key=str)[:1]:
        wrong[f"{prefix}{key!s:.40}"] = f"A group has no such field. It has: {', '.join(sorted(KEYS))}."
    name = raw.get("name") or NODE
    name = field.label(name, f"{prefix}name", "A group's name", wrong, GROUP_NAME_LENGTH)
    if name in TAKEN_GROUP_NAMES:
        wrong[f"{prefix}name"] = f"{name!r} means something else in a cluster: choose another name."
    appliance = str(raw.get("appliance") or COMPUTE)
    if appliance not in appliances:
        wrong[f"{prefix}appliance"] = (
            f"There is no appliance {appliance!r:.42}. Choose among: {', '.join(sorted(appliances))}."
        )
    most = field.number(raw.get("node_count"), f"{prefix}node_count", "compute nodes", 1, limits.nodes, wrong)
    least = most
    if raw.get("least") is not None and most:
        least = field.number(raw.get("least"), f"{prefix}least", "nodes at the least", 1, most, wrong)
    policy = str(raw.get("policy") or POLICIES[0])
    if policy not in POLICIES:
        wrong[f"{prefix}policy"] = f"There is no policy {policy!r:.42}. Choose among: {', '.join(POLICIES)}."
    vcpus, memory_mib, disk_gib = (
        field.number(raw.get(key), f"{prefix}{key}", what, low, high, wrong)
        for key, what, low, high in (
            ("vcpus", "vCPUs a node", 1, limits.vcpus),
            ("memory_mib", "MiB of memory a node", limits.memory_min_mib, limits.memory_mib),
            ("disk_gib", "GiB of disk a node", limits.disk_min_gib, limits.disk_gib),
        )
    )
    pin, avoid = _hosts(raw, prefix, wrong)
    return NodeGroup(
        name,
        _node_names(raw.get("node_names"), name, most, f"{prefix}node_names", wrong),
        least,
        vcpus,
        memory_mib,
        disk_gib,
        appliance=appliance,
        policy=policy,
        tags=_tags(raw.get("tags"), f"{prefix}tags", wrong),
        pin=pin,
        avoid=avoid,
    )


def _tags(value: object, where: str, wrong: dict[str, str]) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(field.texts(value)))
    if (value and not tags) or len(tags) > MAX_TAGS or not all(TAG.fullmatch(tag) for tag in tags):
        wrong[where] = (
            f"At most {MAX_TAGS} tags of lower-case letters, digits, dots, underscores and hyphens."
        )
    return tags


def _hosts(raw: Mapping[str, object], prefix: str, wrong: dict[str, str]) -> list[tuple[str, ...]]:
    """The hosts in `pin` and in `avoid`."""
    named = {key: tuple(dict.fromkeys(field.texts(raw.get(key)))) for key in ("pin", "avoid")}
    for key, hosts in named.items():
        if (raw.get(key) and not hosts) or len(hosts) > MAX_HOSTS or not all(map(HOST.fullmatch, hosts)):
            wrong[prefix + key] = f"Give the names of at most {MAX_HOSTS} hosts."
    both = [host for host in named["pin"] if host in named["avoid"]]
    if both:
        wrong.setdefault(
            f"{prefix}avoid", f"{both[0]!r:.65} is to be used and to be avoided: decide for one."
        )
    return list(named.values())


def _node_names(value: object, group: str, count: int, where: str, wrong: dict[str, str]) -> tuple[str, ...]:
    given = field.texts(value)
    if not given:
        if value:
            wrong[where] = "Give the nodes' names as a list."
        return tuple(f"{group}{i}" for i in range(1, count + 1))
    bad = [name for name in given if not field.is_label(name)]
    taken = [name for name in given if name in TAKEN_NODE_NAMES]
    if bad:
        field.label(bad[0], where, f"The node name {bad[0][:40]!r}", wrong)
    elif taken:
        wrong[where] = f"{taken[0]!r} is {TAKEN_NODE_NAMES[taken[0]]}: choose another for the compute node."
    elif len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        wrong[where] = f"Two nodes are called {twice!r}: give each its own name."
    elif count and len(given) != count:
        wrong[where] = f"{len(given)} names for {count} nodes: give one for each, or none."
    return given


def _check_names(groups: Sequence[NodeGroup], wrong: dict[str, str]) -> None:
    """No two groups, and no two nodes of different groups, by one name."""
    group_names, node_names = set[str](), dict[str, str]()
    for index, group in enumerate(groups):
        if group.name and group.name in group_names:
            wrong.setdefault(
                f"groups-{index}-name", f"Two groups are called {group.name!r}: give each its own name."
            )
            continue
        group_names.add(group.name)
        both = next((name for name in group.node_names if name in node_names), None)
        if both is not None:
            wrong.setdefault(
                f"groups-{index}-node_names",
                f"A node of the group {node_names[both]!r} is called {both!r} already: name these otherwise.",
            )
        node_names |= dict.fromkeys(group.node_names, group.name)
