# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A person at the pages, over HTTP: forms are filled in and sent with what the page itself put into them."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import requests

from lab.run import LabError

TIMEOUT_S = 30


class _Forms(HTMLParser):
    """Collects each form's action and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((found.get("action", ""), {}))
        elif tag == "input" and found.get("type") == "hidden" and self.forms and "name" in found:
            self.forms[-1][1][found["name"]] = found.get("value", "")


class Person:
    """Somebody logged in at `address` (like http://127.0.0.1:8080)."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.send("/login", {"name": name, "password": password}, action="login")

    def get(self, path: str) -> str:
        """The page at `path`; LabError when it is not there."""
        answer = self.session.get(urljoin(self.address, path), timeout=TIMEOUT_S)
        if not answer.ok:
            raise LabError(f"{path}: status {answer.status_code}")
        return answer.text

    def send(self, path: str, values: dict[str, Any], *, action: str) -> str:
        """Open the page, fill in the form whose address holds `action`, send it; return where that led.

        LabError with the page's words when the form comes back with complaints.
        """
        parser = _Forms()
        parser.feed(self.get(path))
        for target, hidden in parser.forms:
            where = urljoin(self.address + path, target)
            if action in where:
                answer = self.session.post(where, data={**hidden, **values}, timeout=TIMEOUT_S)
                if not answer.ok:
                    raise LabError(f"{path}: status {answer.status_code}: {_words(answer.text)[:2000]}")
                return answer.url
        raise LabError(f"{path} has no form to {action!r}")

    def state(self, path: str) -> str:
        """The state of the reservation whose page is at `path`."""
        found = re.search(r'data-state="([a-z]+)"', self.get(path))
        if not found:
            raise LabError(f"{path} tells no state")
        return found[1]

    def access(self, path: str) -> tuple[str, str]:
        """The frontend's address and its host key, as the page of a ready reservation shows them."""
        found = re.search(r"<code>([0-9.]+) (ssh-ed25519 [A-Za-z0-9+/=]+)</code>", self.get(path))
        if not found:
            raise LabError(f"{path} shows no host key")
        return found[1], found[2]

    def first_reservation(self) -> str:
        """The path of the first reservation in the list."""
        found = re.search(r'href="(/reservations/[0-9]+)"', self.get("/reservations?state=all"))
        if not found:
            raise LabError("there is no reservation")
        return found[1]

    def steps(self, path: str) -> list[dict[str, str]]:
        """The rows of the reservation's table of steps (`path` is its page)."""
        return list(csv.DictReader(io.StringIO(self.get(f"{path}/steps.csv"))))


def _words(page: str) -> str:
    """The page's text without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page, flags=re.S)).strip()
