# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The golden image of a frontend, as in tests/site, for guests that are more than tiny ones."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.db.software import rolls_of
from app.domain.roll import resolve
from app.settings import Settings
from lab.plan import IMAGE_CACHE
from tests.site.life import ROLLS
from workers.node import build
from workers.node.protocol import Request, parse_reply
from workers.plan.image import plan_image


def patiently(
    is_so: Callable[[], Any], what: Callable[[], str], *, limit_s: float = 1200, every_s: float = 3
) -> Any:
    """What `is_so` gives as soon as that is anything; `what` says what lacks after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not (found := is_so()):
        assert time.monotonic() < end, what()
        time.sleep(every_s)
    return found


def built(helper: Path) -> str:
    """The golden image of a frontend, made on this machine by its own helper unless the cache has it."""
    helper.write_bytes(build.zipapp())
    IMAGE_CACHE.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    chosen = resolve(rolls_of(settings), {"base", "frontend", *ROLLS})
    wanted = plan_image("frontend", chosen, suite=settings.image.suite, mirror=settings.image.mirror)
    args = {"image": wanted.name, "size_mib": wanted.size_mib, "classes": list(wanted.classes)}
    args |= {"files": wanted.files, "modes": wanted.modes}
    argv = [sys.executable, "-IS", str(helper), "serve", "--mark", "lh", "--dir", str(IMAGE_CACHE.parent)]
    line = Request("1", "image", "present", args).to_json() + "\n"

    def is_made() -> bool:
        done = subprocess.run(
            [*argv, "--ops", "image"], input=line, capture_output=True, text=True, timeout=300
        )
        reply = parse_reply(done.stdout.splitlines()[1])
        assert reply.error is None or reply.error.retryable, reply.error
        return reply.state == "present"

    patiently(is_made, lambda: f"{wanted.name} was not made")
    return wanted.name
