# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The host's own iSCSI login to one volume: a record, a session, and the device's stable name by path.

Only records and sessions of our targets are looked for; those of others are never touched. A storage host that is
lost keeps the session, and with it the guest's reads and writes, waiting until it is back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names, node_record
from workers.node.node_record import PORT
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Exec, FileSeen, Output, ReadTail, Show, Stat, WriteNode

MAX_RECORD = 64 * 1024
LOGIN_TIMEOUT_S = 45
NO_SESSIONS = 21  # ISCSI_ERR_NO_OBJS_FOUND
MAX_WAIT_S = 7 * 86_400
_ADM = ("iscsiadm", "--mode")


@dataclass(frozen=True)
class Args:
    """`record` is the whole of open-iscsi's record, with the secrets in it."""

    target: str
    portal: str
    lun: int
    record: str

    @property
    def device(self) -> str:
        """The stable name that udev gives the volume's device."""
        return device(self.portal, self.target, self.lun)

    @property
    def at(self) -> str:
        """The portal with its port."""
        return f"{self.portal}:{PORT}"


@dataclass(frozen=True)
class Session:
    """A session of our target: its number, where it is logged in, and what the kernel says of it."""

    sid: str
    at: str
    state: str


@dataclass(frozen=True)
class Seen:
    """A digest of the record, our target's sessions, and the device."""

    record: str | None
    sessions: tuple[Session, ...]
    device: FileSeen | None


def device(portal: str, target: str, lun: int) -> str:
    """Where the device of a logged-in volume is."""
    return f"/dev/disk/by-path/ip-{portal}:{PORT}-iscsi-{target}-lun-{lun}"


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"target","portal","lun","user","password","mutual","wait_s"}."""
    target, portal, lun, user, password, mutual, wait_s = names.take(
        raw,
        target=str,
        portal=str,
        lun=int,
        user=str,
        password=str,
        mutual=(str, type(None)),
        wait_s=int,
    )
    names.target(target, remit)
    names.marked(user, remit, "user")
    names.same_key(target.partition(":")[2], user)
    names.address(portal, "portal")
    names.within(lun, 0, 255, "lun")
    names.within(wait_s, 1, MAX_WAIT_S, "wait_s")
    names.password(password)
    if mutual is not None:
        names.password(mutual)
    return Args(target, portal, lun, node_record.text(target, portal, user, password, mutual, wait_s))


def lock(args: Args) -> str:
    """One target, one lock."""
    return f"login-{args.target.partition(':')[2]}"


def observe(args: Args, ask: Ask) -> Seen:
    """The record's digest, the sessions of this target, the device."""
    record = ask(ReadTail(node_record.path(args.target, args.portal), MAX_RECORD))
    shown = _said(ask(Show((*_ADM, "session"))))
    sessions = tuple(
        Session(sid, at, (ask(ReadTail(f"/sys/class/iscsi_session/session{sid}/state", 4096)) or "").strip())
        for sid, at in parse_sessions(shown, args.target)
    )
    return Seen(None if record is None else _digest(record), sessions, ask(Stat(args.device)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Write the record, log in; at the end log out and delete the record."""
    out: list[Command] = [
        Exec((*_ADM, "session", "--sid", session.sid, "--logout"), None, LOGIN_TIMEOUT_S)
        for session in seen.sessions
        if want == "absent" or session.at != args.at
    ]
    if want == "absent":
        if seen.record is not None:
            out.append(Exec((*_ADM, "node", "--targetname", args.target, "--op", "delete")))
        return out
    if seen.record != _digest(args.record):
        out.append(WriteNode(args.target, args.portal, args.record))
    if all(session.at != args.at for session in seen.sessions):
        way = ("--targetname", args.target, "--portal", args.at)
        out.append(Exec((*_ADM, "node", *way, "--login"), None, LOGIN_TIMEOUT_S))
    return out


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the storage host to answer, and for udev to name the device."""
    if want == "absent":
        return None
    lost = [session.state for session in seen.sessions if session.state != "LOGGED_IN"]
    if lost:
        return (
            f"the storage host at {args.at} does not answer (session {lost[0]}); reads and writes wait for it"
        )
    return None if seen.device else f"waiting for {args.device}"


def parse_sessions(shown: str, target: str) -> list[tuple[str, str]]:
    """(number, address:port) of the target's sessions in what `iscsiadm --mode session` prints (2.1.8)."""
    line = rf"^\w+: \[(\d+)\] (\S+),\d+ {re.escape(target)}(?: |$)"
    return re.findall(line, shown, flags=re.MULTILINE)


def _digest(record: str) -> str:
    return hashlib.sha256(record.encode()).hexdigest()[:16]


def _said(output: Output) -> str:
    if output.rc not in (0, NO_SESSIONS):
        raise Refused(
            "tool_failed", f"iscsiadm does not tell of its sessions: {output.stderr.strip()[-500:]}"
        )
    return output.stdout
