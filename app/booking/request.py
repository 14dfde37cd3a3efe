# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask for a virtual cluster: place it and write it, or say what is short and write nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.db import event, ledger, reservation, site
from app.db.account import Account
from app.db.base import Database
from app.db.ledger import Allocation
from app.db.reservation import ClusterUser, Node, Reservation
from app.domain import capacity
from app.domain.errors import InvalidRequest, NoRoom
from app.domain.placement import Candidate, Part, Placement, place
from app.domain.request import Limits, Request, validate
from app.domain.slot import Slot
from app.settings import Settings

# Cluster users get uids from here on: above what Debian gives to accounts made by hand on a fresh system.
FIRST_UID = 2001
# Pool resources are held by the site as a whole.
SITE = "site"
# What a guest costs its host beyond the memory it sees: QEMU's own, measured on guests of 512 and 1024 MiB.
GUEST_OVERHEAD_MIB = 96


def limits(settings: Settings) -> Limits:
    """What `settings` lets one request ask for."""
    return Limits(nodes=settings.booking.max_nodes, length=timedelta(days=settings.booking.max_days))


def request(
    database: Database,
    settings: Settings,
    account: Account,
    raw: Mapping[str, object],
    *,
    rolls: Collection[str],
    now: datetime,
    key: str | None = None,
) -> int:
    """Validate, place and store what `account` asks for; return the new reservation's id.

    One transaction under the ledger lock. InvalidRequest names the fields to mend; NoRoom says what is short. In
    both cases nothing is written. A `key` (at most 64 characters) names the request: sent again, it answers with the
    reservation that was made the first time.
    """
    if key is not None:
        with database.reading() as session:
            made = reservation.id_by_key(session, account.id, key)
        if made is not None:
            return made
    wanted = validate(raw, now=now, rolls=rolls, limits=limits(settings))
    with database.writing(ledger=True) as session:
        # Looked for again under the lock: the first of two sent at once may have been written meanwhile.
        if key is not None and (made := reservation.id_by_key(session, account.id, key)) is not None:
            return made
        if reservation.live_name_exists(session, wanted.name):
            raise InvalidRequest(
                {"name": f"There is a cluster called {wanted.name!r} already. Choose another name."}
            )
        parts = _parts(wanted, settings)
        placement = _place(session, settings, parts, wanted.slot, now)
        row = _rows(wanted, settings, account, placement, now)
        row.request_key = key
        session.add(row)
        session.flush()
        _allocate(session, row.id, parts, placement, wanted.slot)
        event.record(
            session,
            now,
            account.name,
            "requested",
            f"{account.name} asked for {len(wanted.node_names)} compute nodes.",
            reservation_id=row.id,
        )
        return row.id


def _parts(wanted: Request, settings: Settings) -> list[Part]:
    """What has to find a place: each guest's machine, and all disks together on one storage host."""
    front = settings.booking
    frontend_disk = max(front.frontend_disk_gib, wanted.disk_gib)
    machines = [
        Part(
            "frontend",
            "gateway",
            {"vcpu": front.frontend_vcpus, "memory_mib": front.frontend_memory_mib + GUEST_OVERHEAD_MIB},
        )
    ]
    machines += [
        Part(name, "compute", {"vcpu": wanted.vcpus, "memory_mib": wanted.memory_mib + GUEST_OVERHEAD_MIB})
        for name in wanted.node_names
    ]
    gib = frontend_disk + wanted.home_gib + wanted.disk_gib * len(wanted.node_names)
    return [*machines, Part("disks", "storage", {"disk_mib": gib * 1024})]


def _place(session: Session, settings: Settings, parts: list[Part], slot: Slot, now: datetime) -> Placement:
    hosts = [host for host in site.hosts(session) if host.state == "enabled"]
    have: dict[tuple[int | str, str], int] = {}
    for host in hosts:
        have[host.id, "vcpu"] = host.vcpus
        have[host.id, "memory_mib"] = host.memory_mib
        have[host.id, "disk_mib"] = host.disk_mib
    net = settings.network
    have[SITE, "network_id"] = net.last_id - net.first_id + 1
    first, last = (int(ipaddress.IPv4Address(a)) for a in (net.public_first, net.public_last))
    have[SITE, "public_address"] = last - first + 1
    free = capacity.free(have, ledger.taken(session, slot, now), slot)
    if not free[SITE, "network_id"]:
        raise NoRoom(["No private network is free in this slot: all network IDs of the site are taken."])
    if not free[SITE, "public_address"]:
        raise NoRoom(["No public address is free in this slot."])
    return place(parts, [Candidate(host.id, host.name, host.role_names) for host in hosts], free)


def _rows(
    wanted: Request, settings: Settings, account: Account, placement: Placement, now: datetime
) -> Reservation:
    front, disks = settings.booking, placement.hosts["disks"]
    frontend = Node(
        position=0,
        name="frontend",
        kind="frontend",
        vcpus=front.frontend_vcpus,
        memory_mib=front.frontend_memory_mib,
        disk_gib=max(front.frontend_disk_gib, wanted.disk_gib),
        host_id=placement.hosts["frontend"],
        storage_id=disks,
    )
    computes = [
        Node(
            position=position,
            name=name,
            kind="compute",
            vcpus=wanted.vcpus,
            memory_mib=wanted.memory_mib,
            disk_gib=wanted.disk_gib,
            host_id=placement.hosts[name],
            storage_id=disks,
        )
        for position, name in enumerate(wanted.node_names, start=1)
    ]
    return Reservation(
        name=wanted.name,
        owner_id=account.id,
        state="requested",
        start_at=wanted.slot.start,
        end_at=wanted.slot.end,
        home_gib=wanted.home_gib,
        rolls=list(wanted.rolls),
        note=wanted.note,
        requested_at=now,
        # An answer that comes after the start still counts for an hour: the slot may have been asked for at once.
        hold_until=min(
            now + settings.hold, max(wanted.slot.start, now + timedelta(hours=1)), wanted.slot.end
        ),
        why="Waits for approval by a cluster provider.",
        nodes=[frontend, *computes],
        users=[
            ClusterUser(name=user.name, uid=FIRST_UID + i, keys=list(user.keys))
            for i, user in enumerate(wanted.users)
        ],
    )


def _allocate(
    session: Session, reservation_id: int, parts: list[Part], placement: Placement, slot: Slot
) -> None:
    amounts: dict[tuple[int | None, str], int] = {(None, "network_id"): 1, (None, "public_address"): 1}
    for part in parts:
        for resource, amount in part.needs.items():
            key = (placement.hosts[part.name], resource)
            amounts[key] = amounts.get(key, 0) + amount
    session.add_all(
        Allocation(
            reservation_id=reservation_id,
            host_id=host_id,
            resource=resource,
            amount=amount,
            start_at=slot.start,
            end_at=slot.end,
        )
        for (host_id, resource), amount in amounts.items()
    )
