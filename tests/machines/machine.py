# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A machine host as the tests and benches talk to it, by the operator's key and by the manager's."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import fault
from lab import site as sites
from lab.plan import Lab
from lab.run import LabError
from lab.site import Site
from workers.node.protocol import Reply, Request, parse_hello, parse_reply

# All by the kernel. Guests are files only: what is shown here comes before them.
SETTINGS: dict[str, dict[str, Any]] = {
    "": {"rolls_dir": str(Path(__file__).parents[1] / "data" / "rolls-tiny"), "hypervisor": "null"},
    "image": {"suite": "machines"},
    "network": {"driver": "vlan", "parent": "eth1", "mtu": 1500, "first_id": 101, "last_id": 120},
    "storage": {"volume": "lvm", "export": "lio", "attach": "open_iscsi"},
    "booking": {"lead_s": 0, "frontend_memory_mib": 128, "frontend_disk_gib": 1},
    # Where every instruction is translated, and others need the processor too, a host may take its time.
    "passes": {"lease_s": 400, "deadline_s": 380, "suspect_most_s": 10, "lost_after_s": 7200},
}
ADDED_WITHIN_S = 900.0
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Machine:
    """A machine host that belongs to a site: its helper answers the site's manager.

    One connection a key is kept open, because a login takes the host longer than most of what is asked of it.
    """

    lab: Lab
    name: str
    site: Site

    def run(self, *argv: str, check: bool = True, text: str = "", timeout_s: float = PATIENCE_S) -> str:
        """What a program on the host prints."""
        done = self._ssh(self.lab.operator_key, shlex.join(argv), text, timeout_s)
        assert not check or done.returncode == 0, f"{self.name}: {argv}: {done.stderr}{done.stdout}"
        return done.stdout

    def ask(self, *wanted: tuple[str, str, Mapping[str, Any]], timeout_s: float = PATIENCE_S) -> list[Reply]:
        """One session with the helper, by the manager's key and so through the forced command."""
        lines = [Request(str(n), *request).to_json() + "\n" for n, request in enumerate(wanted)]
        done = self._ssh(self.site.folder / "ssh" / "id_ed25519", "", "".join(lines), timeout_s)
        assert done.returncode == 0, done.stderr
        hello, *replies = done.stdout.splitlines()
        parse_hello(hello)
        return [parse_reply(reply) for reply in replies]

    def begin(self, *wanted: tuple[str, str, Mapping[str, Any]]) -> subprocess.Popen[str]:
        """The same over a connection of its own, to read the replies from and to be killed."""
        argv = self._argv(self.site.folder / "ssh" / "id_ed25519")
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        for n, request in enumerate(wanted):
            process.stdin.write(Request(str(n), *request).to_json() + "\n")
        process.stdin.flush()
        return process

    def reboot(self) -> None:
        """Take its power and give it back."""
        self.hang_up()
        fault.reboot(self.lab.name, self.name)

    def hang_up(self) -> None:
        """Close the kept connections."""
        for kept in self.site.folder.glob(f"{self.name}-*.ssh"):
            subprocess.run(["ssh", "-o", f"ControlPath={kept}", "-O", "exit", self.name], capture_output=True)

    def _argv(self, key: Path, **more: object) -> list[str]:
        """The argv of a login by that key, with more options."""
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.lab.known_hosts,
            **more,
        }
        words = [word for option in options.items() for word in ("-o", "=".join(map(str, option)))]
        to = f"root@{self.lab.address(self.lab.host(self.name))}"
        return ["ssh", "-F", "none", "-i", str(key), *words, to]

    def _ssh(self, key: Path, command: str, text: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """What became of a command there; `text` is its standard input."""
        kept = self.site.folder / f"{self.name}-{key.name}.ssh"
        argv = self._argv(key, ControlMaster="auto", ControlPath=kept, ControlPersist="yes")
        argv += [command] if command else []
        # Into files: the process that keeps the connection would hold on to pipes.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(argv, input=text, stdout=out, stderr=err, text=True, timeout=timeout_s)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(argv, done.returncode, out.read(), err.read())

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


def add_host(site: Site, described: dict[str, Any]) -> None:
    """Add a host, and again where it was too slow for the command's patience; a second time does what is left."""
    until = time.monotonic() + ADDED_WITHIN_S
    while True:
        try:
            # Xen hosts have no QEMU to start guests with, and are told to lack it.
            return sites.add_hosts(site, described, timeout_s=600, statuses=(0, 3))
        except LabError:
            if time.monotonic() > until:
                raise
