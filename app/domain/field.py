# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading one field of what a person sent: its value, or a message in `wrong` under the field's name."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Names end up in host names, so they are DNS labels (RFC 1123), kept short enough that `<cluster>-<node>` still is one.
LABEL = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
NAME_LENGTH = 30


def label(value: object, field: str, what: str, wrong: dict[str, str], longest: int = NAME_LENGTH) -> str:
    """A DNS label of at most `longest` characters."""
    if isinstance(value, str) and is_label(value, longest):
        return value
    wrong[field] = (
        f"{what} must start with a lower-case letter and hold only lower-case letters, digits and hyphens,"
        f" at most {longest} of them."
    )
    return ""


def is_label(text: str, longest: int = NAME_LENGTH) -> bool:
    """Whether the text is a DNS label of at most `longest` characters."""
    return len(text) <= longest and LABEL.fullmatch(text) is not None


def number(value: object, field: str, what: str, least: int, most: int, wrong: dict[str, str]) -> int:
    """A whole number of `what` in [least, most]."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    wrong[field] = f"Ask for {least:,} to {most:,} {what}."
    return 0


def texts(value: object) -> tuple[str, ...]:
    """The items of a list as text; nothing where it is no list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(item) for item in value)
    return ()
