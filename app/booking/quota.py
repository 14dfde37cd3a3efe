# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A project's ceilings against what it holds: kept to by each booking, told on the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.db import project, reservation
from app.db.account import Account
from app.domain import quota
from app.domain.quota import Holding, Line, Quota
from app.domain.shape import Shape
from app.domain.slot import Slot
from app.settings import Settings


def ceilings(session: Session, settings: Settings, project_id: int) -> Quota:
    """The project's own ceilings, and the site's where it has none."""
    own, book = project.ceilings(session, project_id), settings.booking

    def either(of_project: int | None, of_site: int | None) -> int | None:
        return of_site if of_project is None else of_project

    return Quota(
        either(own.nodes, book.quota_nodes),
        either(own.node_hours, book.quota_node_hours),
        either(own.length_hours, book.quota_length_hours),
        either(own.reservations, book.quota_reservations),
        timedelta(seconds=either(own.notice_s, book.notice_s) or 0),
    )


def check(
    session: Session,
    settings: Settings,
    account: Account,
    project_id: int,
    becomes: Holding,
    now: datetime,
    *,
    replaces: int,
    count_field: str = "node_count",
) -> None:
    """InvalidRequest, by field, where the reservation `replaces`, having become this, passes the ceilings of the
    project; cluster providers may pass them. Too many nodes are told as `count_field`.

    Called under the ledger lock, so that two requests at once do not both find the last of it.
    """
    if account.role == "cluster_provider":
        return
    limits = ceilings(session, settings, project_id)
    if limits != Quota():
        held = _held(session, project_id, replaces)
        quota.check(limits, held, becomes, now, is_new=False, count_field=count_field)


def within(
    session: Session,
    settings: Settings,
    account: Account,
    shape: Shape,
    slot: Slot,
    now: datetime,
    *,
    beside: Sequence[Holding] = (),
    count_field: str = "node_count",
) -> Shape:
    """As much of the shape as the account's project may have in `slot`, its least at the least; all of it for a
    cluster provider.

    InvalidRequest, by field, where the project may not even have the least; too many nodes are told as `count_field`.
    `beside` counts as held, too. Called under the ledger lock where the shape is to be booked.
    """
    if account.role == "cluster_provider":
        return shape
    limits = ceilings(session, settings, account.project_id)
    if limits == Quota():
        return shape
    held = [*_held(session, account.project_id, None), *beside]
    quota.check(limits, held, Holding(shape.least, slot), now, count_field=count_field)
    left = quota.nodes_left(limits, held, slot, now)
    return shape if left is None or shape.most <= left else shape.of(left)


def first_start(
    session: Session, settings: Settings, account: Account | None, nodes: int, slot: Slot, now: datetime
) -> datetime | None:
    """The first start, that of `slot` or a later one, at which the account's project may have so many nodes more at
    once for as long; None: there is none. Nothing limits a cluster provider, or nobody (None)."""
    if account is None or account.role == "cluster_provider":
        return slot.start
    limits = ceilings(session, settings, account.project_id)
    if limits.nodes is None:
        return slot.start
    return quota.first_start(limits, _held(session, account.project_id, None), Holding(nodes, slot))


def lines(
    session: Session, settings: Settings, account: Account, wanted: Sequence[Holding], now: datetime
) -> list[Line]:
    """How far the ceilings of the account's project are used, now and with `wanted`; those it has none of left out."""
    if account.role == "cluster_provider":
        return []
    limits = ceilings(session, settings, account.project_id)
    found = quota.lines(limits, _held(session, account.project_id, None), wanted, now)
    return [line for line in found if line.ceiling is not None]


def _held(session: Session, project_id: int, without: int | None) -> list[Holding]:
    live = reservation.live_of(session, project_id, without)
    return [Holding(nodes, Slot(start, end)) for start, end, nodes in live]
