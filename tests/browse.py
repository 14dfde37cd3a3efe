# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A visitor of the pages over HTTP: logs in, opens pages, fills in their forms, as a person without JavaScript does."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
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


class _Form(HTMLParser):
    """Collects what a browser would send of the form that goes to `action`, without any of its buttons."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self.action, self.fields = action, dict[str, list[str]]()
        self.is_inside, self.chosen_of, self.text_of = False, "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.is_inside = given.get("action") == self.action
        elif self.is_inside and tag in ("input", "textarea", "select"):
            name = given["name"] or ""
            if tag == "select":
                self.chosen_of = name
            elif tag == "textarea":
                self.text_of = name
                self.fields[name] = [""]
            elif given.get("type") != "checkbox" or "checked" in given:
                self.fields.setdefault(name, []).append(given.get("value") or "")
        elif (
            self.is_inside and tag == "option" and ("selected" in given or self.chosen_of not in self.fields)
        ):
            # The first one, until one says that it is selected.
            self.fields[self.chosen_of] = [given["value"] or ""]

    def handle_data(self, data: str) -> None:
        if self.text_of:
            self.fields[self.text_of][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # The line feed right after the tag is no part of the text.
            self.fields[self.text_of][0] = self.fields[self.text_of][0].removeprefix("\n")
            self.text_of = ""
        elif tag == "form":
            self.is_inside = False


def form_fields(page: str, action: str) -> dict[str, list[str]]:
    """All fields of the form that goes to `action` as they stand on the page: name -> values."""
    form = _Form(action)
    form.feed(page)
    assert form.fields, f"no form on the page goes to {action}"
    return form.fields
