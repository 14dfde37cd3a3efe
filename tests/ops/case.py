# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The form of a case of an operation: JSON to and from the helper's queries, answers and commands.

A case is {"want", "args", "answers": [{"query", "answer"}], "seen", "commands" or "error", "waiting"}. A dataclass
is an object with its "type" and the fields that differ from their defaults. An answer {"type": "Output", "file":
NAME} has its stdout in tests/data/NAME; one with "parts" holds the several answers of one virsh, each a text or such a
file.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from workers.node import steps, virsh
from workers.node.ops import OPS
from workers.node.protocol import Refused, Remit

DATA = Path(__file__).parents[1] / "data"
REMIT = Remit("lh", "/var/lib/leasehold", tuple(OPS), ("br-public",), "vg0", "pool")


def plain(value: Any) -> Any:
    """Anything the helper passes around, as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = {
            item.name: plain(getattr(value, item.name))
            for item in fields(value)
            if item.default is MISSING or getattr(value, item.name) != item.default
        }
        return {"type": type(value).__name__, **kept} if hasattr(steps, type(value).__name__) else kept
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def answer(value: Any) -> Any:
    """An answer of a case, as the host gives it."""
    if isinstance(value, list):
        return _frozen(value)
    if not isinstance(value, dict):
        return value
    data = dict(value)
    if "parts" in data:
        data["stdout"] = virsh.BETWEEN.join(map(_text, data.pop("parts")))
    if "file" in data:
        data["stdout"] = _text({"file": data.pop("file")})
    if "stdout" in data:
        data.setdefault("rc", 0)
    return getattr(steps, data.pop("type"))(**{name: _frozen(item) for name, item in data.items()})


def _text(part: str | dict[str, str]) -> str:
    return part if isinstance(part, str) else (DATA / part["file"]).read_text()


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class Recorded:
    """Answers the queries of a case and no others."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self._answers = {json.dumps(item["query"], sort_keys=True): item["answer"] for item in answers}
        self.unused = set(self._answers)

    def __call__(self, query: Any) -> Any:
        key = json.dumps(plain(query), sort_keys=True)
        assert key in self._answers, f"the case holds no answer to {key}"
        self.unused.discard(key)
        return answer(self._answers[key])


def outcome(op: Any, want: str, args: Any, seen: Any) -> dict[str, Any]:
    """What the operation makes of what it sees, in the words of a case."""
    try:
        commands = op.plan(want, args, seen)
    except Refused as refused:
        return {"error": {"code": refused.error.code, "message": refused.error.message}}
    waiting = {} if commands else {"waiting": op.waiting(want, args, seen)}
    return {"commands": plain(commands), **waiting}
