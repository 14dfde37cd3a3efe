# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An ISO image of a few small files, the site roll for example, made by xorriso in DIR/iso and readable by root only.

The hash of what is in it is kept beside it, so that the same content again is no work.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.node import names
from workers.node.protocol import Refused, Remit
from workers.node.steps import (
    Ask,
    Command,
    Exec,
    FileSeen,
    MakeDir,
    ReadTail,
    Remove,
    RemoveTree,
    Rename,
    Stat,
    WriteFile,
)

MAX_FILES = 500
MAX_BYTES = 4 << 20
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,15}")  # Joliet holds 16 characters


@dataclass(frozen=True)
class Args:
    """`files` are (path inside the ISO, text); texts may be secret."""

    dir: str
    iso: str
    label: str
    files: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def path(self) -> str:
        """Where the ISO is; a new one lies beside it until it is whole."""
        return f"{self.dir}/iso/{self.iso}.iso"

    @property
    def part(self) -> str:
        """Where it is while it is being written."""
        return f"{self.dir}/iso/.{self.iso}.part"

    @property
    def hash_path(self) -> str:
        """Where the hash of its content is kept."""
        return f"{self.dir}/iso/{self.iso}.sha256"

    @property
    def staging(self) -> str:
        """Where its files are laid out for xorriso."""
        return f"{self.dir}/iso/.{self.iso}.d"

    @property
    def digest(self) -> str:
        """The hash of the wanted content."""
        return hashlib.sha256(json.dumps([self.label, self.files]).encode()).hexdigest()


@dataclass(frozen=True)
class Seen:
    """The ISO, the hash of its content, and an unfinished run's remains."""

    iso: FileSeen | None
    digest: str | None
    part: FileSeen | None
    staging: FileSeen | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"iso","label","files"}."""
    iso, label, files = names.take(raw, iso=str, label=str, files=dict)
    names.marked(iso, remit, "iso")
    if not _LABEL.fullmatch(label):
        raise names.bad(f"label must be 1 to 16 letters, digits, _ or - (not first), not {names.show(label)}")
    names.within(len(files), 1, MAX_FILES, "the number of files")
    for path, text in files.items():
        names.file_name(path, "a file's name")
        if not isinstance(text, str):
            raise names.bad(f"the content of {path} must be text")
    names.within(sum(map(len, files.values())), 0, MAX_BYTES, "the length of all files together")
    _check_folders(files)
    return Args(remit.dir, iso, label, tuple(sorted(files.items())))


def lock(args: Args) -> str:
    """One ISO, one lock."""
    return f"iso-{args.iso}"


def observe(args: Args, ask: Ask) -> Seen:
    """The ISO and its hash; the ISO itself is not read."""
    digest = ask(ReadTail(args.hash_path, 100))
    return Seen(
        ask(Stat(args.path)),
        None if digest is None else digest.strip(),
        ask(Stat(args.part)),
        ask(Stat(args.staging)),
    )


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Lay the files out, run xorriso, rename. The hash goes first and comes last: it never promises too much."""
    if seen.iso is not None and seen.iso.kind != "file":
        raise Refused("not_ours", f"{args.path} is there and is no plain file: it was left alone")
    tidy: list[Command] = []
    if seen.staging is not None:
        tidy.append(RemoveTree(args.staging))
    if seen.part is not None:
        tidy.append(Remove(args.part))
    if want == "absent":
        if seen.digest is not None:
            tidy.append(Remove(args.hash_path))
        return [*tidy, Remove(args.path)] if seen.iso is not None else tidy
    if seen.iso is not None and seen.digest == args.digest:
        return tidy
    folders = sorted({posixpath.dirname(f"{args.staging}/{path}") for path, _ in args.files})
    return [
        *tidy,
        MakeDir(f"{args.dir}/iso", 0o711),
        *map(MakeDir, folders),
        *(WriteFile(f"{args.staging}/{path}", text) for path, text in args.files),
        Exec(_xorriso(args), into=args.part),
        *([Remove(args.hash_path)] if seen.digest is not None else []),
        Rename(args.part, args.path),
        WriteFile(args.hash_path, args.digest + "\n"),
        RemoveTree(args.staging),
    ]


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""


def _xorriso(args: Args) -> tuple[str, ...]:
    """-rock keeps owner and mode of each file, root and 0600, where -rational-rock would make all readable."""
    options = ("-quiet", "-volid", args.label, "-joliet", "-rock", "-o", args.part)
    return ("xorriso", "-no_rc", "-as", "mkisofs", *options, args.staging)


def _check_folders(files: Mapping[str, str]) -> None:
    for path in files:
        parent = posixpath.dirname(path)
        while parent:
            if parent in files:
                raise names.bad(f"{parent} cannot be both a file and the folder of {path}")
            parent = posixpath.dirname(parent)
