# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the SSH door ask hosts with, and TCP servers that are no hosts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.site import sshd as real
from workers.engine.hosts import Answer, call
from workers.engine.ssh import Endpoint
from workers.node.protocol import Request

HELPER = f"/usr/bin/python3 -S -E {Path(__file__).with_name('odd_helper.py')}"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real.Sshd]:
    """A real sshd whose forced command is the odd helper."""
    with real.running(tmp_path_factory.mktemp("sshd") / "d", HELPER) as server:
        yield server


def endpoint(server: real.Sshd, name: str = "h1", port: int | None = None) -> Endpoint:
    return Endpoint(name, "127.0.0.1", port or server.port, server.host_key)


def no_secret(name: str) -> str:
    raise KeyError(name)


def ask(
    server: real.Sshd,
    *requests: Request,
    to: Endpoint | None = None,
    deadline_s: float = 20,
    identity: Path | None = None,
    reveal: Callable[[str], str] = no_secret,
) -> Answer:
    to = to or endpoint(server)
    return call(to, requests, identity=identity or server.identity, reveal=reveal, deadline_s=deadline_s)


def wish(id_: str, do: str = "echo", **args: object) -> Request:
    return Request(id_, "file", "present", {"do": do, **args})


def code(answer: Answer) -> str | None:
    return answer.failure.code if answer.failure else None


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server on 127.0.0.1, its port: each connection goes to `serve` in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in [acceptor, *threads]:
            thread.join(5)


def silence(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(0.1)
    while connection.recv(65536):
        pass


def banner_then_silence(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    silence(connection)
