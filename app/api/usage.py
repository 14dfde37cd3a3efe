# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What was used in a time, as on its page; a service provider is told their own."""

from __future__ import annotations

from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from app.api import body
from app.api.fields import MOMENT_SCHEMA, TEXT, Field, Fields, moment, text
from app.booking import accounting
from app.web import visit

QUESTION: Fields = {
    "from": Field(moment, MOMENT_SCHEMA, is_required=True),
    "to": Field(
        moment,
        MOMENT_SCHEMA
        | {"description": f"The first moment that does not count; {accounting.LONGEST.days} days at most."},
        is_required=True,
    ),
    "by": Field(text, TEXT | {"enum": list(accounting.BY), "default": accounting.BY[0]}),
}


def show() -> ResponseReturnValue:
    """What was used in a time: hours times nodes, GiB of memory and disk, and addresses; what lies ahead as booked."""
    site = visit.site()
    asked: dict[str, Any] = {"by": accounting.BY[0]} | body.sound_query(QUESTION)
    made = accounting.report(
        site.database, site.settings, visit.me(), asked["from"], asked["to"], asked["by"]
    )
    return jsonify(accounting.as_data(made))
