# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Makes one request true: observe, plan, run, observe again, until the plan is empty."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from workers.node.ops import OPS
from workers.node.ops.shape import Op
from workers.node.protocol import Refused, Remit, Reply, Request
from workers.node.run import Door
from workers.node.steps import Command, describe

LOCK_WAIT_S = 5
MAX_ROUNDS = 5


def answer(request: Request, remit: Remit, door: Door) -> Reply:
    """Do the request and give its reply; raises nothing but what is a bug."""
    did: list[str] = []
    seen: dict[str, Any] = {}
    try:
        op = _op(request, remit)
        args = op.parse(request.args, remit)
        with _lock(door.dir, op.lock(args)):
            why = _converge(op, request.want, args, door, did, seen)
    except Refused as refused:
        return Reply(request.id, False, "unknown", bool(did), tuple(did), seen, None, refused.error)
    return Reply(request.id, True, "pending" if why else request.want, bool(did), tuple(did), seen, why)


def _op(request: Request, remit: Remit) -> Op[Any, Any]:
    op = OPS.get(request.op)
    if op is None:
        raise Refused("bad_request", f"there is no operation {request.op}; there are {', '.join(OPS)}")
    if request.op not in remit.ops:
        raise Refused(
            "out_of_remit", f"operation {request.op} is not in this host's --ops {','.join(remit.ops)}"
        )
    return op


def _converge(
    op: Op[Any, Any], want: str, args: Any, door: Door, did: list[str], seen: dict[str, Any]
) -> str | None:
    """Bring it there; fills `did` and `seen` as it goes, so that a failure half-way still tells them.

    A later plan may hold new work (a detached job has ended meanwhile), but one that asks for nothing new shows
    that what was done did not help.
    """
    done: set[Command] = set()
    for _ in range(MAX_ROUNDS):
        state = _observe(op, args, door, seen)
        commands = _plan(op, want, args, state, door, did)
        if not commands:
            return op.waiting(want, args, state)
        if done.issuperset(commands):
            break
        for command in commands:
            door.run(command)
            did.append(describe(command))
        done.update(commands)
    names = "; ".join(map(describe, commands[:3]))
    raise Refused("not_converged", f"it was done without an error, and yet is still to do: {names}")


def _plan(
    op: Op[Any, Any], want: str, args: Any, state: Any, door: Door, did: list[str]
) -> Sequence[Command]:
    """The operation's plan; when it refuses, what it leaves to be cleared up is cleared up first."""
    try:
        return op.plan(want, args, state)
    except Refused as refused:
        for command in refused.clean_up:
            door.run(command)
            did.append(describe(command))
        raise


def _observe(op: Op[Any, Any], args: Any, door: Door, seen: dict[str, Any]) -> Any:
    state = op.observe(args, door.ask)
    seen.clear()
    seen.update(asdict(state))
    return state


@contextmanager
def _lock(dir: str, name: str) -> Iterator[None]:
    """Hold DIR/lock/name, so that two helpers never work on one thing; busy after LOCK_WAIT_S.

    The file is removed with the lock still held; whoever got the lock of a removed file takes a new one.
    """
    os.makedirs(os.path.join(dir, "lock"), 0o700, exist_ok=True)
    path = os.path.join(dir, "lock", name)
    deadline = time.monotonic() + LOCK_WAIT_S
    while (fd := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise Refused("busy", f"another helper is at work on {name}; it is tried again later")
        time.sleep(0.05)
    try:
        yield
    finally:
        os.unlink(path)
        os.close(fd)


def _try_lock(path: str) -> int | None:
    """A locked descriptor of the file that is at `path` now, or None when somebody else holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None
