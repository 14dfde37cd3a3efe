# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The home page: what needs you."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from app.db import offer, reservation, site, trouble
from app.domain.lifecycle import LIVE
from app.web import visit, words

MOST_CARDS = 12


def show() -> ResponseReturnValue:
    """Open requests for those who decide, offers for those who asked, unwell hosts for those who mend; and the
    visitor's live clusters."""
    session, me, now = visit.reading(), visit.me(), visit.now()
    open_requests = offer.count_undecided(session, now) if me.role == "cluster_provider" else 0
    offered = offer.waiting_for(session, me, now)
    hosts = site.hosts(session) if me.role != "service_provider" else ()
    unwell = [host for host in hosts if host.suspect_until and host.suspect_until > now]
    limit = visit.site().settings.storage.full_percent
    ails = [(host, told) for host in hosts if (told := words.ails(host.facts, limit))]
    found = reservation.summaries(session, me, states=LIVE, limit=MOST_CARDS) if me.role != "operator" else ()
    mine = reservation.visible(me).with_only_columns(reservation.Reservation.id)
    degraded = trouble.degraded(session, mine) if me.role != "operator" else {}
    names = reservation.names_visible(session, me, degraded) if degraded else {}
    live = [(row, count, words.next_event(row, now)) for row, count in found]
    return render_template(
        "home.html",
        live=live,
        open_requests=open_requests,
        offered=offered,
        unwell=unwell,
        ails=ails,
        degraded=degraded,
        names=names,
        now=now,
    )
