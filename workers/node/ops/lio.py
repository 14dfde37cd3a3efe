# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An iSCSI export of one volume by the kernel (LIO): a target with LUN 0, at one address, for those it lists.

Initiators and target all show a CHAP secret. An export is ours when its name is within the remit and it shows
nothing but its own volume. The saved configuration follows each change, so an export is there again after a reboot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from workers.node import names, thin
from workers.node.lio import PORT, key
from workers.node.protocol import Refused, Remit
from workers.node.steps import Ask, Command, FileSeen, GetLio, LioExport, LioRemove, LioSave, LioSeen, Stat


@dataclass(frozen=True)
class Args:
    """`initiators` are the IQNs that may log in at the address `portal`, sorted; the backstore is called like the
    volume."""

    target: str
    volume: str
    device: str
    portal: str
    initiators: tuple[str, ...]
    password: str
    mutual: str


@dataclass(frozen=True)
class Seen:
    """The export, and the volume's device."""

    export: LioSeen
    device: FileSeen | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"target","volume","portal","initiator","user","password","mutual"}; `initiator` is an IQN or a list of
    them."""
    target, volume, portal, initiator, user, password, mutual = names.take(
        raw, target=str, volume=str, portal=str, initiator=(str, list), user=str, password=str, mutual=str
    )
    names.target(target, remit)
    names.marked(volume, remit, "volume")
    if target.partition(":")[2] != volume or user != volume:
        raise names.bad("target and user must be called like the volume")
    return Args(
        target,
        volume,
        thin.device(remit, volume),
        names.address(portal, "portal"),
        tuple(sorted(map(names.initiator, names.one_or_more(initiator, "initiator")))),
        names.password(password),
        names.password(mutual),
    )


def lock(args: Args) -> str:
    """One lock for all of LIO: its library is not made for two at a time."""
    return "lio"


def observe(args: Args, ask: Ask) -> Seen:
    """This export alone."""
    return Seen(ask(GetLio(args.target, args.volume)), ask(Stat(args.device)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Make or mend it as a whole, remove it as a whole; then save."""
    _check_ours(args, seen.export)
    save = LioSave(args.target, args.volume)
    if want == "absent":
        there = seen.export.has_target or seen.export.device is not None
        commands: list[Command] = [LioRemove(args.target, args.volume)] if there else []
        return [*commands, save] if there or not seen.export.is_saved else []
    if seen.device is None:
        raise Refused(
            "busy", f"{args.device} is not on this host: the volume must be made before it is exported"
        )
    if seen.export == _wanted(args):
        return []
    commands = []
    if _open(seen.export) != _open(_wanted(args)):
        commands.append(
            LioExport(
                args.target,
                args.volume,
                args.device,
                args.portal,
                args.initiators,
                args.volume,
                args.password,
                args.mutual,
            )
        )
    return [*commands, save]


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def _wanted(args: Args) -> LioSeen:
    return LioSeen(
        args.device,
        has_target=True,
        is_enabled=True,
        is_closed=True,
        luns=((0, args.volume),),
        portals=(f"{args.portal}:{PORT}",),
        initiators=args.initiators,
        key=",".join([key(args.volume, args.password, args.volume, args.mutual)] * len(args.initiators)),
    )


def _open(export: LioSeen) -> LioSeen:
    """The export without what concerns its being saved."""
    return replace(export, is_saved=True)


def _check_ours(args: Args, export: LioSeen) -> None:
    foreign = [name for _, name in export.luns if name != args.volume]
    if foreign:
        raise Refused(
            "not_ours",
            f"target {args.target} shows {', '.join(foreign)} besides our volume: it was left alone",
        )
    if export.device not in (None, args.device):
        raise Refused(
            "not_ours",
            f"backstore {args.volume} stands on {export.device}, not on {args.device}: it was left alone",
        )
