# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a module must have to be an operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from workers.node.protocol import Remit
from workers.node.steps import Ask, Command

A = TypeVar("A")
S = TypeVar("S")


class Op(Protocol[A, S]):
    """An operation: a module with these five functions, where A and S are frozen dataclasses of its own."""

    def parse(self, raw: Mapping[str, Any], remit: Remit) -> A:
        """The request's arguments, each checked by its form and against the remit; raises Refused."""

    def lock(self, args: A) -> str:
        """The name under which two helpers keep out of each other's way."""

    def observe(self, args: A, ask: Ask) -> S:
        """What is there now. Looks only. Goes to the manager, so it is small and holds no secret."""

    def plan(self, want: str, args: A, seen: S) -> Sequence[Command]:
        """What to do so that it is `want` ("present" or "absent"), in order; empty when it is so already.

        Pure: no clock, no host. Raises Refused when it must not be done.
        """

    def waiting(self, want: str, args: A, seen: S) -> str | None:
        """With nothing left to do: what is still waited for, or None when it is as wanted. Pure."""
