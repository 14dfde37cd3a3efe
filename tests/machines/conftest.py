# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of machine hosts, for all tests here: Debian's own kernels, one storage host and two that run Xen.

Booting them takes minutes, so those that the chosen tests use are booted once, and stay as they are when the tests
end after LEASEHOLD_KEEP_MACHINES=1.
"""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import lifecycle, plan, rootfs
from lab.plan import Lab
from lab.site import Site
from tests.machines.golden import built
from tests.machines.machine import Machine, connected, make_site


@pytest.fixture(scope="session")
def asked(request: pytest.FixtureRequest) -> set[str]:
    """The names of all fixtures that any of the chosen tests asks for."""
    return {name for item in request.session.items for name in getattr(item, "fixturenames", ())}


@pytest.fixture(scope="session")
def in_use(asked: set[str]) -> tuple[str, ...]:
    """The hosts that any of the chosen tests asks for."""
    return tuple(name for name in ("st1", "x1", "x2") if name in asked)


@pytest.fixture(scope="session")
def image(asked: set[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a frontend's golden image. It is made beside the hosts' root file system: each takes a minute of one
    processor where the cache has none."""
    with ThreadPoolExecutor(1) as pool:
        root = pool.submit(rootfs.ensure)
        name = built(tmp_path_factory.mktemp("builder") / "helper.pyz") if "disks" in asked else ""
        root.result()
    return name


@pytest.fixture(scope="session")
def machine_lab(in_use: tuple[str, ...], image: str) -> Iterator[Lab]:
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
