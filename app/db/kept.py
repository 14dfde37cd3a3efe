# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Saved clusters: who stands on their disks, and what stood of them in earlier slots."""

from __future__ import annotations

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.db.reservation import IS_LIVE, Reservation
from app.db.resource import Resource


def restored(session: Session, saved_id: int) -> Reservation | None:
    """The reservation that is not over and stands on the disks of this saved cluster, or is to."""
    return session.scalar(select(Reservation).where(Reservation.saved_id == saved_id, IS_LIVE))


def clear(session: Session, saved_id: int, but: int) -> None:
    """Forget what stood of this saved cluster in its slots before that of the reservation `but`, and is gone from every
    host: the same names are about to be used again."""
    r, v = Resource, Reservation
    its = select(v.id).where(or_(v.id == saved_id, v.saved_id == saved_id), v.id != but)
    session.execute(
        delete(r)
        .where(r.reservation_id.in_(its), r.want == "absent", r.have == "absent")
        .execution_options(synchronize_session=False)
    )
