# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What an operation may ask of a host and do to it, as data: queries, what they give, and commands.

Everything here is a frozen dataclass of plain values, so that a plan can be printed, compared and kept in a test
case. Nothing here touches the host: that is run.py's part alone.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, overload

# -- queries, and what the host answers ---------------------------------------------------------------------


@dataclass(frozen=True)
class Show:
    """Run a program that only looks."""

    argv: tuple[str, ...]
    timeout_s: float = 30


@dataclass(frozen=True)
class Output:
    """How a program ended. `stdout` and `stderr` are cut at run.MAX_OUTPUT bytes."""

    rc: int
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class Stat:
    """Look at a path itself, not at what a symbolic link points to."""

    path: str


@dataclass(frozen=True)
class FileSeen:
    """`kind` is "file", "dir" or "other"; sizes in bytes; `allocated` is what it takes on the disk."""

    kind: str
    size: int = 0
    allocated: int = 0


@dataclass(frozen=True)
class Free:
    """Ask for the bytes still free, for root, in the file system that holds the path or is to hold it."""

    path: str


@dataclass(frozen=True)
class ReadTail:
    """Read the last `limit` bytes of a file as text (bad UTF-8 replaced); None when there is no such file."""

    path: str
    limit: int


@dataclass(frozen=True)
class GetLink:
    """Ask for one network link by its name; None when there is none."""

    name: str


@dataclass(frozen=True)
class LinkSeen:
    """One network link. `own_addresses`: the kernel gives it an IPv6 link-local address by itself."""

    name: str
    kind: str | None = None
    alias: str | None = None
    mtu: int = 1500
    up: bool = False
    master: str | None = None
    own_addresses: bool = False
    vni: int | None = None
    local: str | None = None
    port: int | None = None
    vid: int | None = None
    parent: str | None = None


@dataclass(frozen=True)
class Ports:
    """Ask for the names of a bridge's ports, sorted; none when there is no such bridge."""

    bridge: str


@dataclass(frozen=True)
class Addresses:
    """Ask for (link, address with prefix length) of every address of the host, sorted; not for link-local ones."""


@dataclass(frozen=True)
class Tagged:
    """Ask for the link that carries that VLAN ID on that parent; None when no link does."""

    parent: str
    vid: int


@dataclass(frozen=True)
class Flood:
    """Ask for the addresses that a VXLAN link sends broadcasts to, sorted."""

    link: str


@dataclass(frozen=True)
class GetJob:
    """Ask how the detached job of that name stands."""

    job: str


@dataclass(frozen=True)
class JobSeen:
    """`state` is "none", "running", "ended" (then `rc` is set) or "lost": it went without leaving a result.

    `log` is the end of what it said.
    """

    state: str
    rc: int | None = None
    log: str = ""


@dataclass(frozen=True)
class GetLio:
    """Ask the kernel's iSCSI target for the export of that name and its backstore."""

    target: str
    backstore: str


@dataclass(frozen=True)
class LioSeen:
    """One export. `device` is the backstore's, None without one; `luns` are (number, backstore).

    `key` is a digest of the CHAP names and secrets of all initiators together. `is_closed`: nobody comes in without
    being listed and without a secret. `is_saved`: the saved configuration holds just this, or holds none of it.
    """

    device: str | None = None
    has_target: bool = False
    is_enabled: bool = False
    is_closed: bool = False
    luns: tuple[tuple[int, str], ...] = ()
    portals: tuple[str, ...] = ()
    initiators: tuple[str, ...] = ()
    key: str = ""
    is_saved: bool = True


Query = Show | Stat | Free | ReadTail | GetLink | Addresses | Tagged | Ports | Flood | GetJob | GetLio


class Ask(Protocol):
    """The way to put a query to the host: run.Door.ask, or a recording of it."""

    @overload
    def __call__(self, query: Show) -> Output: ...
    @overload
    def __call__(self, query: Stat) -> FileSeen | None: ...
    @overload
    def __call__(self, query: Free) -> int: ...
    @overload
    def __call__(self, query: ReadTail) -> str | None: ...
    @overload
    def __call__(self, query: GetLink | Tagged) -> LinkSeen | None: ...
    @overload
    def __call__(self, query: Addresses) -> tuple[tuple[str, str], ...]: ...
    @overload
    def __call__(self, query: Ports | Flood) -> tuple[str, ...]: ...
    @overload
    def __call__(self, query: GetJob) -> JobSeen: ...
    @overload
    def __call__(self, query: GetLio) -> LioSeen: ...


# -- commands -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exec:
    """Run a program that changes something; anything but exit status 0 is an error.

    `stdin` may hold a secret and is never shown. `into` is the path it writes to and `needs_bytes` how much, for
    the message when the disk is full.
    """

    argv: tuple[str, ...]
    stdin: str | None = field(default=None, repr=False)
    timeout_s: float = 60
    into: str | None = None
    needs_bytes: int = 0


@dataclass(frozen=True)
class WriteFile:
    """Put text into a file as a whole: written beside it, synced, renamed. `text` may be secret."""

    path: str
    text: str = field(repr=False)
    mode: int = 0o600


@dataclass(frozen=True)
class MakeDir:
    """Make a directory with its parents; one that is there is fine."""

    path: str
    mode: int = 0o700


@dataclass(frozen=True)
class Remove:
    """Remove a file; one that is not there is fine."""

    path: str


@dataclass(frozen=True)
class RemoveTree:
    """Remove a directory with all that is in it; one that is not there is fine."""

    path: str


@dataclass(frozen=True)
class SetSize:
    """Make a file exactly so many bytes long; what is added is a hole. Made (0600) when it is not there."""

    path: str
    size: int


@dataclass(frozen=True)
class Rename:
    """Rename a file after its content was synced to the disk."""

    path: str
    to: str


@dataclass(frozen=True)
class LinkAdd:
    """Make a network link, down. `vni`, `local` and `port` are a VXLAN's; `vid` and `parent` a tagged link's."""

    name: str
    kind: str
    mtu: int
    vni: int | None = None
    local: str | None = None
    port: int | None = None
    vid: int | None = None
    parent: str | None = None


@dataclass(frozen=True)
class LinkSet:
    """Change what is not None of a network link."""

    name: str
    alias: str | None = None
    mtu: int | None = None
    master: str | None = None
    own_addresses: bool | None = None
    up: bool | None = None


@dataclass(frozen=True)
class LinkDel:
    """Remove a network link; one that is not there is fine."""

    name: str


@dataclass(frozen=True)
class AddressAdd:
    """Give a network link an address with its prefix length; one that it has is fine."""

    link: str
    address: str


@dataclass(frozen=True)
class AddressDel:
    """Take an address from a network link; one that it has not is fine."""

    link: str
    address: str


@dataclass(frozen=True)
class FloodAdd:
    """Let a VXLAN link send broadcasts to an address as well."""

    link: str
    address: str


@dataclass(frozen=True)
class FloodDel:
    """Let a VXLAN link no longer send broadcasts to an address."""

    link: str
    address: str


@dataclass(frozen=True)
class TgtAccount:
    """Make a CHAP account in tgtd, past tgtadm, whose command line every user of the host could read."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class LioExport:
    """Let the kernel's target show a device to these initiators, as LUN 0 and at one address alone.

    `password` is what an initiator shows, `mutual` what the target shows in return, both under the name `user`.
    """

    target: str
    backstore: str
    device: str
    portal: str
    initiators: tuple[str, ...]
    user: str
    password: str = field(repr=False)
    mutual: str = field(repr=False)


@dataclass(frozen=True)
class LioRemove:
    """Close an export's sessions and remove it with its backstore; what is not there is fine."""

    target: str
    backstore: str


@dataclass(frozen=True)
class LioSave:
    """Bring the saved configuration up to date for one export alone, so that it is there after a reboot."""

    target: str
    backstore: str


@dataclass(frozen=True)
class WriteNode:
    """Write open-iscsi's record of a target at a portal, past iscsiadm, whose arguments every user can read."""

    target: str
    portal: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Detach:
    """Start a program that goes on when this session ends, with these variables besides the usual ones."""

    job: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class EndJob:
    """Kill what is left of a detached job, free its mounts, keep its log, drop its other files.

    `part` is the unfinished file that it makes elsewhere: loop devices on it are freed as well.
    """

    job: str
    part: str


FileCommand = WriteFile | MakeDir | Remove | RemoveTree | SetSize | Rename
LinkCommand = LinkAdd | LinkSet | LinkDel | AddressAdd | AddressDel | FloodAdd | FloodDel
LioCommand = LioExport | LioRemove | LioSave
Command = Exec | FileCommand | LinkCommand | LioCommand | TgtAccount | WriteNode | Detach | EndJob

_HIDDEN = {"stdin", "text", "password", "mutual", "into", "needs_bytes", "timeout_s", "mode", "environment"}


def describe(command: Command) -> str:
    """The command in one line for a reply, a message or a log; never with a secret in it."""
    if isinstance(command, Exec):
        words = shlex.join(command.argv)
    else:
        shown = {k: v for k, v in asdict(command).items() if k not in _HIDDEN and v is not None}
        values = " ".join(f"{key}={_word(value)}" for key, value in shown.items())
        words = f"{type(command).__name__} {values}"
    return words if len(words) <= 300 else words[:297] + "..."


def _word(value: Any) -> str:
    return shlex.join(value) if isinstance(value, tuple) else str(value)
