# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of machine hosts, for all tests here: Debian's own kernels, one storage host and two that run Xen.

Booting them takes minutes, so those that the chosen tests use are booted once, and stay as they are when the tests
end after LEASEHOLD_KEEP_MACHINES=1.
"""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import lifecycle, plan
from lab import site as sites
from lab.plan import Lab
from lab.site import Site
from tests.machines.machine import SETTINGS, Machine, add_host


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
def machine_site(
    machine_lab: Lab, in_use: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site made by the real commands, with these hosts added as an operator does."""
    described = json.loads((machine_lab.state / "lab.json").read_text())
    made = sites.make(tmp_path_factory.mktemp("machines"), described, settings=SETTINGS)
    chosen = [{**described, "hosts": [host]} for host in described["hosts"] if host["name"] in in_use]
    with ThreadPoolExecutor(len(chosen)) as pool:
        list(pool.map(lambda one: add_host(made, one), chosen))
    yield made
    for name in in_use:
        Machine(machine_lab, name, made).hang_up()


@pytest.fixture(scope="session")
def x1(machine_lab: Lab, machine_site: Site) -> Machine:
    """The gateway, which is a compute host as well, under Xen."""
    return Machine(machine_lab, "x1", machine_site)


@pytest.fixture(scope="session")
def x2(machine_lab: Lab, machine_site: Site) -> Machine:
    """A compute host under Xen."""
    return Machine(machine_lab, "x2", machine_site)


@pytest.fixture(scope="session")
def st1(machine_lab: Lab, machine_site: Site) -> Machine:
    """The storage host: volume group ``leasehold`` with the thin pool ``pool``."""
    return Machine(machine_lab, "st1", machine_site)
