# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask for a virtual cluster: place it and write it, or say what is short and write nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.booking import availability, quota, room
from app.db import event, ledger, project, reservation, site
from app.db.account import Account
from app.db.base import Database, insert_all
from app.db.reservation import ClusterUser, Node, NodeGroup, Reservation
from app.domain.approval import AutoApprove, rule_for
from app.domain.errors import Conflict, InvalidRequest, NoRoom
from app.domain.placement import Placement
from app.domain.quota import Holding
from app.domain.request import Request, validate
from app.domain.shape import COMPUTE, Shape
from app.domain.shape_input import field_of
from app.domain.slot import Slot
from app.settings import Settings

# Cluster users get uids from here on: above what Debian gives to accounts made by hand on a fresh system.
FIRST_UID = 2001
NEW_KEY = "Take a new key for a new request."
# Made once: making them costs half as much as running them.
INSERT = insert(Reservation).returning(Reservation.id)
INSERT_GROUPS = insert(NodeGroup).returning(NodeGroup.id, sort_by_parameter_order=True)


@dataclass(frozen=True)
class Placed:
    """What is granted of a request in its slot, and where it stands."""

    slot: Slot
    granted: Shape
    placement: Placement

    def amounts(self, settings: Settings) -> dict[tuple[int | str, str], int]:
        """What it takes of each host and of the site's pools, see `room.amounts`."""
        return room.amounts(room.groups(self.granted, settings), self.placement)


def request(
    database: Database,
    settings: Settings,
    account: Account,
    raw: Mapping[str, object],
    *,
    rolls: Collection[str],
    appliances: Collection[str] = (COMPUTE,),
    now: datetime,
    key: str | None = None,
) -> int:
    """Validate, place and store what `account` asks for; return the new reservation's id.

    Of a group with a least there may be fewer nodes than asked for: no more than fit, and than the account's project
    may have. Hosts are named by cluster providers alone.
    One transaction under the ledger lock. InvalidRequest names the fields to mend; NoRoom says what is short, who is
    in the way, and what would fit. In both cases nothing is written. A `key` names the
    request: sent again, it answers with the reservation that was made the first time. It has 64 hexadecimal digits;
    the first half is its name, the second is made of what was asked: InvalidRequest where only the first is the same,
    Conflict where a series was made under it.
    """
    if key is not None:
        with database.reading() as session:
            made = made_before(session, account, key)
        if made is not None:
            return made
    wanted = validate(raw, now=now, rolls=rolls, appliances=appliances, limits=availability.limits(settings))
    check_hosts(database, account, raw, wanted.shape)
    try:
        return _book(database, settings, account, wanted, now, key)
    except NoRoom as why:
        # Outside the lock: whoever books meanwhile does not wait for good advice.
        raise availability.explain(
            database, settings, account, wanted.shape, wanted.slot, why, now=now
        ) from why


def made_before(session: Session, account: Account, key: str, *, is_series: bool = False) -> int | None:
    """The reservation, or the series, that the account made under this key.

    Conflict where the key named a request of the other kind, InvalidRequest where it named another one of this kind.
    """
    made = reservation.made_under(session, account.id, key[: len(key) // 2])
    if made is None:
        return None
    reservation_id, series_id, whole = made
    if is_series != (series_id is not None):
        kind = "a single cluster" if is_series else "a series"
        raise Conflict(f"This key was sent with a request for {kind} before. {NEW_KEY}")
    if whole != key:
        raise InvalidRequest({"Idempotency-Key": f"This key was sent with another request before. {NEW_KEY}"})
    return series_id if is_series else reservation_id


def _book(
    database: Database, settings: Settings, account: Account, wanted: Request, now: datetime, key: str | None
) -> int:
    with database.writing(ledger=True) as session:
        # Looked for again under the lock: the first of two sent at once may have been written meanwhile.
        if key is not None and (made := made_before(session, account, key)) is not None:
            return made
        return write(session, settings, account, wanted, now, key)


def write(
    session: Session,
    settings: Settings,
    account: Account,
    wanted: Request,
    now: datetime,
    key: str | None,
    *,
    series_id: int | None = None,
) -> int:
    """Place and store the valid request under the ledger lock; its id. NoRoom and InvalidRequest before any write."""
    check_name(session, wanted.name)
    placed = place(
        session,
        settings,
        account,
        wanted.shape,
        wanted.slot,
        now,
        name=wanted.name,
        count_field=wanted.count_field,
    )
    granted = placed.granted
    more = {"request_key": key, "series_id": series_id}
    told = f"{account.name} asked for {_numbers(wanted.shape, granted)}."
    number = write_row(
        session, settings, account, wanted, granted.most, placed.amounts(settings), told, more, now
    )
    write_nodes(session, settings, number, wanted.shape, granted, placed.placement)
    insert_all(session, ClusterUser, _users(wanted, number))
    return number


def write_row(
    session: Session,
    settings: Settings,
    account: Account,
    wanted: Request,
    nodes: int,
    amounts: Mapping[tuple[int | str, str], int],
    told: str,
    more: Mapping[str, object],
    now: datetime,
) -> int:
    """Write the reservation with `more` columns, what it takes throughout its occupied slot, and what is `told` of it;
    its id. It is approved at once where a rule of the site says so of its `nodes`."""
    rule = _rule(session, settings, account, Holding(nodes, wanted.slot), now)
    row = _row(wanted, settings, account, now, rule) | dict(more)
    number = session.connection().scalars(INSERT, row).one()
    ledger.take(session, number, amounts, room.occupied(settings, wanted.slot))
    event.record(session, now, account.name, "requested", told, reservation_id=number)
    if rule is not None:
        message = f"Approved by the site's rule {rule.name!r}."
        event.record(session, now, f"rule:{rule.name}", "approved", message, reservation_id=number)
    return number


def check_name(session: Session, name: str) -> None:
    """InvalidRequest where a cluster that is not over bears the name."""
    if reservation.live_name_exists(session, name):
        raise InvalidRequest({"name": f"There is a cluster called {name!r} already. Choose another name."})


def place(
    session: Session,
    settings: Settings,
    account: Account,
    shape: Shape,
    slot: Slot,
    now: datetime,
    *,
    name: str,
    count_field: str = "node_count",
    beside: Sequence[Placed] = (),
) -> Placed:
    """What `account` is granted of the shape in `slot`, and where; what is placed `beside` counts as booked, too.

    NoRoom where there is no room for its least; InvalidRequest, by field, where the project may not have that, see
    `quota.within`. `name` is the cluster's, see `room.find`. Writes nothing; under the ledger lock where it is to be
    booked.
    """
    held = [Holding(one.granted.most, one.slot) for one in beside]
    allowed = quota.within(session, settings, account, shape, slot, now, beside=held, count_field=count_field)
    occupied = room.occupied(settings, slot)
    taken = [
        taken
        for one in beside
        if room.occupied(settings, one.slot).overlaps(occupied)
        for taken in ledger.in_slot(one.amounts(settings), room.occupied(settings, one.slot))
    ]
    granted, placement = room.find(session, settings, allowed, occupied, now, name=name, beside=taken)
    return Placed(slot, granted, placement)


def write_nodes(
    session: Session,
    settings: Settings,
    reservation_id: int,
    asked: Shape,
    granted: Shape,
    placement: Placement,
) -> None:
    """Write the groups of the reservation, which has none, as they were asked for, and its nodes as granted."""
    ids = write_groups(session, reservation_id, asked)
    insert_all(session, Node, _nodes(granted, ids, settings, placement, reservation_id))


def write_groups(session: Session, reservation_id: int, asked: Shape) -> Sequence[int]:
    """Write the groups of the reservation, which has none, as they were asked for; their ids, in their order."""
    return session.connection().scalars(INSERT_GROUPS, _groups(asked, reservation_id)).all()


def _rule(
    session: Session, settings: Settings, account: Account, granted: Holding, now: datetime
) -> AutoApprove | None:
    """The rule of the site by which what is granted is approved at once."""
    if not (rules := settings.booking.auto_approve):
        return None
    return rule_for(rules, project.name_of(session, account.project_id), granted, now)


def _numbers(wanted: Shape, granted: Shape) -> str:
    if wanted.least == wanted.most:
        return f"{wanted.most:,} compute nodes"
    return f"{wanted.least:,} to {wanted.most:,} compute nodes and was granted {granted.most:,}"


def check_hosts(database: Database, account: Account, raw: Mapping[str, object], shape: Shape) -> None:
    """The hosts are the cluster provider's to choose among; who else has a need says it by tags."""
    named = {
        field_of(raw, index, key): hosts
        for index, group in enumerate(shape.groups)
        for key, hosts in (("pin", group.pin), ("avoid", group.avoid))
        if hosts
    }
    if not named:
        return
    if account.role != "cluster_provider":
        raise InvalidRequest(
            dict.fromkeys(named, "Only a cluster provider names hosts: say what they must have by tags.")
        )
    with database.reading() as session:
        known = site.names_known(session, {host for hosts in named.values() for host in hosts})
    unknown = {where: [host for host in hosts if host not in known] for where, hosts in named.items()}
    wrong = {where: f"There is no host called {hosts[0]!r}." for where, hosts in unknown.items() if hosts}
    if wrong:
        raise InvalidRequest(wrong)


def _row(
    wanted: Request, settings: Settings, account: Account, now: datetime, rule: AutoApprove | None
) -> dict[str, object]:
    """The row of the reservation: requested, or approved by this rule."""
    state, why = "requested", "Waits for approval by a cluster provider."
    if rule is not None:
        state, why = "approved", "Building begins in time for the slot."
    return {
        "name": wanted.name,
        "owner_id": account.id,
        "project_id": account.project_id,
        "state": state,
        "start_at": wanted.slot.start,
        "end_at": wanted.slot.end,
        "home_gib": wanted.shape.home_gib,
        "shared_disk_gib": wanted.shape.shared_disk_gib,
        "rolls": list(wanted.rolls),
        "note": wanted.note,
        "requested_at": now,
        # An answer that comes after the start still counts for an hour: the slot may have been asked for at once.
        "hold_until": min(
            now + settings.hold, max(wanted.slot.start, now + timedelta(hours=1)), wanted.slot.end
        ),
        "decided_at": now if rule else None,
        "why": why,
    }


def _groups(shape: Shape, reservation_id: int) -> list[dict[str, object]]:
    return [
        {
            "reservation_id": reservation_id,
            "position": position,
            "name": group.name,
            "appliance": group.appliance,
            "least": group.least,
            "most": group.most,
            "vcpus": group.vcpus,
            "memory_mib": group.memory_mib,
            "disk_gib": group.disk_gib,
            "policy": group.policy,
            "tags": list(group.tags),
            "pin": list(group.pin),
            "avoid": list(group.avoid),
        }
        for position, group in enumerate(shape.groups)
    ]


def _nodes(
    shape: Shape, group_ids: Sequence[int], settings: Settings, placement: Placement, reservation_id: int
) -> list[dict[str, object]]:
    front, hosts = settings.booking, placement.hosts
    frontend = (
        "frontend",
        None,
        "frontend",
        front.frontend_vcpus,
        front.frontend_memory_mib,
        room.frontend_disk_gib(shape, settings),
    )
    compute = [
        (name, group_id, "compute", group.vcpus, group.memory_mib, group.disk_gib)
        for group, group_id in zip(shape.groups, group_ids, strict=True)
        for name in group.node_names
    ]
    return [
        {
            "reservation_id": reservation_id,
            "group_id": group_id,
            "position": position,
            "name": name,
            "kind": kind,
            "vcpus": vcpus,
            "memory_mib": memory_mib,
            "disk_gib": disk_gib,
            "host_id": hosts[name],
            "storage_id": hosts[room.DISKS],
        }
        for position, (name, group_id, kind, vcpus, memory_mib, disk_gib) in enumerate([frontend, *compute])
    ]


def _users(wanted: Request, reservation_id: int) -> list[dict[str, object]]:
    return [
        {"reservation_id": reservation_id, "name": user.name, "uid": uid, "keys": list(user.keys)}
        for uid, user in enumerate(wanted.users, start=FIRST_UID)
    ]
