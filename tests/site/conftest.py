# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of this test run: one for all tests, taken down at the end and, after a crash, at the next start."""

import os
import socket
from collections.abc import Iterator

import pytest

from lab import lifecycle, plan


@pytest.fixture(scope="session")
def lab() -> Iterator[plan.Lab]:
    """The test lab with all its hosts answering; LEASEHOLD_TEST_LAB names another one than "test".

    It is shared: a test leaves the hosts as it found them.
    """
    the_lab = plan.lab(os.environ.get("LEASEHOLD_TEST_LAB", "test"))
    with socket.socket(socket.AF_UNIX) as turn:
        try:
            turn.bind(f"\0{the_lab.mark}-tests")  # goes with this process, however it ends
        except OSError:
            pytest.fail(f"another test run is using lab {the_lab.name}; set LEASEHOLD_TEST_LAB=dev3, say")
        lifecycle.up(the_lab.name, fresh=True)
        try:
            yield the_lab
        finally:
            lifecycle.down(the_lab.name)
