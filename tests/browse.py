# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A visitor of the pages over HTTP: logs in, opens pages, fills in their forms, as a person without JavaScript does."""

from __future__ import annotations

import html
import re
from typing import Any

import requests

from tests.factories import PASSWORD

TIMEOUT_S = 30


class Visitor:
    """One browser window on a running web server."""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.session = requests.Session()
        # The environment's proxies are not for loopback.
        self.session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        """Open a page."""
        return self.session.get(self.base + path, timeout=TIMEOUT_S, **options)

    def post(
        self, path: str, data: dict[str, Any], *, page: str | None = None, **options: Any
    ) -> requests.Response:
        """Send a form: `page` (else the same path) is opened first for the token in it, and the data laid over it."""
        fields = hidden_fields(self.get(page or path).text, path) | data
        return self.session.post(self.base + path, data=fields, timeout=TIMEOUT_S, **options)

    def log_in(self, name: str, password: str = PASSWORD) -> requests.Response:
        """Log in by the login page."""
        return self.post("/login", {"name": name, "password": password})


def hidden_fields(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that goes to `action`; a form without an action goes to its own page."""
    forms: list[tuple[str, str]] = re.findall(r"<form([^>]*)>(.*?)</form>", page, re.S)
    for head, body in forms:
        goes_to = re.search(r'action="([^"]*)"', head)
        if (goes_to is None and "/logout" not in action) or (goes_to and html.unescape(goes_to[1]) == action):
            fields = {}
            for field in re.findall(r"<input[^>]*>", body):
                parts = {key: html.unescape(value) for key, value in re.findall(r'(\w+)="([^"]*)"', field)}
                if parts.get("type") == "hidden":
                    fields[parts["name"]] = parts.get("value", "")
            return fields
    raise AssertionError(f"no form on the page goes to {action}")
