# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An option that takes a whole number or one word, like `none`."""

from __future__ import annotations

from typing import Any

import click


class NumberOr(click.ParamType[Any]):
    """A whole number from 0 as an int, or `word` as it is; `what` says in the help what is counted."""

    def __init__(self, what: str, word: str) -> None:
        self.word = word
        self.name = f"{what}|{word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == self.word:
            return value
        if not (isinstance(value, str) and value.isascii() and value.isdigit()):
            self.fail(f"{value!r} is neither a whole number from 0 nor {self.word!r}", param, ctx)
        return int(value)
