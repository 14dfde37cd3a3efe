# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The errors of the domain, one class for each person who has to act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.refusal import Alternative, Difference, InTheWay


class LeaseholdError(Exception):
    """Base of every error a person is meant to read; `str()` is the sentence shown."""


class InvalidRequest(LeaseholdError):
    """The user has to mend the input. `fields` maps a field's name to what is wrong with it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {message}" for name, message in self.fields.items()))


class NoRoom(LeaseholdError):
    """The request is sound but does not fit. `reasons` says what is short, one sentence each.

    `hosts` are the ids of the hosts that fell short (none: a pool of the site did). The use cases add who is
    `in_the_way` and `alternatives` that fit.
    """

    def __init__(
        self,
        reasons: Sequence[str],
        hosts: Sequence[int] = (),
        in_the_way: Sequence[InTheWay] = (),
        alternatives: Sequence[Alternative] = (),
    ) -> None:
        self.reasons, self.hosts = tuple(reasons), tuple(hosts)
        self.in_the_way, self.alternatives = tuple(in_the_way), tuple(alternatives)
        super().__init__(" ".join(self.reasons))


class Conflict(LeaseholdError):
    """What the caller saw is no longer so (another person decided, the row changed); look again.

    `differences` says what was changed since, by whom and when, the oldest first, as far as it is known.
    """

    def __init__(self, message: str, differences: Sequence[Difference] = ()) -> None:
        self.differences = tuple(differences)
        super().__init__(message)


class NotFound(LeaseholdError):
    """There is no such thing, or it is not the caller's to see: both read the same from outside."""


class NotAllowed(LeaseholdError):
    """The caller's role does not permit this."""


class SiteError(LeaseholdError):
    """The operator has to act: configuration, a host, the database."""
