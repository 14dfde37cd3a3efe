# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The states of a reservation and every way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

# from -> {to: why one gets there}. The documented state table is made from this one.
TRANSITIONS: dict[str, dict[str, str]] = {
    "requested": {
        "approved": "a cluster provider approves",
        "rejected": "a cluster provider rejects, with a reason",
        "cancelled": "the service provider cancels before anything is built",
        "expired": "nobody answered before the hold ran out",
    },
    "approved": {
        "building": "the slot's start less the lead time has come",
        "cancelled": "the service provider cancels before anything is built",
        "expired": "the slot passed without a pass running",
    },
    "building": {
        "ready": "everything is present and the acceptance report is in",
        "ending": "the slot ends or it is cancelled",
    },
    "ready": {
        "suspended": "its suspension is wanted, and the memory of every machine is on disk",
        "ending": "the slot ends or it is cancelled",
    },
    "suspended": {
        "ready": "it is resumed, and everything is present again",
        "ending": "the slot ends or it is cancelled",
    },
    "ending": {
        "saved": "everything but its disks is gone from every host, and these are to be kept",
        "ended": "everything is gone from every host",
    },
    "saved": {"ending": "its disks are to be kept no longer"},
    "ended": {},
    "rejected": {},
    "cancelled": {},
    "expired": {},
}
STATES = tuple(TRANSITIONS)
FINAL = tuple(state for state, ways in TRANSITIONS.items() if not ways)
LIVE = tuple(state for state, ways in TRANSITIONS.items() if ways)
# States in which things of the reservation may stand on hosts.
ON_HOSTS = ("building", "ready", "suspended", "ending", "saved")
# States in which they are wanted there.
UP = ("building", "ready", "suspended")


@dataclass(frozen=True)
class Standing:
    """What next_state needs to know of one reservation.

    `is_told`: its machines' rows ask for what is wanted of them, to be saved to disk or to run. `keep_until`: until
    when its disks are to be kept after its slot, None where they are not; `has_disks`: they are still wanted while all
    else of it goes.
    """

    state: str
    start_at: datetime
    end_at: datetime
    hold_until: datetime
    is_cancelled: bool
    build_at: datetime
    is_suspension_wanted: bool = False
    is_told: bool = True
    keep_until: datetime | None = None
    has_disks: bool = False

    def is_over(self, now: datetime) -> bool:
        """Whether nothing of it is wanted any longer."""
        return self.is_cancelled or now >= self.end_at

    def is_kept(self, now: datetime) -> bool:
        """Whether its disks are to outlive its slot."""
        return self.keep_until is not None and now < self.keep_until


def next_state(standing: Standing, haves: Iterable[str], now: datetime) -> str:
    """The state the reservation should be in at `now`; the same state where nothing is due.

    `haves` are the `have` values of its resource rows, without those of disks that it keeps. Pure; called under the
    ledger lock by the schedule pass.
    """
    state = standing.state
    if state == "requested":
        if standing.is_cancelled:
            return "cancelled"
        return "expired" if now >= standing.hold_until else state
    if state == "approved":
        if standing.is_cancelled:
            return "cancelled"
        if now >= standing.end_at:
            return "expired"
        return "building" if now >= standing.build_at else state
    if state in UP:
        if standing.is_over(now):
            return "ending"
        # Whoever is suspended while it is built is ready first: every machine has to have been up.
        wanted = "suspended" if standing.is_suspension_wanted and state != "building" else "ready"
        return wanted if standing.is_told and all(have == "present" for have in haves) else state
    if state == "ending" and all(have == "absent" for have in haves):
        return "saved" if standing.has_disks else "ended"
    if state == "saved" and not standing.is_kept(now):
        return "ending"
    return state
