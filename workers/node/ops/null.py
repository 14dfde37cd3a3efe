# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A guest that is only a file: the null hypervisor, for measuring and trying out everything around real guests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.node import names
from workers.node.protocol import Remit
from workers.node.steps import Ask, Command, MakeDir, ReadTail, Remove, WriteFile

MOST = 256


@dataclass(frozen=True)
class Args:
    """The guest and what its file says of it."""

    dir: str
    domain: str
    vcpus: int
    memory_mib: int

    @property
    def path(self) -> str:
        """Where its file is."""
        return f"{self.dir}/domains/{self.domain}.null"

    @property
    def text(self) -> str:
        """What stands in it."""
        return f"{self.vcpus} vCPU, {self.memory_mib} MiB\n"


@dataclass(frozen=True)
class Seen:
    """The file's text; None when there is none."""

    text: str | None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"domain","vcpus","memory_mib"}."""
    domain, vcpus, memory_mib = names.take(raw, domain=str, vcpus=int, memory_mib=int)
    names.within(vcpus, 1, 4096, "vcpus")
    names.within(memory_mib, 1, 1 << 30, "memory_mib")
    return Args(remit.dir, names.marked(domain, remit, "domain"), vcpus, memory_mib)


def lock(args: Args) -> str:
    """One guest, one lock."""
    return f"domain-{args.domain}"


def observe(args: Args, ask: Ask) -> Seen:
    """Reads the file."""
    return Seen(ask(ReadTail(args.path, MOST)))


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Write it or remove it."""
    if want == "absent":
        return [] if seen.text is None else [Remove(args.path)]
    if seen.text == args.text:
        return []
    return [MakeDir(f"{args.dir}/domains"), WriteFile(args.path, args.text)]


def waiting(want: str, args: Args, seen: Seen) -> None:
    """Nothing is ever waited for."""
