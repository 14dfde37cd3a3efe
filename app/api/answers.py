# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The schemas of what is answered: what `show` and the views make. A test holds every answer against them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.booking import accounting
from app.db.offer import ANSWERS
from app.domain.lifecycle import STATES

Schema = Mapping[str, Any]
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
TIME: Schema = {"type": "string", "format": "date-time"}
YES: Schema = {"type": "boolean"}


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def many(schema: Schema) -> Schema:
    """A list of that."""
    return {"type": "array", "items": schema}


def thing(**properties: Schema) -> dict[str, Any]:
    """An object with all of these members."""
    return {"type": "object", "properties": properties, "required": list(properties)}


ROLL = thing(name=TEXT, version=TEXT, summary=TEXT)
SUMMARY = thing(
    id=WHOLE,
    name=TEXT,
    owner=TEXT,
    state={"enum": list(STATES)},
    version=WHOLE,
    start=TIME,
    end=TIME,
    node_count=WHOLE,
    requested_at=TIME,
    hold_until=TIME,
    cancel_requested_at=maybe(TIME),
    why=maybe(TEXT),
)
FULL = thing(
    **SUMMARY["properties"],
    series_id=maybe(WHOLE),
    suspend_requested_at=maybe(TIME),
    keep_until={**maybe(TIME), "description": "Until when its disks are kept after its slot."},
    saved_id={**maybe(WHOLE), "description": "The saved cluster that it is, with its disks."},
    summary=TEXT,
    degraded={**maybe(TEXT), "description": "What of it is missing, or cannot be built; null: nothing."},
    home_gib=WHOLE,
    shared_disk_gib=WHOLE,
    rolls=many(TEXT),
    note=TEXT,
    reason=maybe(TEXT),
    decided_by=maybe(TEXT),
    decided_at=maybe(TIME),
    building_at=maybe(TIME),
    ready_at=maybe(TIME),
    ended_at=maybe(TIME),
    users=many(TEXT),
    nodes=many(ref("Node")),
    access=maybe(ref("Access")),
    progress=thing(done=WHOLE, total=WHOLE, is_removal=YES),
    steps=many(ref("Step")),
    checks=many(ref("Check")),
    offers=many(ref("Offer")),
)
SCHEMAS: Mapping[str, Schema] = {
    "Summary": SUMMARY,
    "Reservation": FULL,
    "Reservations": thing(
        reservations=many(ref("Summary")),
        next={"type": ["string", "null"], "description": "Where the rest is; null: this was the last page."},
    ),
    "Series": thing(
        id=WHOLE,
        name=TEXT,
        every=TEXT,
        zone=TEXT,
        requested_at=TIME,
        slots=many(
            thing(
                name=TEXT,
                start=TIME,
                end=TIME,
                reservation={
                    **maybe(ref("Summary")),
                    "description": "null: it was left out; `reasons` tell why.",
                },
                reasons=many(TEXT),
                nearest=maybe(
                    thing(kind=TEXT, start=TIME, end=TIME, node_count=WHOLE)
                    | {"description": "What fitted then in its place."}
                ),
            )
        ),
    ),
    "Outlook": thing(
        fits={**YES, "description": "Whether anything would be booked."},
        slots=many(
            thing(
                start=TIME,
                end=TIME,
                node_count={**maybe(WHOLE), "description": "What would be granted; null: it has no room."},
                reasons=many(TEXT),
            )
        ),
        over={"type": "object", "additionalProperties": TEXT},
        ceilings=many(
            thing(
                what=TEXT,
                now={"type": "number"},
                with_this={"type": "number"},
                at_most=maybe(WHOLE),
            )
        ),
    ),
    "Node": thing(
        name=TEXT, kind=TEXT, vcpus=WHOLE, memory_mib=WHOLE, disk_gib=WHOLE, host=TEXT, storage=TEXT
    ),
    "Access": thing(address=TEXT, commands=many(TEXT), known_hosts=maybe(TEXT), fingerprint=maybe(TEXT)),
    "Step": thing(
        step=TEXT,
        operation=TEXT,
        host=TEXT,
        state=TEXT,
        detail=maybe(TEXT),
        failures=WHOLE,
        retry_at=maybe(TIME),
        started_at=maybe(TIME),
        done_at=maybe(TIME),
        seconds=maybe({"type": "number"}),
        removal_started_at=maybe(TIME),
        removed_at=maybe(TIME),
    ),
    "Offer": thing(
        made_by=TEXT,
        made_at=TIME,
        expires_at=TIME,
        is_open=YES,
        message=TEXT,
        asked=ref("Terms"),
        offered=ref("Terms"),
        node_count={**WHOLE, "description": "As many compute nodes are held for it."},
        answer=maybe({"enum": list(ANSWERS)}),
        answered_at=maybe(TIME),
        reason=maybe(TEXT),
    ),
    "Terms": thing(
        start=TIME,
        end=TIME,
        home_gib=WHOLE,
        shared_disk_gib=WHOLE,
        rolls=many(TEXT),
        groups=many(
            thing(
                name=TEXT, node_names=many(TEXT), least=WHOLE, vcpus=WHOLE, memory_mib=WHOLE, disk_gib=WHOLE
            )
        ),
    ),
    "Check": thing(name=TEXT, is_ok=YES, detail=TEXT, seconds=maybe({"type": "number"})),
    "Events": thing(
        events=many(thing(at=TIME, actor=TEXT, kind=TEXT, message=TEXT, data={"type": "object"}))
    ),
    "LatestEnd": thing(latest_end=TIME, in_the_way=many(ref("InTheWay"))),
    "InTheWay": thing(what=TEXT, name=maybe(TEXT), until=TIME),
    "Usage": thing(
        **{"from": TIME, "to": TIME},
        by={"enum": list(accounting.BY)},
        usage=many(
            thing(project=TEXT, **{name: {"type": "number"} for name in accounting.HOURS})
            | {
                "description": "With the number of reservations, or with number, name, owner, state, start and end."
            }
        ),
    ),
    "Rolls": thing(rolls=many(ROLL), appliances=many(ROLL)),
    "Availability": thing(
        earliest=maybe(thing(start=TIME, end=TIME)),
        largest=thing(
            start=TIME, end=TIME, node_count=WHOLE, groups=many(thing(name=TEXT, node_count=WHOLE))
        ),
        free=many(thing(role=TEXT, resource=TEXT, free=WHOLE, total=WHOLE, largest=WHOLE)),
        alternatives=many(ref("Alternative")),
    ),
    "Alternative": thing(
        kind={"enum": ["later", "smaller", "shorter", "fewer"]},
        request={"type": "object", "description": "Can be sent as it is, or with what is lacking."},
    ),
    "Problem": thing(type=TEXT, title=TEXT, status=WHOLE, detail=TEXT, request_id=TEXT)
    | {"description": "RFC 9457. Some kinds have more members, see the documentation."},
}
