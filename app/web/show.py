# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What templates may call: times in the visitor's zone, words for states, names of assets with their hash."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from flask import Flask, url_for
from markupsafe import Markup

from app.db import pass_run
from app.domain.refusal import Difference
from app.domain.shape_input import USUAL
from app.web import visit, words
from app.web.steps import Standing

STATIC = Path(__file__).parent / "static"


def register(app: Flask) -> None:
    """Make the filters known to the templates."""
    app.add_template_filter(when, "when")
    app.add_template_filter(at, "at")
    app.add_template_filter(away, "away")
    app.add_template_filter(words.duration, "duration")
    app.add_template_filter(words.mib, "mib")
    app.add_template_filter(words.amount, "amount")
    app.add_template_filter(words.groups, "groups")
    app.add_template_filter(words.numbers, "numbers")
    app.add_template_filter(words.sizes, "sizes")
    app.add_template_filter(words.told_at, "told_at")
    app.add_template_filter(difference, "difference")
    app.add_template_filter(words.standing, "standing")
    app.add_template_filter(badge, "badge")
    app.add_template_global(asset, "asset")
    app.add_template_global(alarm, "alarm")
    app.jinja_env.globals.update(policies=list(words.POLICY_WORDS.items()), most_groups=USUAL.groups)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True


def when(moment: datetime) -> Markup:
    """A moment in the visitor's zone, with UTC in the tooltip and in the machine-readable attribute."""
    return _time(moment, words.clock(moment, visit.zone()))


def at(moment: datetime) -> Markup:
    """A moment of today to the second."""
    return _time(moment, words.clock_s(moment, visit.zone()))


def away(moment: datetime) -> str:
    """How far the moment is from the request's time."""
    return words.away(moment, visit.now())


def difference(one: Difference) -> str:
    """A change of a field in words."""
    return words.difference(one, visit.now(), visit.zone())


def badge(standing: Standing) -> Markup:
    """Sign and word in the tone's colours."""
    tone, sign, word = standing
    return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(
        tone, sign, word
    )


@lru_cache
def _hash(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file, which changes with its content: browsers may keep it for long."""
    return url_for("static", filename=name, v=_hash(name))


def alarm() -> str | None:
    """What is wrong with the passes, for the banner; None when all of them run."""
    late = pass_run.overdue(pass_run.latest(visit.reading()), visit.now())
    return words.overdue(late, visit.now()) if late else None


def _time(moment: datetime, text: str) -> Markup:
    utc = moment.astimezone(UTC)
    machine, human = f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(machine, human, text)
