# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""States, times and durations in words: pure, so that every sentence people read can be tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.db.offer import Offer
from app.db.reservation import NodeGroup, Reservation
from app.domain.lifecycle import FINAL
from app.domain.placement import POLICIES
from app.domain.refusal import Difference
from app.domain.roll import Software
from app.domain.shape import COMPUTE, Shape
from app.domain.shape import NodeGroup as Group
from app.web.steps import Progress, Standing

STATES = {
    "requested": Standing("wait", "?", "Waiting for approval"),
    "approved": Standing("good", "✓", "Approved"),
    "building": Standing("busy", "▸", "Building"),
    "ready": Standing("good", "●", "Ready"),
    "suspended": Standing("wait", "‖", "Suspended"),
    "ending": Standing("busy", "◂", "Ending"),
    "saved": Standing("calm", "▣", "Saved"),
    "ended": Standing("calm", "■", "Ended"),
    "rejected": Standing("bad", "✕", "Rejected"),
    "cancelled": Standing("calm", "✕", "Cancelled"),
    "expired": Standing("calm", "⌛", "Expired"),
}

# What is on the way from ready to suspended or back, which the state alone does not tell.
SUSPENDING = Standing("busy", "‖", "Suspending")
RESUMING = Standing("busy", "▸", "Resuming")
ON_THE_WAY = (SUSPENDING, RESUMING)

OFFERS = {
    "open": Standing("wait", "?", "Offered"),
    "accepted": Standing("good", "✓", "Accepted"),
    "declined": Standing("calm", "✕", "Declined"),
    "withdrawn": Standing("calm", "✕", "Withdrawn"),
    "expired": Standing("calm", "⌛", "Expired"),
}

# How the nodes of a group are placed, as one chooses it in the form.
POLICY_WORDS = dict(zip(POLICIES, ("over many hosts", "on few hosts"), strict=True))
# The fields of a reservation that people change, where the field's own name is no word.
FIELDS = {
    "node_count": "number of nodes",
    "home_gib": "size of /home, GiB,",
    "shared_disk_gib": "size of the disk that every node may write, GiB,",
    "rolls": "software",
    "hosts": "place",
    "keep_until": "time until which its disks are kept",
}


def standing(row: Reservation) -> Standing:
    """The state as people read it, on its way to being suspended or resumed too."""
    if row.state == "ready" and row.suspend_requested_at is not None:
        return SUSPENDING
    if row.state == "suspended" and row.suspend_requested_at is None:
        return RESUMING
    return STATES[row.state]


def duration(seconds: float | None) -> str:
    """0.4 s, 42 s, 2 min 41 s, 1 h 05 min, 3 d 4 h; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def away(moment: datetime, now: datetime) -> str:
    """How far a moment is from now: `in 2 h 05 min`, `11 min ago`, `now`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    # Whole minutes are precise enough beyond a minute: the exact time stands beside it.
    length = duration(abs(seconds) if abs(seconds) < 60 else abs(seconds) // 60 * 60).removesuffix(" 00 s")
    length = length if "." not in length else f"{round(abs(seconds))} s"
    return f"in {length}" if seconds > 0 else f"{length} ago"


def clock(moment: datetime, zone: ZoneInfo) -> str:
    """Mon 2 Dec 2026 09:00 JST."""
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y %H:%M} {local.tzname()}"


def clock_s(moment: datetime, zone: ZoneInfo) -> str:
    """10:14:03 JST, for what happens within a day."""
    local = moment.astimezone(zone)
    return f"{local:%H:%M:%S} {local.tzname()}"


def difference(one: Difference, now: datetime, zone: ZoneInfo) -> str:
    """What somebody changed: `anna changed the end from Mon 2 Dec 2026 09:00 UTC to ... 5 min ago.`"""
    ago = away(one.at, now)
    if one.field == "cancelled":
        return f"{one.by} cancelled it {ago}."
    if one.field == "suspended":
        return f"{one.by} {'resumed' if one.after is None else 'suspended'} it {ago}."
    if one.field == "offer":
        did = {"made": "made an", "withdrawn": "withdrew the"}.get(str(one.after), f"{one.after} the")
        return f"{one.by} {did} offer {ago}."
    before, after = (_value(one.field, value, zone) for value in (one.before, one.after))
    return f"{one.by} changed the {FIELDS.get(one.field, one.field)} from {before} to {after} {ago}."


def _value(field: str, value: str | int | None, zone: ZoneInfo) -> str:
    if field in ("start", "end", "keep_until") and isinstance(value, str):
        return clock(datetime.fromisoformat(value), zone)
    return "nothing" if value is None else str(value)


def mib(amount: int) -> str:
    """512 MiB, 1.5 GiB, 2 TiB."""
    for unit, size in (("TiB", 1 << 20), ("GiB", 1 << 10)):
        if amount >= size:
            return f"{amount / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{amount} MiB"


def amount(number: float) -> str:
    """1,234 or 2.5: to the tenth, where there are tenths."""
    return f"{number:,.1f}".removesuffix(".0")


def groups(row: Reservation) -> list[str]:
    """Each node group with the nodes it has: node: 2 × 1 vCPU, 512 MiB, 4 GiB; big: 12 of 8 to 16 × ..."""
    granted = Counter(node.group_id for node in row.nodes)
    return [
        f"{group.name}: {granted[group.id]:,}"
        + (f" of {group.least:,} to {group.most:,}" if group.least < group.most else "")
        + _size(group)
        + ("" if group.appliance == COMPUTE else f", {group.appliance}")
        for group in row.groups
    ]


def appliances(software: Software) -> list[tuple[str, str]]:
    """What to choose among for the nodes of a group, as (value, text)."""
    return [(roll.name, f"{roll.name}: {roll.summary}") for roll in software.appliances]


def sizes(shape: Shape) -> list[str]:
    """Each group of a shape with its nodes, like `groups`: node: 2 × ...; big: 8 to 16 × ..."""
    return [
        f"{group.name}: "
        + (f"{group.least:,} to " if group.least < group.most else "")
        + f"{group.most:,}{_size(group)}"
        for group in shape.groups
    ]


def numbers(shape: Shape) -> str:
    """How many nodes: `4 nodes`; of several groups `12 of big and 1 of node`."""
    if len(shape.groups) == 1:
        return f"{shape.most:,} node" + ("s" if shape.most != 1 else "")
    each = [f"{group.most:,} of {group.name}" for group in shape.groups]
    return f"{', '.join(each[:-1])} and {each[-1]}"


def _size(group: NodeGroup | Group) -> str:
    """How large its nodes are, and how they were to be placed, where that is not as usual."""
    where: list[tuple[str, Sequence[str]]] = [
        ("placed by", [] if group.policy == POLICIES[0] else [group.policy]),
        ("on hosts marked", group.tags),
        ("only on", group.pin),
        ("not on", group.avoid),
    ]
    told = "".join(f", {word} {', '.join(values)}" for word, values in where if values)
    return f" × {group.vcpus} vCPU, {mib(group.memory_mib)}, {group.disk_gib} GiB{told}"


def sentence(
    row: Reservation,
    progress: Progress,
    now: datetime,
    zone: ZoneInfo,
    decider: str | None = None,
    offer: Offer | None = None,
) -> str:
    """Where the reservation stands and what comes next. `decider` is the name of who approved or rejected it, `offer`
    what is offered in its place and open."""
    if row.cancel_requested_at is not None and row.state not in (*FINAL, "ending"):
        asked = away(row.cancel_requested_at, now)
        return f"Cancelled {asked}. The next pass takes down what stands and frees the rest."
    by = f" by {decider}" if decider else ""
    match row.state:
        case "requested" if offer is not None:
            return (
                f"{offer.made_by.name} offered something else, which {row.owner.name} accepts or declines until"
                f" {clock(offer.expires_at, zone)}."
            )
        case "requested":
            return (
                f"Submitted {clock(row.requested_at, zone)}. Needs approval by a cluster provider."
                f" Its place is held until {clock(row.hold_until, zone)}."
            )
        case "approved":
            return f"Approved{by}. {row.why or ''}".strip()
        case "building":
            return _building(row, progress, now)
        case "ready" if row.suspend_requested_at is not None:
            return (
                f"Asked for {away(row.suspend_requested_at, now)}. Its machines are being saved to disk, the frontend"
                " last; what they take of their hosts is free after that."
            )
        case "suspended" if row.suspend_requested_at is not None:
            return (
                f"Suspended {away(row.suspend_requested_at, now)}: its machines are on disk, and go on where they were"
                f" when it is resumed. The slot ends {away(row.end_at, now)}, and then {_kept(row)}."
            )
        case "suspended":
            return "Its machines are read back from disk, the frontend first, and go on where they were."
        case "ready":
            return f"{_ready(row, now)} The slot ends {away(row.end_at, now)}."
        case "saved":
            kept = f" until {clock(row.keep_until, zone)}" if row.keep_until else ""
            return (
                f"Its slot is over; its disks are kept{kept}. Nothing of it runs, and it may be booked again."
            )
        case "ending":
            return f"{progress.done} of {progress.total} things are removed. Capacity is free again after the last one."
        case "ended":
            kept = "Its disks are kept" if row.saved_id is not None else "Nothing is kept"
            return f"Everything was removed from every host {away(row.ended_at or row.end_at, now)}. {kept}."
        case "rejected":
            return f"Rejected{by}: {row.reason or 'no reason was given'}"
        case "cancelled":
            return "Cancelled before anything was built. Nothing was or is held."
        case "expired":
            return (
                "Nobody approved it in time, so its place was freed."
                if row.decided_at is None
                else "The slot passed before it could be built. Its place was freed."
            )
        case _:
            return row.why or "Nothing to do for you."


def _kept(row: Reservation) -> str:
    """What is kept of the cluster when its slot is over."""
    return "nothing is kept" if row.keep_until is None and row.saved_id is None else "its disks are kept"


def _ready(row: Reservation, now: datetime) -> str:
    if row.ready_at is None:
        return "People can log in."
    late_s = (row.ready_at - row.start_at).total_seconds()
    late = f", {duration(late_s)} after its slot began" if late_s > 0 else ""
    return f"The acceptance test passed {away(row.ready_at, now)}{late}; people can log in."


def _building(row: Reservation, progress: Progress, now: datetime) -> str:
    if not progress.total:
        return "The steps are being laid out."
    so_far = f"{progress.done} of {progress.total} steps are done."
    step = progress.current
    if step is None:
        return f"{so_far} The next step begins with the next pass."
    if step.retry_at is not None:
        return f"{so_far} One waits to be tried again {away(step.retry_at, now)}: {step.label}."
    return f"{so_far} Now: {step.label}, {duration(step.seconds)} so far. You can close this page; building goes on."


def overdue(late: Mapping[str, datetime | None], now: datetime) -> str:
    """The alarm that passes do not run: their names, each with its last sign of life."""
    told = [
        f"{name} ({'never' if last is None else f'last {away(last, now)}'})" for name, last in late.items()
    ]
    return f"Passes do not run: {', '.join(told)}. Nothing is built or taken down by them."


def ails(facts: Mapping[str, Any], full_percent: int) -> list[str]:
    """What is wrong with the disks of a host with these facts: arrays and volume groups that lost some, a full pool."""
    found, pool = [str(words) for words in facts.get("health") or ()], facts.get("pool") or {}
    used = {what: float(pool.get(f"{what}_percent") or 0) for what in ("data", "metadata")}
    return found + [
        f"the {what} of the thin pool is {percent:g} % full"
        for what, percent in used.items()
        if percent >= full_percent
    ]


def told_at(facts: Mapping[str, Any]) -> datetime | None:
    """When the host told these facts."""
    return datetime.fromisoformat(facts["told_at"]) if "told_at" in facts else None


def next_event(row: Reservation, now: datetime) -> tuple[str, datetime] | None:
    """What happens next by the clock, and when."""
    match row.state:
        case "requested":
            return ("place held until", row.hold_until)
        case "approved":
            return ("starts" if row.start_at > now else "slot began", row.start_at)
        case "building":
            return ("slot starts", row.start_at) if row.start_at > now else ("slot ends", row.end_at)
        case "ready" | "suspended":
            return ("ends", row.end_at)
        case "saved" if row.keep_until is not None:
            return ("disks kept until", row.keep_until)
    return None


def warning(row: Reservation, now: datetime) -> str | None:
    """The banner of the last day and the last hour of a slot."""
    left = row.end_at - now
    if row.keep_until is not None or row.saved_id is not None:
        return None
    if row.state not in ("ready", "suspended") or left > timedelta(hours=24) or left <= timedelta(0):
        return None
    if left > timedelta(hours=1):
        return "This cluster ends within a day. Copy out what you want to keep: its volumes are deleted at the end."
    return "This cluster ends within the hour. Copy out what you want to keep now: its volumes are deleted at the end."
