# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of machine hosts, for all tests here: Debian's own kernels, one storage host and two that run Xen.

Booting them takes minutes, so those that the chosen tests use are booted once, and stay as they are when the tests
end after LEASEHOLD_KEEP_MACHINES=1.
"""

import os
import socket
from collections.abc import Iterator

import pytest

from lab import lifecycle, plan
from lab.plan import Lab
from lab.site import Site
from tests.machines.machine import Machine, connected, make_site


@pytest.fixture(scope="session")
def in_use(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The hosts that any of the chosen tests asks for, by the names of its fixtures."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    return tuple(name for name in ("st1", "x1", "x2") if name in asked)


@pytest.fixture(scope="session")
def machine_lab(in_use: tuple[str, ...]) -> Iterator[Lab]:
    """The lab with these hosts answering; LEASEHOLD_TEST_MACHINES names another one than "machine"."""
    the_lab = plan.lab(os.environ.get("LEASEHOLD_TEST_MACHINES", "machine"))
    keep = os.environ.get("LEASEHOLD_KEEP_MACHINES") == "1"
    with socket.socket(socket.AF_UNIX) as turn:
        try:
            turn.bind(f"\0{the_lab.mark}-tests")  # goes with this process, however it ends
        except OSError:
            pytest.fail(
                f"another test run is using lab {the_lab.name}; set LEASEHOLD_TEST_MACHINES=mach11, say"
            )
        lifecycle.up(the_lab.name, fresh=not keep, only=in_use)
        try:
            yield the_lab
        finally:
            if not keep:
                lifecycle.down(the_lab.name)


@pytest.fixture(scope="session")
def machine_site(machine_lab: Lab, in_use: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site made by the real commands, with these hosts added as an operator does."""
    return make_site(tmp_path_factory.mktemp("machines"), machine_lab, in_use)


@pytest.fixture(scope="session")
def x1(machine_lab: Lab, machine_site: Site) -> Iterator[Machine]:
    """The gateway, which is a compute host as well, under Xen."""
    with connected(machine_lab, "x1", machine_site) as machine:
        yield machine


@pytest.fixture(scope="session")
def x2(machine_lab: Lab, machine_site: Site) -> Iterator[Machine]:
    """A compute host under Xen."""
    with connected(machine_lab, "x2", machine_site) as machine:
        yield machine


@pytest.fixture(scope="session")
def st1(machine_lab: Lab, machine_site: Site) -> Iterator[Machine]:
    """The storage host: volume group ``leasehold`` with the thin pool ``pool``."""
    with connected(machine_lab, "st1", machine_site) as machine:
        yield machine
