# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows as JSON: reservations with their steps, events, slots; and what a refusal offers instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.booking.offer import held_for
from app.booking.outlook import Outlook
from app.db import account as accounts
from app.db import offer as offers
from app.db import resource, site, trouble
from app.db.event import Event
from app.db.offer import Offer
from app.db.reservation import Reservation
from app.db.series import Series
from app.domain.errors import NoRoom
from app.domain.offer import Terms
from app.domain.refusal import Alternative, InTheWay
from app.domain.shape import NodeGroup
from app.domain.slot import Slot
from app.web import words
from app.web.access import access
from app.web.steps import Step, checks_of, make_steps, progress

ZONE = ZoneInfo("UTC")


# Many reservations begin and end at the same times.
@lru_cache(maxsize=4096)
def time(moment: datetime | None) -> str | None:
    """The moment in RFC 3339, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def etag(version: int) -> str:
    """The version as If-Match wants it back."""
    return f'"{version}"'


def slot(found: Slot) -> dict[str, Any]:
    """Start and end."""
    return {"start": time(found.start), "end": time(found.end)}


def summary(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """One line of the list, from a row of `reservation.page`."""
    # All at once: asked for by name, one by one, they cost as much as the rest of it.
    number, name, owner, state, version, start, end, requested, hold, cancelled, why, node_count = row
    return {
        "id": number,
        "name": name,
        "owner": owner,
        "state": state,
        "version": version,
        "start": time(start),
        "end": time(end),
        "node_count": node_count,
        "requested_at": time(requested),
        "hold_until": time(hold),
        "cancel_requested_at": time(cancelled),
        "why": why,
    }


def reservation(session: Session, row: Reservation, now: datetime) -> dict[str, Any]:
    """All that its page shows."""
    hosts = {host.id: host.name for host in site.hosts(session)}
    rows = resource.steps_of(session, row.id)
    steps = make_steps(row, rows, resource.needs_of(session, row.id), now)
    summed = progress(steps)
    decider = accounts.name_of(session, row.decided_by_id) if row.decided_by_id else None
    offered = offers.of_reservation(session, row.id)
    way_in = access(row) if words.standing(row) == words.STATES["ready"] else None
    return {
        "id": row.id,
        "name": row.name,
        "owner": row.owner.name,
        "state": row.state,
        "version": row.version,
        "series_id": row.series_id,
        "start": time(row.start_at),
        "end": time(row.end_at),
        "node_count": sum(node.kind == "compute" and node.leaving_at is None for node in row.nodes),
        "requested_at": time(row.requested_at),
        "hold_until": time(row.hold_until),
        "cancel_requested_at": time(row.cancel_requested_at),
        "suspend_requested_at": time(row.suspend_requested_at),
        "keep_until": time(row.keep_until),
        "saved_id": row.saved_id,
        "why": row.why,
        "summary": words.sentence(
            row, summed, now, ZONE, decider, next((one for one in offered if one.is_open(now)), None)
        ),
        "degraded": trouble.degraded(session, [row.id]).get(row.id),
        "home_gib": row.home_gib,
        "shared_disk_gib": row.shared_disk_gib,
        "rolls": row.rolls,
        "note": row.note,
        "reason": row.reason,
        "decided_by": decider,
        "decided_at": time(row.decided_at),
        "building_at": time(row.building_at),
        "ready_at": time(row.ready_at),
        "ended_at": time(row.ended_at),
        "users": [user.name for user in row.users],
        "nodes": [
            {
                "name": node.name,
                "kind": node.kind,
                "vcpus": node.vcpus,
                "memory_mib": node.memory_mib,
                "disk_gib": node.disk_gib,
                "host": hosts[node.host_id],
                "storage": hosts[node.storage_id],
            }
            for node in row.nodes
        ],
        "access": asdict(way_in) | {"commands": list(way_in.commands)} if way_in else None,
        "progress": {"done": summed.done, "total": summed.total, "is_removal": summed.is_removal},
        "steps": [_step(step) for step in steps],
        "checks": [asdict(check) for check in checks_of(rows)],
        "offers": [_offer(one, now) for one in offered],
    }


def _offer(row: Offer, now: datetime) -> dict[str, Any]:
    """What is or was offered in its place."""
    return {
        "made_by": row.made_by.name,
        "made_at": time(row.made_at),
        "expires_at": time(row.expires_at),
        "is_open": row.is_open(now),
        "message": row.message,
        "asked": _terms(row.asked),
        "offered": _terms(row.offered),
        "node_count": held_for(row).most,
        "answer": row.answer,
        "answered_at": time(row.answered_at),
        "reason": row.reason,
    }


def _terms(data: Mapping[str, Any]) -> dict[str, Any]:
    terms = Terms.of_data(data)
    groups = [
        {
            "name": group.name,
            "node_names": list(group.node_names),
            "least": group.least,
            "vcpus": group.vcpus,
            "memory_mib": group.memory_mib,
            "disk_gib": group.disk_gib,
        }
        for group in terms.shape.groups
    ]
    disks = {"home_gib": terms.shape.home_gib, "shared_disk_gib": terms.shape.shared_disk_gib}
    return slot(terms.slot) | disks | {"rolls": list(terms.shape.rolls), "groups": groups}


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.label,
        "operation": step.op,
        "host": step.host,
        "state": step.standing.word,
        "detail": step.detail,
        "failures": step.failures,
        "retry_at": time(step.retry_at),
        "started_at": time(step.started_at),
        "done_at": time(step.done_at),
        "seconds": step.seconds,
        "removal_started_at": time(step.removal_at),
        "removed_at": time(step.removed_at),
    }


def series(row: Series, booked: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, Any]:
    """A recurring booking with its slots by their start, from the rows of `reservation.page` that belong to it."""
    slots = [
        {
            "name": one.name,
            **slot(Slot(one.start_at, one.end_at)),
            "reservation": summary(one),
            "reasons": [],
            "nearest": None,
        }
        for one in booked
    ]
    slots += [_left_out(one) for one in row.skipped]
    return {
        "id": row.id,
        "name": row.name,
        "every": f"P{row.every_days}D",
        "zone": row.time_zone,
        "requested_at": time(row.asked_at),
        "slots": sorted(slots, key=itemgetter("start")),
    }


def _left_out(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A slot that a series keeps as left out, and what fitted then."""
    nearest = kept["nearest"]
    told = {"name": kept["name"], "reservation": None, "reasons": kept["reasons"]}
    return {**told, **_in_utc(kept), "nearest": nearest and {**nearest, **_in_utc(nearest)}}


def _in_utc(kept: Mapping[str, Any]) -> dict[str, Any]:
    return slot(Slot(datetime.fromisoformat(kept["start"]), datetime.fromisoformat(kept["end"])))


def outlook(found: Outlook) -> dict[str, Any]:
    """What would come of a recurring booking, slot by slot."""
    slots: list[dict[str, Any]] = [
        slot(one) | {"node_count": shape.most, "reasons": []} for one, shape in found.granted
    ]
    slots += [slot(one) | {"node_count": None, "reasons": list(why.reasons)} for one, why in found.refused]
    ceilings = [
        {"what": line.what, "now": line.held, "with_this": line.projected, "at_most": line.ceiling}
        for line in found.lines
    ]
    return {
        "fits": found.fits,
        "slots": sorted(slots, key=itemgetter("start")),
        "over": found.over,
        "ceilings": ceilings,
    }


def event(row: Event) -> dict[str, Any]:
    """One change: who or what made it, when, and why."""
    return {
        "at": time(row.at),
        "actor": row.actor,
        "kind": row.kind,
        "message": row.message,
        "data": row.data,
    }


def in_the_way(found: Iterable[InTheWay]) -> list[dict[str, Any]]:
    """Who or what is in the way, and until when."""
    return [{"what": one.what, "name": one.name, "until": time(one.until)} for one in found]


def no_room(why: NoRoom, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a refusal says besides its reasons; each alternative is `asked`, changed so that it fits."""
    return {
        "reasons": list(why.reasons),
        "in_the_way": in_the_way(why.in_the_way),
        "alternatives": alternatives(why.alternatives, asked),
    }


def alternatives(found: Iterable[Alternative], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What fits instead, each as the request `asked`, changed so that it fits."""
    return [{"kind": one.kind, "request": _instead(asked, one)} for one in found]


def _instead(asked: Mapping[str, Any], offer: Alternative) -> dict[str, Any]:
    instead = {**asked, "end": time(offer.slot.end)}
    if offer.kind == "fewer":
        instead["conflicts"] = "skip"
    if offer.kind == "later":
        instead["start"] = time(offer.slot.start)
    if offer.kind == "smaller" and "groups" in asked:
        pairs = zip(asked["groups"], offer.shape.groups, strict=True)
        instead["groups"] = [_smaller(one, group) for one, group in pairs]
    elif offer.kind == "smaller":
        instead = _smaller(instead, offer.shape.groups[0])
    return instead


def _smaller(asked: Mapping[str, Any], group: NodeGroup) -> dict[str, Any]:
    fewer: dict[str, Any] = {"node_count": group.most}
    if "least" in asked:
        fewer["least"] = min(group.least, group.most)
    if asked.get("node_names"):
        fewer["node_names"] = list(group.node_names)
    return {**asked, **fewer}
