# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A program that uses the API over HTTP, with a token and without a cookie."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from app.booking import token
from tests.factories import public_key
from tests.web.conftest import Site

TIMEOUT_S = 30


class Client:
    """One account's program; `name` None has no token."""

    def __init__(self, site: Site, name: str | None) -> None:
        self.base = site.base
        self.headers: dict[str, str] = {}
        if name is not None:
            secret = token.make(site.database, site.accounts[name], "test", 9, now=datetime.now(UTC))
            self.headers["Authorization"] = f"Bearer {secret}"

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> requests.Response:
        """One request; `body` is sent as JSON."""
        path = path if path.startswith("/api/") else f"/api/v1{path}"
        with requests.Session() as session:
            session.trust_env = False
            more |= {} if body is None else {"json": body}
            return session.request(
                method,
                self.base + path,
                headers={**self.headers, **(headers or {})},
                timeout=TIMEOUT_S,
                **more,
            )

    def get(self, path: str) -> requests.Response:
        """A GET."""
        return self.send("GET", path)


def wanted(**over: Any) -> dict[str, Any]:
    """The body of a request for two nodes for two hours from now."""
    return {
        "name": "vc-42",
        "end": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
        "node_count": 2,
        "vcpus": 1,
        "memory_mib": 512,
        "disk_gib": 4,
        "home_gib": 2,
        "rolls": ["nfs", "slurm"],
        "users": [{"name": "alice", "keys": [public_key(1)]}],
    } | over
