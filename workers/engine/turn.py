# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""One turn of a pass, once something is due: everything heavy is imported from here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from app.db.base import Database
from app.settings import Settings
from workers.engine import secrets
from workers.engine.advance import advance
from workers.engine.blueprint import Blueprint
from workers.engine.hosts import Connections
from workers.engine.run_pass import Pass, Tally


def open_turn(settings: Settings, name: str) -> Callable[[Callable[[], bool]], Tally]:
    """A function that does what is due for the pass `name`; its argument says whether the pass's time is over.

    It keeps the database engine and the connections to hosts from one turn to the next.
    """
    database = Database(settings.database)
    if name == "schedule":
        blueprint = Blueprint(settings)
        return lambda is_over: Tally(*advance(database, settings, blueprint.lay_out))
    reveal = partial(secrets.derive, secrets.load_site_key(Path(settings.site_key_file)))
    open_door = partial(Connections, identity=Path(settings.ssh_key_file), reveal=reveal)
    return Pass(database, settings, name, open_door).run
