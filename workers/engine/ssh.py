# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""One SSH connection to one host whose key is pinned, bounded in time and in bytes whatever the host does.

Both bounds sit in the socket (`Wire`): once the deadline or the byte budget is over paramiko reads the end of
the stream, its thread ends, and everything that waits for the host wakes up. So no other wait needs a
time-out.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import logging
import math
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from app.domain.errors import SiteError

CONNECT_S = (
    10.0  # a live host on a management network answers in milliseconds; its SYN is sent four times in this
)
LOGIN_BYTES = 256 * 1024  # key exchange and log-in take about 4 KiB
CHUNK = 32 * 1024
STDERR_TAIL = 2048
KEEPALIVE_S = 15

# Curve25519 costs about 2 ms of CPU for both ends together, OpenSSH's default exchange (sntrup761) about 180
# ms.
KEX_FIRST = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
# A host's key of this type is shown by these signature algorithms (RFC 8332).
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")

# A host that breaks off is a value here; paramiko would print a traceback on stderr, which cron mails.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
_PARAMIKO = (paramiko.SSHException, OSError, EOFError)  # what it raises when a connection goes wrong


@dataclass(frozen=True)
class Endpoint:
    """Where a host's sshd is and the key it must show. `host_key`: "ssh-ed25519 AAAA...", a comment may
    follow."""

    name: str
    address: str
    port: int
    host_key: str
    user: str = "root"

    def __str__(self) -> str:
        return f"host {self.name} ({self.address} port {self.port})"


class Broken(Exception):
    """The connection is of no more use. `code` is one of host_unreachable, timeout, host_key_changed,
    access_refused, bad_reply; the words name the host and what to do next."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Wire(socket.socket):
    """A connected TCP socket that ends by itself: after `until` (monotonic seconds) or `budget` received
    bytes.

    paramiko's thread looks at it each 0.1 s; `over` then says which bound was passed ("deadline" or "flood").
    """

    until = math.inf
    budget = LOGIN_BYTES
    over: str | None = None

    def allow(self, until: float, budget: int) -> None:
        """Set both bounds anew, unless one has been passed already."""
        self.until, self.budget = until, budget

    def cut(self) -> None:
        """End the connection at once, from whichever thread; every wait on it wakes up."""
        with contextlib.suppress(OSError):  # it may not be connected any more
            self.shutdown(socket.SHUT_RDWR)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        if self._is_over():
            return b""
        data = super().recv(bufsize, flags)
        self.budget -= len(data)
        return data

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]  # paramiko sends bytes
        if self._is_over():
            raise ConnectionAbortedError(errno.ECONNABORTED, "the deadline is over")
        return super().send(data, flags)

    def _is_over(self) -> bool:
        if self.over is None and self.budget < 0:
            self.over = "flood"
        if self.over is None and time.monotonic() >= self.until:
            self.over = "deadline"
        return self.over is not None


@dataclass(frozen=True)
class Link:
    """An authenticated connection."""

    endpoint: Endpoint
    wire: Wire
    transport: paramiko.Transport

    def start(self, command: str) -> paramiko.Channel:
        """A session in which the host runs `command` (or its forced command); raises Broken."""
        try:
            channel = self.transport.open_session()
            channel.exec_command(command)
        except _PARAMIKO as error:
            raise self.broken(error, "before it had started the command") from None
        return channel

    def broken(self, error: Exception | None, when: str) -> Broken:
        """What ended this connection, as the exception to raise."""
        return _broken(self.endpoint, self.wire, error, when)


@dataclass(frozen=True)
class Outcome:
    """How a session ended: exit status, None when the host gave none (killed, or connection lost), and the
    end of what it wrote to stderr."""

    status: int | None
    stderr: bytes


def load_identity(path: Path) -> paramiko.PKey:
    """The private key in the file `path`; raises SiteError when there is none that can be used."""
    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, TypeError, paramiko.SSHException, UnknownKeyType) as error:
        raise SiteError(
            f"the SSH key {path} cannot be used ({error}); it must be a private key without a passphrase that "
            "this user may read. `leasehold init` makes the manager's own."
        ) from None


def fingerprint(host_key: str) -> str:
    """The key's SHA256 fingerprint as ssh-keygen -l prints it; raises ValueError for what is no public key
    line."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key_blob(host_key)).digest()).decode().rstrip("=")


def key_blob(host_key: str) -> bytes:
    """The binary key in a line "type base64 [comment]"; raises ValueError when the line is not one."""
    words = host_key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        raise ValueError(
            f"{host_key[:60]!r} is not a public key line such as 'ssh-ed25519 AAAA...'"
        ) from None
    kind = words[0].encode()
    if not blob.startswith(len(kind).to_bytes(4, "big") + kind):
        raise ValueError(f"{host_key[:60]!r}: the key is not of the type that the line names")
    return blob


def open_link(endpoint: Endpoint, identity: paramiko.PKey, until: float) -> Link:
    """Connect, check the host's key, log in. Raises Broken by `until` (monotonic seconds) at the latest."""
    wire = _connect(endpoint, until)
    transport = _transport(endpoint, wire)
    when = "before it had said what it is"
    try:
        transport.start_client()
        _check_host_key(endpoint, transport)
        when = "while the manager logged in"
        transport.auth_publickey(endpoint.user, identity)
        transport.set_keepalive(KEEPALIVE_S)
        return Link(endpoint, wire, transport)
    except _PARAMIKO as error:
        if isinstance(error, paramiko.AuthenticationException) and transport.is_active():
            broken = Broken(
                "access_refused",
                f"{endpoint} does not accept the key for user {endpoint.user}: its line in authorized_keys "
                f"is missing or changed. Run `leasehold host add {endpoint.name} {endpoint.address}` again.",
            )
        else:
            broken = _broken(endpoint, wire, error, when)
        _shut(wire, transport)
        raise broken from None
    except BaseException:
        _shut(wire, transport)
        raise


def shown_host_key(address: str, port: int, until: float) -> str:
    """The key ("type base64") that the sshd there shows to whoever asks, unchecked; raises Broken."""
    endpoint = Endpoint(address, address, port, "")
    wire = _connect(endpoint, until)
    transport = _transport(endpoint, wire)
    try:
        transport.start_client()
        key = transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"
    except _PARAMIKO as error:
        raise _broken(endpoint, wire, error, "before it had shown its key") from None
    finally:
        _shut(wire, transport)


def exchange(
    link: Link,
    channel: paramiko.Channel,
    data: bytes,
    take: Callable[[bytes], bool],
    *,
    is_last: bool = True,
) -> Outcome | None:
    """Send `data`; hand what comes back on stdout to `take` until that says True (enough).

    Returns None when `take` had enough, else how the session ended. The end of input follows `data` and the session
    is closed, but where `is_last` is False and `take` had enough: then the session is as good as before for more.
    Both directions and stderr move together, so that neither end can block the other. Raises Broken when the
    wire's bounds are passed or the connection is lost.
    """
    keep = False
    unsent, stderr = data, b""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    try:
        while True:
            ended = channel.eof_received or channel.closed
            if channel.recv_stderr_ready():
                stderr = (stderr + channel.recv_stderr(CHUNK))[-STDERR_TAIL:]
            elif channel.recv_ready():
                if take(channel.recv(CHUNK)):
                    keep = not is_last
                    return None
            elif ended:
                break
            elif unsent and channel.send_ready():
                unsent = _send(channel, unsent, is_last)
            else:
                poll.poll(50 if unsent else 1000)
        channel.status_event.wait()
        if channel.exit_status < 0 and not link.transport.is_active():
            raise link.broken(link.transport.get_exception(), "while it worked")
        return Outcome(None if channel.exit_status < 0 else channel.exit_status, stderr)
    except _PARAMIKO as error:
        raise link.broken(error, "while it worked") from None
    finally:
        if not keep:
            with contextlib.suppress(*_PARAMIKO):
                channel.close()


def close(links: Iterable[Link]) -> None:
    """End connections together; their threads and file descriptors are gone afterwards."""
    links = list(links)
    for link in links:
        link.wire.cut()
    for link in links:
        _shut(link.wire, link.transport)


def _connect(endpoint: Endpoint, until: float) -> Wire:
    seconds = min(CONNECT_S, until - time.monotonic())
    if seconds <= 0:
        raise Broken("timeout", f"{endpoint} was not reached: no time was left")
    try:
        plain = socket.create_connection((endpoint.address, endpoint.port), seconds)
    except TimeoutError:
        text = f"no answer within {seconds:.0f} s"
    except OSError as error:
        text = error.strerror or str(error)
    else:
        wire = Wire(plain.family, plain.type, plain.proto, fileno=plain.detach())
        wire.until = until
        # Nagle's algorithm waits for the host's delayed acknowledgement: 40 ms for each small request.
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return wire
    raise Broken(
        "host_unreachable",
        f"{endpoint} cannot be reached: {text}. Is it up, is its sshd running, is the address right "
        f"(`leasehold host check {endpoint.name}`)?",
    )


def _send(channel: paramiko.Channel, unsent: bytes, is_last: bool) -> bytes:
    """Send what fits now, and the end of input behind the last of it; returns what is left."""
    try:
        unsent = unsent[channel.send(unsent[:CHUNK]) :]
    except OSError:
        return b""  # the host has closed its end: what it said before tells more than this error
    if not unsent and is_last:
        channel.shutdown_write()
    return unsent


def _transport(endpoint: Endpoint, wire: Wire) -> paramiko.Transport:
    """paramiko's end of the connection, not started yet, that asks for the pinned type of key first."""
    transport = paramiko.Transport(wire)
    # The wire's own deadline is the one that counts.
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = 3600
    options = transport.get_security_options()
    options.kex = KEX_FIRST + tuple(name for name in options.kex if name not in KEX_FIRST)
    kind = endpoint.host_key.split(" ", 1)[0]
    first = RSA_SIGNATURES if kind == "ssh-rsa" else (kind,)
    options.key_types = tuple(sorted(options.key_types, key=lambda name: name not in first))
    return transport


def _check_host_key(endpoint: Endpoint, transport: paramiko.Transport) -> None:
    try:
        pinned = key_blob(endpoint.host_key)
    except ValueError as error:
        raise Broken("host_key_changed", f"{endpoint} has no usable key in its row: {error}") from None
    shown = transport.get_remote_server_key()
    if shown.asbytes() == pinned:
        return
    shown_line = f"{shown.get_name()} {shown.get_base64()}"
    raise Broken(
        "host_key_changed",
        f"{endpoint} SHOWS ANOTHER HOST KEY than the pinned one, so nothing was sent to it: it was installed "
        "anew, or somebody stands between. "
        f"Pinned: {endpoint.host_key.split()[0]} {fingerprint(endpoint.host_key)}; "
        f"shown: {shown.get_name()} {fingerprint(shown_line)}. "
        "Compare the shown one with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own "
        f"console; if it is the same, run `leasehold host add {endpoint.name} {endpoint.address}` to pin it.",
    )


def _broken(endpoint: Endpoint, wire: Wire, error: Exception | None, when: str) -> Broken:
    if wire.over == "deadline":
        return Broken("timeout", f"{endpoint} stopped answering {when}; the time for this call is over")
    if wire.over == "flood":
        return Broken(
            "bad_reply", f"{endpoint} sent more than a call may bring back, {when}; the rest was not read"
        )
    text = " ".join(str(error).split())[:200] if error and str(error) else "connection closed"
    return Broken("host_unreachable", f"{endpoint} broke off the connection {when}: {text}")


def _shut(wire: Wire, transport: paramiko.Transport | None) -> None:
    """End the connection and wait for paramiko's thread, which never blocks on the wire for more than 0.1
    s."""
    wire.cut()
    if transport is not None:
        if transport.is_alive():
            transport.join(2)
        transport.close()
    wire.close()
