# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab of machine hosts, for all tests here: Debian's own kernels, one storage host and two that run Xen.

Booting them takes minutes, so those that the chosen tests use are booted once, and stay as they are when the tests
end after LEASEHOLD_KEEP_MACHINES=1.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from lab import host as hosts
from lab import lifecycle, plan
from lab import site as sites
from lab.plan import Lab
from lab.run import LabError
from lab.site import Site
from workers.node.protocol import Reply, Request, parse_hello, parse_reply

ADDED_WITHIN_S = 900.0


@dataclass(frozen=True)
class Machine:
    """A machine host that belongs to a site: its helper answers the site's manager."""

    lab: Lab
    name: str
    site: Site

    def run(self, *argv: str, check: bool = True, text: str | None = None, timeout_s: float = 120) -> str:
        """What a program on the host prints."""
        host = self.lab.host(self.name)
        return hosts.on(self.lab, host, list(argv), check=check, text=text, timeout_s=timeout_s).stdout

    def ask(self, *wanted: tuple[str, str, Mapping[str, Any]], timeout_s: float = 300) -> list[Reply]:
        """One session with the helper, by the manager's key and so through the forced command."""
        login = [
            "ssh",
            "-F",
            "none",
            "-i",
            str(self.site.folder / "ssh" / "id_ed25519"),
            "-o",
            "BatchMode=yes",
        ]
        login += ["-o", f"UserKnownHostsFile={self.lab.known_hosts}", "-o", "IdentitiesOnly=yes"]
        address = self.lab.address(self.lab.host(self.name))
        lines = [Request(str(n), *request).to_json() + "\n" for n, request in enumerate(wanted)]
        done = subprocess.run(
            [*login, f"root@{address}"],
            input="".join(lines),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stderr
        hello, *replies = done.stdout.splitlines()
        parse_hello(hello)
        return [parse_reply(reply) for reply in replies]

    def changed(self, op: str, want: str, args: Mapping[str, Any]) -> tuple[str, ...]:
        """What was done for one request; the same again must be no work."""
        first, again = self.ask((op, want, args), (op, want, args))
        assert first.ok, first.error
        assert first.state == want
        assert (again.ok, again.state, again.changed) == (True, want, False), again
        return first.did

    def refusal(self, op: str, want: str, args: Mapping[str, Any]) -> tuple[str, str]:
        """Code and message of the refusal of one request, for which nothing may have been done."""
        (reply,) = self.ask((op, want, args))
        assert reply.error is not None, reply
        assert (reply.changed, reply.did) == (False, ())
        return reply.error.code, reply.error.message


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
    described = json.loads((machine_lab.state / "lab.json").read_text())
    network = {"driver": "vlan", "parent": "eth1", "mtu": 1500, "first_id": 101, "last_id": 120}
    made = sites.make(tmp_path_factory.mktemp("machines"), described, settings={"network": network})
    chosen = [{**described, "hosts": [host]} for host in described["hosts"] if host["name"] in in_use]
    with ThreadPoolExecutor(len(chosen)) as pool:
        list(pool.map(lambda one: add(made, one), chosen))
    return made


def add(site: Site, described: dict[str, Any]) -> None:
    """Add a host, and again where it was too slow for the command's patience; a second time does what is left."""
    until = time.monotonic() + ADDED_WITHIN_S
    while True:
        try:
            # Xen hosts have no QEMU to start guests with, and are told to lack it.
            return sites.add_hosts(site, described, timeout_s=600, statuses=(0, 3))
        except LabError:
            if time.monotonic() > until:
                raise


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
