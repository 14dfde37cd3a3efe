# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The one door from the manager to its hosts: requests go out over SSH, one reply for each comes back.

One connection and one helper a host, all its requests in one batch, hosts side by side. Whatever a host does is a
value: nothing here raises for a host that is down, hung, changed or mad; its requests get replies that say so.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paramiko

from workers.engine import ssh
from workers.engine.ssh import Endpoint
from workers.node.protocol import Error, Hello, Reply, Request, is_hello, parse_hello, parse_reply

STALE_S = 5.0  # a kept helper has this long to greet again before a new connection is made
CALL_BYTES = 4 * 1024 * 1024  # all that one call may bring back, stdout and stderr together
LINE_BYTES = 1024 * 1024
MAX_HOSTS = 256  # hosts served at once: one thread of ours and one of paramiko's each
GRACE_S = 0.5  # a deadline is noticed within 0.1 s (see ssh.Wire); this is for a loaded machine
COMMAND = (
    "leasehold-helper"  # the host's forced command takes its place; without one the shell does not find it
)


@dataclass(frozen=True)
class Session:
    """The helper at work on a host, and the connection to it."""

    link: ssh.Link
    channel: paramiko.Channel


@dataclass(frozen=True)
class Answer:
    """What became of one host's batch.

    `replies` holds one reply a request, in the order of the requests. `hello` is None when the helper never
    spoke. `failure` says why not all replies are the host's own; None when they are.
    """

    endpoint: Endpoint
    replies: tuple[Reply, ...]
    hello: Hello | None
    failure: Error | None
    seconds: float


class Connections:
    """Connections that stay open for the length of a pass, with their helpers; a context manager, closed at its end.

    `identity` is the manager's ed25519 private key file. `reveal` gives the secret for a name: it takes the
    place of {"secret": NAME}, wherever in a request's args, just before the request is sent. It is called by
    many threads.
    """

    def __init__(self, *, identity: Path, reveal: Callable[[str], str]) -> None:
        self._identity = ssh.load_identity(identity)
        self._reveal = reveal
        self._sessions: dict[Endpoint, Session] = {}

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        sessions = list(self._sessions.values())
        self._sessions.clear()
        _close(sessions)

    def call_all(
        self, batches: Mapping[Endpoint, Sequence[Request]], *, deadline_s: float, max_hosts: int = MAX_HOSTS
    ) -> Iterator[Answer]:
        """Serve all hosts side by side and yield each one's Answer as soon as it is complete.

        The last Answer is out at most a second after `deadline_s`, counted from when the first is asked for:
        what a host had answered by then is kept, its other requests get the error `timeout`. The connection
        of a host that kept to the protocol stays open for the next call, any other is closed. Not to be used
        by two threads at once.
        """
        until = time.monotonic() + deadline_s
        calls = [_Call(to, tuple(requests), self._sessions.pop(to, None)) for to, requests in batches.items()]
        todo, done = deque(calls), queue.SimpleQueue[_Call]()

        def serve() -> None:
            while todo:
                try:
                    call = todo.popleft()
                except IndexError:
                    return
                call.run(self._identity, self._reveal, until)
                done.put(call)

        for number in range(min(len(calls), max_hosts)):
            threading.Thread(target=serve, name=f"hosts-{number}", daemon=True).start()
        waiting = {id(call): call for call in calls}
        try:
            while waiting:
                try:
                    call = done.get(timeout=max(0.0, until - time.monotonic()) + GRACE_S)
                except queue.Empty:
                    break  # a thread is stuck where no deadline reaches, a name look-up for one
                del waiting[id(call)]
                if call.session is not None:
                    self._sessions[call.endpoint] = call.session
                yield call.answer()
            for call in waiting.values():
                yield call.answer()
        finally:
            todo.clear()
            for call in waiting.values():
                call.abandon()


def call_all(
    batches: Mapping[Endpoint, Sequence[Request]],
    *,
    identity: Path,
    reveal: Callable[[str], str],
    deadline_s: float,
    max_hosts: int = MAX_HOSTS,
) -> Iterator[Answer]:
    """Connections.call_all on new connections, closed at the end."""
    with Connections(identity=identity, reveal=reveal) as door:
        yield from door.call_all(batches, deadline_s=deadline_s, max_hosts=max_hosts)


def call(
    endpoint: Endpoint,
    requests: Sequence[Request],
    *,
    identity: Path,
    reveal: Callable[[str], str],
    deadline_s: float,
) -> Answer:
    """One host's Answer to one batch, on a connection of its own."""
    batches = {endpoint: requests}
    (answer,) = call_all(batches, identity=identity, reveal=reveal, deadline_s=deadline_s)
    return answer


@dataclass(eq=False)
class _Call:
    """One host's batch under way: written by its own thread, read by the caller's when done or when time is
    over."""

    endpoint: Endpoint
    requests: tuple[Request, ...]
    session: Session | None  # in: one kept from before; out: one worth keeping
    got: dict[str, Reply] = field(default_factory=dict)
    hello: Hello | None = None
    failure: Error | None = None
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _abandoned: bool = False
    _finished: bool = False
    _masks: tuple[bytes, ...] = ()
    _partial: bytearray = field(default_factory=bytearray)
    _missing: int = 0
    _is_done: bool = False  # the host has greeted behind the last request
    _until: float = math.inf
    _odd: str = ""  # the first line that made no sense

    def run(self, identity: paramiko.PKey, reveal: Callable[[str], str], until: float) -> None:
        """Bring the batch to the host and its replies back; never raises."""
        started = time.monotonic()
        try:
            data = self._encode(reveal)
            if self._missing:
                self._converse(data, identity, until)
        except ssh.Broken as broken:
            self._fail(broken.code, broken.message)
        except Exception as bug:  # one host's trouble must not end the thread that serves others too
            self._fail("bug", f"{self.endpoint}: the manager's own SSH door failed: {type(bug).__name__}")
        self.seconds = time.monotonic() - started
        with self._lock:
            self._finished = True
            abandoned = self._abandoned
        if abandoned:
            self._drop()

    def abandon(self) -> None:
        """Nobody waits for this one any more: its thread ends by itself, and no connection outlives it."""
        with self._lock:
            self._abandoned = True
            finished = self._finished
        if finished:
            self._drop()

    def answer(self) -> Answer:
        """The outcome, whole or as far as it has come."""
        failure = self.failure
        got = dict(self.got)
        missing = [request.id for request in self.requests if request.id not in got]
        if missing and failure is None:
            failure = Error(
                "timeout", f"{self.endpoint} was not done when the time for this call was over", True
            )
        for id_ in missing:
            got[id_] = Reply(id_, ok=False, state="unknown", error=failure)
        return Answer(
            self.endpoint,
            tuple(got[request.id] for request in self.requests),
            self.hello,
            failure,
            self.seconds,
        )

    def _encode(self, reveal: Callable[[str], str]) -> bytes:
        """The batch as it goes over the wire; a request whose secret is not to be had is answered at once."""
        lines, secrets = [], set[str]()
        for request in self.requests:
            try:
                args = filled(request.args, reveal, secrets)
            except Exception as error:  # reveal is the caller's; which request it failed for matters most
                message = (
                    f"request {request.id} ({request.op}) was not sent: a secret it needs cannot be made"
                )
                reason = Error("secret_missing", f"{message} ({type(error).__name__})", True)
                self.got[request.id] = Reply(request.id, ok=False, state="unknown", error=reason)
            else:
                lines.append(replace(request, args=args).to_json().encode() + b"\n")
        self._masks = _masks(secrets)
        self._missing = len(lines)
        return b"".join(lines)

    def _converse(self, data: bytes, identity: paramiko.PKey, until: float) -> None:
        self._until = until
        outcome = self._ask_kept(data)
        if self.hello is None:
            link = ssh.open_link(self.endpoint, identity, until)
            link.wire.allow(until, CALL_BYTES)
            self.session = _started(link)
            outcome = self._exchange(self.session, data)
        if self._is_done and not self._missing and self.session is not None:
            self.session.link.wire.allow(math.inf, CALL_BYTES)
            return
        said = self._odd or "it said nothing"
        if outcome is None:
            words = f"left {self._missing} requests unanswered: {said}"
        else:
            status = "no exit status" if outcome.status is None else f"exit status {outcome.status}"
            said = _clean(outcome.stderr, self._masks) or said
            if outcome.status == 127 and self.hello is None:
                said += (
                    f" (no forced command there? `leasehold host add {self.endpoint.name} ...` installs it)"
                )
            words = f"ended with {self._missing} requests unanswered, {status}: {said}"
        raise ssh.Broken("bad_reply", f"{self.endpoint}: the helper {words}")

    def _ask_kept(self, data: bytes) -> ssh.Outcome | None:
        """Bring the batch to the kept helper, if there is one; without a greeting it was of no more use."""
        if self.session is None:
            return None
        self.session.link.wire.allow(min(self._until, time.monotonic() + STALE_S), CALL_BYTES)
        try:
            outcome = self._exchange(self.session, b"\n" + data)
        except ssh.Broken:
            if self.hello is not None:
                raise
            outcome = None
        if self.hello is None:
            self._drop()
            self._partial.clear()
        return outcome

    def _exchange(self, session: Session, data: bytes) -> ssh.Outcome | None:
        return ssh.exchange(session.link, session.channel, data + b"\n", self._take, is_last=False)

    def _take(self, chunk: bytes) -> bool:
        """Read what has come as far as lines are whole; True when the host has seen to every request."""
        self._partial += chunk
        *lines, rest = self._partial.split(b"\n")
        self._partial = rest
        if len(rest) > LINE_BYTES:
            raise ssh.Broken("bad_reply", f"{self.endpoint} sent a line of more than {LINE_BYTES} bytes")
        for line in lines:
            self._read(_masked(bytes(line), self._masks))
        return self._is_done

    def _read(self, line: bytes) -> None:
        try:
            text = line.decode()
            if self.hello is None:
                self.hello = parse_hello(text)
                if self.session is not None:
                    self.session.link.wire.until = self._until
                return
            if is_hello(text):
                self._is_done = True
                return
            reply = parse_reply(text)
        except (ValueError, RecursionError) as error:
            reason = f"{' '.join(str(error).split())[:200]}; it sent {_clean(line[:120], ())!r}"
            if self.hello is None:
                hint = f"`leasehold host add {self.endpoint.name} ...` brings this manager's helper"
                raise ssh.Broken(
                    "bad_reply", f"{self.endpoint} is not served by our helper: {reason}. {hint}"
                ) from None
            self._odd = self._odd or reason
            return
        if reply.id is not None and reply.id not in self.got and any(r.id == reply.id for r in self.requests):
            self.got[reply.id] = reply
            self._missing -= 1

    def _fail(self, code: str, message: str) -> None:
        self.failure = Error(code, message, True)
        self._drop()

    def _drop(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            _close([session])


def _started(link: ssh.Link) -> Session:
    """The helper, started on a new connection, which is closed again where that fails."""
    try:
        return Session(link, link.start(COMMAND))
    except BaseException:
        ssh.close([link])
        raise


def _close(sessions: Sequence[Session]) -> None:
    ssh.close(session.link for session in sessions)
    for session in sessions:
        session.channel.close()  # its descriptors; nothing goes to the host any more


def filled(value: Any, reveal: Callable[[str], str], used: set[str]) -> Any:
    """`value` with each {"secret": NAME} replaced; the secrets put in are added to `used`."""
    if isinstance(value, Mapping):
        if set(value) == {"secret"} and isinstance(value["secret"], str):
            secret = reveal(value["secret"])
            used.add(secret)
            return secret
        return {key: filled(item, reveal, used) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, reveal, used) for item in value]
    return value


def _masks(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """What must not come back: each secret, as it is and as JSON writes it, and each line of one with
    several."""
    parts = {part for secret in secrets for part in (secret, *secret.splitlines()) if len(part) >= 8}
    parts |= {json.dumps(part)[1:-1] for part in parts}
    return tuple(sorted((part.encode() for part in parts), key=len, reverse=True))


def _masked(data: bytes, masks: Iterable[bytes]) -> bytes:
    for mask in masks:
        data = data.replace(mask, b"***")
    return data


def _clean(data: bytes, masks: Iterable[bytes]) -> str:
    """A host's words as one line fit for an operator's screen: masked, no control characters."""
    text = _masked(data, masks).decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
