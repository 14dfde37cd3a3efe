# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs every tests/ops/OPERATION/CASE.json: what is seen in recorded answers, and what is planned from it."""

import json
from pathlib import Path

import pytest

from tests.ops.case import REMIT, Recorded, outcome, plain
from workers.node.ops import OPS
from workers.node.protocol import Refused

CASES = sorted(Path(__file__).parent.glob("*/*.json"))


@pytest.mark.parametrize("path", CASES, ids=[f"{path.parent.name}-{path.stem}" for path in CASES])
def test_case(path):
    case, op = json.loads(path.read_text()), OPS[path.parent.name]
    if "seen" not in case:
        with pytest.raises(Refused) as refused:
            op.parse(case["args"], REMIT)
        error = refused.value.error
        assert {"code": error.code, "message": error.message} == case["error"]
        return
    args = op.parse(case["args"], REMIT)
    ask = Recorded(case["answers"])
    seen = op.observe(args, ask)
    assert plain(seen) == case["seen"]
    assert ask.unused == set(), "recorded and never asked"
    expected = {key: case[key] for key in ("commands", "error", "waiting") if key in case}
    assert outcome(op, case["want"], args, seen) == expected


def test_every_operation_starts_stays_and_ends():
    """Each has a case that does something, one with nothing left to do, and one of the way back."""
    for name in OPS:
        cases = [json.loads(path.read_text()) for path in CASES if path.parent.name == name]
        assert any(case["want"] == "absent" for case in cases), name
        assert any(case.get("commands") == [] for case in cases), name
        assert name == "report" or any(case.get("commands") for case in cases), name
