# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What stands against a form that was sent, as its page tells it beside what was typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType

from app.domain.errors import Conflict, InvalidRequest, NoRoom


@dataclass
class Refused:
    """Around the work that a form asks for: keeps the refusal that ends it, of which there is one at most.

    `wrong` is by field. The fields bear the names that the templates know, for `render_template(**vars(refused))`.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    no_room: NoRoom | None = None
    conflict: Conflict | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, why: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if isinstance(why, InvalidRequest):
            self.wrong = why.fields
        elif isinstance(why, NoRoom):
            self.no_room = why
        elif isinstance(why, Conflict):
            self.conflict = why
        return bool(self)

    def __bool__(self) -> bool:
        return bool(self.wrong or self.no_room or self.conflict)

    @property
    def status(self) -> int:
        """The HTTP status of the page that tells it."""
        if self.wrong:
            return 422
        return 409 if self else 200
