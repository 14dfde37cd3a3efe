# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The way out of a logical volume that a detached job overwrites first; the same for thin volumes and thick ones."""

from __future__ import annotations

from workers.node.protocol import Refused
from workers.node.steps import Command, EndJob, JobSeen


def plan_removal(job: str, seen: JobSeen, device: str, where: str, remove: Command) -> list[Command]:
    """What follows from the state of the job `job` that overwrites `device`, the volume `where`; it has been begun.

    Nothing while it runs; the removal once it has ended well; else the job is cleared away, to be begun anew.
    """
    end = EndJob(job, device)
    if seen.state == "running":
        return []
    if seen.state == "lost":
        return [end]
    if seen.rc == 0:
        return [end, remove]
    said = seen.log[-500:].strip() or f"it ended with status {seen.rc}"
    raise Refused("tool_failed", f"overwriting {where} with zeros failed: {said}", (end,))
