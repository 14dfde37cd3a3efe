# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole table of the API: every operation, who may use it, what it takes and answers. The OpenAPI document is
made from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from flask.typing import ResponseReturnValue

from app.api import answers, availability, change, offer, reservation, series, usage
from app.api.fields import Fields
from app.web.urls import CLUSTER_PROVIDER, ID, PROVIDERS, SERIES

ROOT = "/api/v1"
ONE = f"{ROOT}/reservations/{ID}"
ONE_SERIES = f"{ROOT}/series/{SERIES}"


@dataclass(frozen=True)
class Operation:
    """One line of the table: `answer` is a schema's name in `answers`, none for 204; `refusals` are the statuses
    besides those that every operation has. With `has_key` it may be sent again under an Idempotency-Key."""

    method: str
    rule: str
    endpoint: str
    view: Callable[..., ResponseReturnValue]
    roles: frozenset[str]
    answer: str | None
    status: int = 200
    query: Fields | None = None
    body: Fields | None = None
    is_versioned: bool = False
    has_key: bool = False
    refusals: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """The rule as people and OpenAPI write it: /reservations/{reservation_id}."""
        return re.sub(r"<[^>]*:(\w+)>", r"{\1}", self.rule)

    @property
    def summary(self) -> str:
        """The first sentence of what the view says of itself."""
        return (self.view.__doc__ or "").strip().split(". ")[0].rstrip(".")


OPERATIONS = (
    Operation(
        "GET", f"{ROOT}/availability", "availability.ask", availability.ask, PROVIDERS, "Availability",
        query=availability.QUESTION,
    ),
    Operation("GET", f"{ROOT}/rolls", "availability.rolls", availability.rolls, PROVIDERS, "Rolls"),
    Operation(
        "GET", f"{ROOT}/reservations", "reservation.listing", reservation.listing, PROVIDERS, "Reservations",
        query=reservation.LISTING,
    ),
    Operation(
        "POST", f"{ROOT}/reservations", "reservation.create", reservation.create, PROVIDERS, "Summary", 201,
        body=reservation.NEW, has_key=True, refusals=(409,),
    ),
    Operation("GET", ONE, "reservation.detail", reservation.detail, PROVIDERS, "Reservation"),
    Operation(
        "GET", f"{ONE}/events", "reservation.events", reservation.events, PROVIDERS, "Events",
        query=reservation.EVENTS,
    ),
    Operation(
        "POST", f"{ONE}/approve", "change.approve", change.approve, CLUSTER_PROVIDER, "Summary",
        body=change.NOTHING, is_versioned=True,
    ),
    Operation(
        "POST", f"{ONE}/reject", "change.reject", change.reject, CLUSTER_PROVIDER, "Summary",
        body=change.REASON, is_versioned=True,
    ),
    Operation(
        "POST", f"{ONE}/offer", "offer.make", offer.make, CLUSTER_PROVIDER, "Summary",
        body=offer.OFFER, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/offer/accept", "offer.accept", offer.accept, PROVIDERS, "Summary",
        body=change.NOTHING, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/offer/decline", "offer.decline", offer.decline, PROVIDERS, "Summary",
        body=offer.DECLINE, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/cancel", "change.cancel", change.cancel, PROVIDERS, "Summary",
        body=change.NOTHING, refusals=(409,),
    ),
    Operation("GET", f"{ONE}/end", "change.latest_end", change.latest_end, PROVIDERS, "LatestEnd"),
    Operation(
        "PUT", f"{ONE}/end", "change.set_end", change.set_end, PROVIDERS, "Summary",
        body=change.END, is_versioned=True,
    ),
    Operation(
        "PUT", f"{ONE}/nodes", "change.resize", change.resize, PROVIDERS, "Summary",
        body=change.NODES, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/suspend", "change.suspend", change.suspend, PROVIDERS, "Summary",
        body=change.NOTHING, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/resume", "change.resume", change.resume, PROVIDERS, "Summary",
        body=change.NOTHING, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "PUT", f"{ONE}/keep", "change.keep", change.keep, PROVIDERS, "Summary",
        body=change.UNTIL, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "POST", f"{ONE}/restore", "change.restore", change.restore, PROVIDERS, "Summary", 201,
        body=change.SLOT, is_versioned=True, refusals=(409,),
    ),
    Operation(
        "PUT", f"{ONE}/owner", "change.give", change.give, PROVIDERS, None, 204,
        body=change.OWNER, is_versioned=True,
    ),
    Operation("POST", f"{ONE}/notes", "change.note", change.note, PROVIDERS, None, 204, body=change.NOTE),
    Operation(
        "POST", f"{ROOT}/series/check", "series.check", series.check, PROVIDERS, "Outlook", body=series.CHECK,
    ),
    Operation(
        "POST", f"{ROOT}/series", "series.create", series.create, PROVIDERS, "Series", 201,
        body=series.NEW, has_key=True, refusals=(409,),
    ),
    Operation("GET", ONE_SERIES, "series.detail", series.detail, PROVIDERS, "Series"),
    Operation(
        "POST", f"{ONE_SERIES}/cancel", "series.cancel", series.cancel, PROVIDERS, "Series",
        body=change.NOTHING,
    ),
    Operation(
        "GET", f"{ROOT}/usage", "usage.show", usage.show, PROVIDERS, "Usage", query=usage.QUESTION,
    ),
)  # fmt: skip
BY_ENDPOINT = {operation.endpoint: operation for operation in OPERATIONS}
assert all(operation.answer in answers.SCHEMAS or operation.status == 204 for operation in OPERATIONS)
