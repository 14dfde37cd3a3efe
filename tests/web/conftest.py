# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages served over real HTTP, on a database of their own (waitress and lighttpd have tests of their own)."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from app import create_app
from app.db.account import Account
from app.db.base import Database
from app.db.site import Host
from app.settings import Booking, Settings, Web
from tests.browse import Visitor
from tests.factories import PASSWORD, make_login, make_site


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The application on a loopback port; its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Site:
    """A small site with its web server: four hosts, an account of each role, and two service providers."""

    base: str
    app: Flask
    database: Database
    settings: Settings
    hosts: dict[str, Host]
    accounts: dict[str, Account]
    visitors: dict[str, Visitor] = field(default_factory=dict)

    def visitor(self, name: str) -> Visitor:
        """A browser window in which this account is logged in; the same one each time."""
        if name not in self.visitors:
            self.visitors[name] = Visitor(self.base)
            assert self.visitors[name].log_in(name, PASSWORD).ok
        return self.visitors[name]


ROLES = {
    "anna": "service_provider",
    "ben": "service_provider",
    "carla": "cluster_provider",
    "otto": "operator",
}


def settings_for(url: str, folder: Path, booking: Booking | None = None, **web: Any) -> Settings:
    """Settings for plain HTTP, with a key of their own."""
    key = folder / "web.key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    return Settings(
        database=url,
        booking=booking or Booking(),
        web=Web(secret_key_file=str(key), secure_cookies=False, **web),
    )


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """`new_site(url)` fills the database behind the URL and serves its pages; `booking` are the site's rules."""
    with ExitStack() as cleanup:

        def make(url: str, booking: Booking | None = None, **web: Any) -> Site:
            settings = settings_for(url, tmp_path, booking, **web)
            app = create_app(settings)
            database: Database = app.extensions["leasehold"].database
            cleanup.callback(database.close)
            hosts = make_site(database)
            accounts = {name: make_login(database, name, role) for name, role in ROLES.items()}
            base = cleanup.enter_context(served(app))
            site = Site(base, app, database, settings, hosts, accounts)
            cleanup.callback(_close, site)
            return site

        yield make


def _close(site: Site) -> None:
    for visitor in site.visitors.values():
        visitor.session.close()


@pytest.fixture
def site(new_site: Callable[..., Site], database_url: str) -> Site:
    """The site, once on SQLite and once on PostgreSQL."""
    return new_site(database_url)


@pytest.fixture
def sqlite_site(new_site: Callable[..., Site], sqlite_url: str) -> Site:
    """The site on SQLite, for what has nothing to do with the kind of database."""
    return new_site(sqlite_url)


def with_web(settings: Settings, **web: Any) -> Settings:
    """The same settings with other ones for the web."""
    return replace(settings, web=replace(settings.web, **web))
