# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The site as its staff sees it: hosts, volumes, and the passes that do the work. Read-only."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from app.db import pass_run, resource, site
from app.web import visit, words
from app.web.volumes import pair


def listing() -> ResponseReturnValue:
    """All hosts: roles, state, capacity, last contact, why the passes keep away from one, and what its disks ail."""
    found, limit = site.hosts(visit.reading()), visit.site().settings.storage.full_percent
    ails = {host.name: words.ails(host.facts, limit) for host in found}
    return render_template("admin/hosts.html", hosts=found, ails=ails, now=visit.now())


def volumes() -> ResponseReturnValue:
    """All volumes on one page: owner, size, target, host attached, state."""
    found = pair(resource.of_storage(visit.reading()))
    total_mib = sum(volume.size_mib for volume in found)
    return render_template("admin/volumes.html", volumes=found, total_mib=total_mib)


def workers() -> ResponseReturnValue:
    """Each pass: its last run and what came of it, what is left for it to do, and what waits longest."""
    session, now = visit.reading(), visit.now()
    runs = {run.pass_name: run for run in pass_run.latest(session)}
    left, oldest = resource.backlog(session, now), resource.oldest_waiting(session)
    late = pass_run.overdue(runs.values(), now)
    passes = [
        (name, runs.get(name), left.get(name), oldest.get(name), name in late) for name in pass_run.PASSES
    ]
    return render_template("admin/workers.html", passes=passes, now=now)
