# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An iSCSI export of one volume by tgtd: a target, LUN 1, a CHAP account, and the initiators that may come.

tgtd keeps nothing over a restart: what is gone is simply made again. A target is ours when its name is within the
remit and it shows nothing but volumes of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names, thin
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, Exec, FileSeen, Output, Show, Stat, TgtAccount

LUN = "1"  # LUN 0 is tgtd's own controller
STORES = ("file", "lvm", "lvm_thick")
_ADM = ("tgtadm", "--lld", "iscsi")


@dataclass(frozen=True)
class Args:
    """`path` is the volume's; `password` the CHAP secret of `user`; `initiators` the addresses that may log in."""

    target: str
    path: str
    volume: str
    initiators: tuple[str, ...]
    user: str
    password: str

    @property
    def ours(self) -> str:
        """What the paths of our volumes begin with."""
        return self.path.partition(names.key_of(self.volume))[0]


@dataclass(frozen=True)
class Target:
    """One target as tgtd shows it. `luns` are (number, backing store), `connections` (session, connection)."""

    tid: str
    name: str
    luns: tuple[tuple[str, str], ...] = ()
    accounts: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    connections: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Seen:
    """Our target, whether our account exists, a target number that is free, and the volume."""

    target: Target | None
    has_account: bool
    free_tid: str
    volume: FileSeen | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"target","volume","store","initiator","user","password"}; `store` is the volume's operation,
    `initiator` an address or a list of them."""
    target, volume, store, initiator, user, password = names.take(
        raw, target=str, volume=str, store=str, initiator=(str, list), user=str, password=str
    )
    names.target(target, remit)
    names.marked(volume, remit, "volume")
    names.marked(user, remit, "user")
    names.same_key(target.partition(":")[2], volume, user)
    initiators = tuple(names.address(one, "initiator") for one in names.one_or_more(initiator, "initiator"))
    if store not in STORES:
        raise names.bad(f"store must be one of {', '.join(STORES)}, not {names.show(store)}")
    path = f"{remit.dir}/volumes/{volume}.raw" if store == "file" else thin.device(remit, volume)
    return Args(target, path, volume, initiators, user, names.password(password))


def lock(args: Args) -> str:
    """One lock for all of tgtd: two helpers must not take the same free target number."""
    return "tgtd"


def observe(args: Args, ask: Ask) -> Seen:
    """All targets and accounts of tgtd, and from them what concerns this one."""
    targets = parse_targets(_said(ask(Show((*_ADM, "--mode", "target", "--op", "show")))))
    accounts = parse_accounts(_said(ask(Show((*_ADM, "--mode", "account", "--op", "show")))))
    taken = {target.tid for target in targets}
    free = next(str(tid) for tid in range(1, len(taken) + 2) if str(tid) not in taken)
    ours = next((target for target in targets if target.name == args.target), None)
    return Seen(ours, args.user in accounts, free, ask(Stat(args.path)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """At the start the way in is opened last, at the end it is shut first."""
    _check_ours(args, seen.target)
    if want == "absent":
        return _plan_absent(args, seen)
    if seen.volume is None:
        raise Refused(
            "busy", f"volume {args.volume} is not on this host: it must be made before it is exported"
        )
    target = seen.target or Target(seen.free_tid, args.target)
    tid = ("--tid", target.tid)
    commands: list[Command] = []
    if seen.target is None:
        commands.append(_adm("target", "new", *tid, "--targetname", args.target))
    commands += [
        _adm("target", "unbind", *tid, "--initiator-address", a)
        for a in target.allowed
        if a not in args.initiators
    ]
    commands += _plan_account(args, seen, target)
    commands += [_adm("logicalunit", "delete", *tid, "--lun", n) for n, _ in _wrong_luns(args, target)]
    if (LUN, args.path) not in target.luns:
        commands.append(_adm("logicalunit", "new", *tid, "--lun", LUN, "--backing-store", args.path))
    commands += [
        _adm("target", "bind", *tid, "--initiator-address", a)
        for a in args.initiators
        if a not in target.allowed
    ]
    return commands


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def parse_targets(shown: str) -> list[Target]:
    """The targets in what `tgtadm --mode target --op show` prints (tgt 1.0.85)."""
    targets = []
    for block in re.split(r"^(?=Target \d+: )", shown, flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        number, _, name = head.removeprefix("Target ").partition(": ")
        sections = dict(re.findall(r"^ {4}(\S.*):\n((?: {8}.*\n?)*)", body, flags=re.MULTILINE))
        luns = re.findall(
            r"^ {8}LUN: (\d+)\n(?: {12}.*\n)*? {12}Backing store path: (.*)$",
            sections.get("LUN information", ""),
            flags=re.MULTILINE,
        )
        connections = [
            (session, connection)
            for session, rest in re.findall(
                r"^ {8}I_T nexus: (\d+)\n((?: {12}.*\n?)*)",
                sections.get("I_T nexus information", ""),
                flags=re.MULTILINE,
            )
            for connection in re.findall(r"^ {12}Connection: (\d+)$", rest, flags=re.MULTILINE)
        ]
        targets.append(
            Target(
                number,
                name.strip(),
                tuple(lun for lun in luns if lun[0] != "0"),
                _lines(sections.get("Account information", "")),
                _lines(sections.get("ACL information", "")),
                tuple(connections),
            )
        )
    return targets


def parse_accounts(shown: str) -> tuple[str, ...]:
    """The users in what `tgtadm --mode account --op show` prints."""
    return _lines(shown.partition("Account list:")[2])


def _plan_absent(args: Args, seen: Seen) -> list[Command]:
    """Sessions are closed one by one: tgtd ends itself when a forced delete finds one that it cannot close."""
    commands: list[Command] = []
    if seen.target is not None:
        tid = ("--tid", seen.target.tid)
        commands += [_adm("target", "unbind", *tid, "--initiator-address", a) for a in seen.target.allowed]
        commands += [
            _adm("conn", "delete", *tid, "--sid", session, "--cid", connection)
            for session, connection in seen.target.connections
        ]
        commands.append(_adm("target", "delete", *tid))
    if seen.has_account:
        commands.append(_adm("account", "delete", "--user", args.user))
    return commands


def _plan_account(args: Args, seen: Seen, target: Target) -> list[Command]:
    """An account that no target has is a killed helper's: whether its secret is today's cannot be asked."""
    tid = ("--tid", target.tid)
    commands: list[Command] = [
        _adm("account", "unbind", *tid, "--user", user) for user in target.accounts if user != args.user
    ]
    if args.user in target.accounts:
        return commands
    if seen.has_account:
        commands.append(_adm("account", "delete", "--user", args.user))
    commands.append(TgtAccount(args.user, args.password))
    commands.append(_adm("account", "bind", *tid, "--user", args.user))
    return commands


def _wrong_luns(args: Args, target: Target) -> list[tuple[str, str]]:
    return [lun for lun in target.luns if lun != (LUN, args.path)]


def _check_ours(args: Args, target: Target | None) -> None:
    for number, path in target.luns if target else ():
        if not path.startswith(args.ours):
            raise Refused(
                "not_ours",
                f"target {args.target} shows {path} as LUN {number}, which is no volume of ours: "
                "it was left alone",
            )


def _adm(mode: str, op: str, *options: str) -> Exec:
    return Exec((*_ADM, "--mode", mode, "--op", op, *options))


def _said(output: Output) -> str:
    if output.rc != 0:
        raise Refused("tool_failed", f"tgtadm does not reach tgtd ({output.stderr.strip()}): is tgt running?")
    return output.stdout


def _lines(section: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in section.splitlines() if line.strip())
