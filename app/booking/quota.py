# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A project's ceilings against what it holds: checked for each booking, told on the page."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.db import reservation
from app.db.account import Account
from app.db.project import Project
from app.domain import quota
from app.domain.quota import Holding, Line, Quota
from app.domain.slot import Slot
from app.settings import Settings


def ceilings(settings: Settings, project: Project) -> Quota:
    """The project's own ceilings, and the site's where it has none."""
    book = settings.booking

    def either(own: int | None, of_site: int | None) -> int | None:
        return of_site if own is None else own

    return Quota(
        either(project.nodes, book.quota_nodes),
        either(project.node_hours, book.quota_node_hours),
        either(project.length_hours, book.quota_length_hours),
        either(project.reservations, book.quota_reservations),
        timedelta(seconds=either(project.notice_s, book.notice_s) or 0),
    )


def check(
    session: Session,
    settings: Settings,
    account: Account,
    project_id: int,
    wanted: Holding,
    now: datetime,
    *,
    replaces: int | None = None,
) -> None:
    """InvalidRequest, by field, where `wanted` passes the ceilings of the project; cluster providers may pass them.

    `replaces` is the reservation that is to become `wanted`, where there is one. Called under the ledger lock, so
    that two requests at once do not both find the last of it.
    """
    if account.role == "cluster_provider":
        return
    limits = ceilings(settings, session.get_one(Project, project_id))
    if limits != Quota():
        held = _held(session, project_id, replaces)
        quota.check(limits, held, wanted, now, is_new=replaces is None)


def lines(
    session: Session, settings: Settings, account: Account, wanted: Holding, now: datetime
) -> list[Line]:
    """How far the ceilings of the account's project are used, now and with `wanted`; those it has none of left out."""
    if account.role == "cluster_provider":
        return []
    limits = ceilings(settings, session.get_one(Project, account.project_id))
    found = quota.lines(limits, _held(session, account.project_id, None), wanted, now)
    return [line for line in found if line.ceiling is not None]


def _held(session: Session, project_id: int, without: int | None) -> list[Holding]:
    live = reservation.live_of(session, project_id, without)
    return [Holding(nodes, Slot(start, end)) for start, end, nodes in live]
