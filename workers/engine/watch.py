# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What cron starts: look again and again whether anything is due, and load the engine only then."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from app.db.away import is_away
from app.db.look import Look
from app.domain.errors import SiteError
from app.settings import Settings, load
from workers.plan import timing

# Exit status of sysexits.h: the failure is temporary, the next run may do better.
EX_TEMPFAIL = 75
EX_FAILED = 1
# A pass that works on and on says so often enough not to be missed (see app.db.pass_run).
SIGN_S = 60.0
# A look may say yes where the turn then finds nothing to do; looking four times a second would find it again.
WIDE_S = 2.0


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Run the pass `name` as the arguments say and return the exit status.

    `--for 55s` works and watches that long; `--once` (the default) ends as soon as nothing is due. 75 when the
    database cannot be used: cron's next start tries again. A mistake of ours is raised, so that cron mails where.
    """
    parser = argparse.ArgumentParser(prog=f"leasehold pass {name}", description=f"Run the {name} pass.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--for", dest="seconds", type=_seconds, default=0.0, help="work and watch that long, like 55s"
    )
    how.add_argument("--once", action="store_true", help="end as soon as nothing is due (the default)")
    options = parser.parse_args(argv)
    try:
        settings = load()
        return _watch(name, settings, options.seconds)
    except SiteError as why:
        print(f"leasehold pass {name}: {why}", file=sys.stderr)
        return EX_FAILED
    except Exception as why:
        if not is_away(why):
            raise
        print(f"leasehold pass {name}: the database cannot be used: {why}", file=sys.stderr)
        return EX_TEMPFAIL


def _watch(name: str, settings: Settings, seconds: float) -> int:
    """Look, work and sleep for `seconds`; with 0 work until nothing is due. Note that it ran, also when idle."""
    started, began = datetime.now(UTC), time.monotonic()
    until, sign_at = began + seconds, began + SIGN_S
    turn: Callable[[Callable[[], bool]], Any] | None = None
    worked = failed = 0
    with Look(settings.database, settings.passes.look_s) as look:
        lead = timing.lead(look.past_builds_s(), settings.booking.lead_s)
        while True:
            pause_s = look.every_s
            if look.is_due(name, lead):
                if turn is None:
                    turn = importlib.import_module("workers.engine.turn").open_turn(settings, name)
                tally = turn(lambda: seconds > 0.0 and time.monotonic() >= until)
                worked, failed = worked + tally.worked, failed + tally.failed
                if not (tally.worked or tally.failed):
                    pause_s = WIDE_S
            now = time.monotonic()
            rest = until - now
            if rest <= 0.0 or now >= sign_at:
                look.note_run(name, started, worked, failed)
                sign_at = now + SIGN_S
            if rest <= 0.0:
                return 0
            time.sleep(min(pause_s, rest))


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("give more than 0 s and at most a day")
    return value
