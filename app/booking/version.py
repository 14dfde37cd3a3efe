# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions of a reservation: each change makes one and records the difference; who saw an older one is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.db import event, offer
from app.db.reservation import Reservation
from app.domain.errors import Conflict


def check(session: Session, row: Reservation, version: int) -> None:
    """Conflict, with the difference, where the reservation is no longer as it was at `version`."""
    if row.version != version:
        raise conflict(session, row, version, "It was changed since you opened it. Nothing was changed now.")


def conflict(session: Session, row: Reservation, version: int, message: str) -> Conflict:
    """The refusal with all that was changed after `version`; nothing known of it where there never was such a one."""
    was_there = 1 <= version < row.version
    return Conflict(message, event.differences_since(session, row.id, version) if was_there else ())


def change(
    session: Session,
    by: str,
    row: Reservation,
    kind: str,
    message: str,
    changed: Mapping[str, tuple[Any, Any]],
    now: datetime,
) -> None:
    """Give the reservation its next version, with an event for what `by` changed: field -> (before, after).

    What was offered in place of the version before is withdrawn.
    """
    withdraw_offer(session, row, by, now)
    row.version += 1
    event.record_version(
        session, now, by, kind, message, reservation_id=row.id, version=row.version, changed=changed
    )


def withdraw_offer(session: Session, row: Reservation, by: str, now: datetime) -> None:
    """Withdraw what was offered and not answered, as `by` is about to make the reservation's next version."""
    if offer.withdraw(session, row.id, now):
        message = "The offer no longer stands: it was made to the request as it was before."
        event.record_version(
            session,
            now,
            by,
            "withdrawn",
            message,
            reservation_id=row.id,
            version=row.version + 1,
            changed={"offer": ("made", "withdrawn")},
        )
