# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A unit test computes: it opens no connection, starts no process and does not wait."""

import socket
import subprocess
import time
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def only_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: str) -> Any:
        def refused(*_args: object, **_kwargs: object) -> NoReturn:
            raise AssertionError(f"a unit test {what}; move it to another folder of tests/")

        return refused

    monkeypatch.setattr(socket.socket, "connect", refuse("opened a connection"))
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse("started a process"))
    monkeypatch.setattr(time, "sleep", refuse("slept"))
