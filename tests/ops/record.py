# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Prints a case as this very host answers it: `python -m tests.ops.record OPERATION WANT < ARGS.json`, as root.

Nothing is changed on the host: what is planned is printed and not run. Look at it before you keep it.
"""

import json
import sys

from tests.ops.case import REMIT, outcome, plain
from workers.node.ops import OPS
from workers.node.run import Door


def record(name: str, want: str, raw: dict) -> dict:
    """The case for an operation's raw arguments, with this host's answers."""
    op, door, answers = OPS[name], Door(REMIT.dir), []

    def ask(query):
        answer = door.ask(query)
        answers.append({"query": plain(query), "answer": plain(answer)})
        return answer

    args = op.parse(raw, REMIT)
    seen = op.observe(args, ask)
    case = {"want": want, "args": raw, "answers": answers, "seen": plain(seen)}
    return {**case, **outcome(op, want, args, seen)}


if __name__ == "__main__":
    print(json.dumps(record(sys.argv[1], sys.argv[2], json.load(sys.stdin)), indent=1))
