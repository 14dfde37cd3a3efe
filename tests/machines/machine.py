# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A machine host as the tests and benches talk to it, by the operator's key and by the manager's."""

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import fault, keys
from lab import site as sites
from lab.plan import Lab
from lab.run import LabError
from lab.site import Site
from workers.engine.hosts import Connections
from workers.engine.ssh import Endpoint
from workers.node.protocol import Reply, Request

# All by the kernel. Guests are files only: what is shown here comes before them.
SETTINGS: dict[str, dict[str, Any]] = {
    "": {"rolls_dir": str(Path(__file__).parents[1] / "data" / "rolls-tiny"), "hypervisor": "null"},
    "image": {"suite": "machines"},
    "network": {"driver": "vlan", "parent": "eth1", "mtu": 1500, "first_id": 101, "last_id": 120},
    "storage": {"volume": "lvm", "export": "lio", "attach": "open_iscsi"},
    "booking": {"lead_s": 0, "frontend_memory_mib": 128, "frontend_disk_gib": 1, "vcpu_ratio": 2.0},
    # Where every instruction is translated, and others need the processor too, a host may take its time.
    "passes": {
        "lease_s": 400,
        "deadline_s": 380,
        "suspect_most_s": 10,
        "lost_after_s": 7200,
        "poll_s": 3.0,  # a look takes the processor from what it looks for
    },
}
ADDED_WITHIN_S = 900.0
PATIENCE_S = 600.0
# Only what reservations bring: golden volumes belong to the site, and directories of the kernel's stay.
LEFT = """
lvs --noheadings --options lv_name,lv_tags leasehold 2> /dev/null | sed '/leasehold:lh *$/d'
ls -d /sys/kernel/config/target/iscsi/iqn.* /sys/kernel/config/target/core/iblock_*/*/ 2> /dev/null
nft list tables
iscsiadm --mode session 2>&1
find /etc/iscsi/nodes /var/lib/leasehold/domains /var/lib/leasehold/iso -type f 2> /dev/null
grep -o 'iqn[^"]*:lh[^"]*' /etc/rtslib-fb-target/saveconfig.json
virsh --quiet list --all --name 2> /dev/null
:"""


@dataclass(frozen=True)
class Machine:
    """A machine host that belongs to a site: its helper answers the site's manager through `door`.

    One connection a key is kept open, because a login takes the host longer than most of what is asked of it.
    """

    lab: Lab
    name: str
    site: Site
    door: Connections

    def run(self, *argv: str, check: bool = True, text: str = "", timeout_s: float = PATIENCE_S) -> str:
        """What a program on the host prints; by the operator's key."""
        kept = self.site.folder / f"{self.name}.ssh"
        host = self.lab.host(self.name)
        ssh = keys.ssh(self.lab, host, ControlMaster="auto", ControlPath=kept, ControlPersist="yes")
        # Into files: the process that keeps the connection would hold on to pipes.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [*ssh, shlex.join(argv)], input=text, stdout=out, stderr=err, text=True, timeout=timeout_s
            )
            out.seek(0)
            err.seek(0)
            said = out.read()
            assert not check or done.returncode == 0, f"{self.name}: {argv}: {err.read()}{said}"
        return said

    def ask(self, *wanted: tuple[str, str, Mapping[str, Any]], timeout_s: float = PATIENCE_S) -> list[Reply]:
        """One batch for the helper, as a pass sends it: by the manager's key and so through the forced command."""
        requests = [Request(str(n), *request) for n, request in enumerate(wanted)]
        host = self.lab.host(self.name)
        to = Endpoint(self.name, self.lab.address(host), 22, keys.host_key(self.lab, host))
        (answer,) = self.door.call_all({to: requests}, deadline_s=timeout_s)
        assert answer.failure is None, answer.failure
        return list(answer.replies)

    def begin(self, *wanted: tuple[str, str, Mapping[str, Any]]) -> subprocess.Popen[str]:
        """The same over a connection of its own, to read the replies from and to be killed."""
        argv = keys.ssh(self.lab, self.lab.host(self.name), self.site.folder / "ssh" / "id_ed25519")
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        for n, request in enumerate(wanted):
            process.stdin.write(Request(str(n), *request).to_json() + "\n")
        process.stdin.flush()
        return process

    def power_off(self) -> None:
        """Take its power, without a word to it."""
        self.hang_up()
        fault.stop_host(self.lab.name, self.name, "off")

    def power_on(self) -> None:
        """Give it back, and come back when it answers."""
        fault.start_host(self.lab.name, self.name)

    def hang_up(self) -> None:
        """Close the operator's kept connection."""
        kept = self.site.folder / f"{self.name}.ssh"
        subprocess.run(["ssh", "-o", f"ControlPath={kept}", "-O", "exit", self.name], capture_output=True)

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


@contextmanager
def connected(lab: Lab, name: str, site: Site) -> Iterator[Machine]:
    """The host by that name; its connections are closed at the end."""
    with Connections(identity=site.folder / "ssh" / "id_ed25519", reveal=str) as door:
        machine = Machine(lab, name, site, door)
        try:
            yield machine
        finally:
            machine.hang_up()


def make_site(folder: Path, lab: Lab, names: Collection[str]) -> Site:
    """A site in `folder`, made by the real commands, with these hosts of the lab added as an operator does."""
    described = json.loads((lab.state / "lab.json").read_text())
    made = sites.make(folder, described, settings=SETTINGS)
    chosen = [{**described, "hosts": [host]} for host in described["hosts"] if host["name"] in names]
    with ThreadPoolExecutor(len(chosen)) as pool:
        list(pool.map(lambda one: _add_host(made, one), chosen))
    return made


def _add_host(site: Site, described: dict[str, Any]) -> None:
    """Add a host, and again where it was too slow for the command's patience; a second time does what is left."""
    until = time.monotonic() + ADDED_WITHIN_S
    while True:
        try:
            # Xen hosts have no QEMU to start guests with, and are told to lack it.
            return sites.add_hosts(site, described, timeout_s=600, statuses=(0, 3))
        except LabError:
            if time.monotonic() > until:
                raise


def left_on(machine: Machine) -> dict[str, Any]:
    """What reservations leave on a host when they leave something."""
    links, addresses = (json.loads(machine.run("ip", "-json", what)) for what in ("link", "address"))
    keep = ("ifname", "mtu", "master", "ifalias")
    return {
        "links": sorted([str(link.get(name)) for name in keep] for link in links),
        "addresses": sorted((one["ifname"], a["local"]) for one in addresses for a in one["addr_info"]),
        "rest": [" ".join(line.split()) for line in machine.run("sh", "-c", LEFT).splitlines()],
    }
