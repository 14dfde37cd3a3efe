# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The set-up script where everything is installed: nothing to say or do."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_set_up_again_does_nothing_and_takes_no_time(tmp_path):
    for forbidden in ("apt-get", "sudo"):
        program = tmp_path / forbidden
        program.write_text(f"#!/bin/sh\necho {forbidden} was called >&2\nexit 1\n")
        program.chmod(0o755)
    again = subprocess.run(
        [".ci/setup", ".ci/packages.txt"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=2,
    )
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
