# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A Ganeti cluster of one node with its `fake` hypervisor, in namespaces of its own: the peer of bench/guests.py.

All its state is in one temporary folder; the machine's own /etc, /run and /var are covered by mounts that only its
processes see. It goes when `running` ends, however it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.measure import Cost

NODE, CLUSTER = "node1.bench.test", "cluster.bench.test"
HOSTS = f"127.0.0.1 localhost\n10.9.8.1 {NODE} node1\n10.9.8.2 {CLUSTER} cluster\n"
# What an OS definition has to have; these do nothing.
SCRIPTS = ("create", "export", "import", "rename", "verify")
NAMESPACES = ("--mount", "--net", "--uts", "--pid")
READY = "ready"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


@dataclass(frozen=True)
class Ganeti:
    """The running cluster: the first process of its PID namespace."""

    init: int
    folder: Path

    def run(self, *argv: str, timeout_s: float = 120) -> str:
        """Run a command in it and return what it printed."""
        enter = ["nsenter", "--target", str(self.init), *NAMESPACES, "--", *argv]
        done = subprocess.run(
            enter,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])}: {done.stdout[-1000:]} {done.stderr[-2000:]}")
        return done.stdout

    def make(self, count: int) -> Cost:
        """Submit `count` guests at once and wait until all run; CPU of the daemons and jobs, not of the client."""
        file = self.folder / "guests.json"
        file.write_text(json.dumps([_guest(number) for number in range(count)]))
        before, started = self._cpu(), time.perf_counter()
        self.run("gnt-instance", "batch-create", str(file))
        self._wait()
        cost = Cost(time.perf_counter() - started, self._cpu() - before)
        states = self.run("gnt-instance", "list", "--no-headers", "-o", "status").split()
        if states != ["running"] * count:
            raise RuntimeError(f"{count} guests were to run, these are there: {states}")
        return cost

    def remove(self, count: int) -> Cost:
        """Remove them all again, submitted one after the other without waiting."""
        before, started = self._cpu(), time.perf_counter()
        for number in range(count):
            words = ("remove", "--force", "--submit", "--shutdown-timeout=0", _name(number))
            self.run("gnt-instance", *words)
        self._wait()
        return Cost(time.perf_counter() - started, self._cpu() - before)

    def version(self) -> str:
        """The version of its tools."""
        return self.run("gnt-instance", "--version").split()[-1]

    def _wait(self) -> None:
        jobs = self.run("gnt-job", "list", "--no-headers", "-o", "id", "--running").split()
        jobs += self.run("gnt-job", "list", "--no-headers", "-o", "id", "--pending").split()
        for job in sorted(set(jobs), key=int):
            self.run("gnt-job", "watch", job)

    def _cpu(self) -> float:
        return processes.cpu(processes.of_namespace(self.init))


def _name(number: int) -> str:
    return f"guest{number}.bench.test"


def _guest(number: int) -> dict[str, object]:
    """As an opcode of Ganeti: no disk, one interface, started, nothing looked up in DNS."""
    return {
        "instance_name": _name(number),
        "disk_template": "diskless",
        "disks": [],
        "os_type": "noop+dflt",
        "mode": "create",
        "pnode": NODE,
        "hypervisor": "fake",
        "hvparams": {},
        "beparams": {"memory": 128, "vcpus": 1},
        "nics": [{"mode": "bridged", "link": "br0"}],
        "start": True,
        "name_check": False,
        "ip_check": False,
        "wait_for_sync": True,
    }


@contextmanager
def running() -> Iterator[Ganeti]:
    """The cluster, initialised and answering."""
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-ganeti-") as name:
        argv = ["unshare", *NAMESPACES, "--propagation", "private", "--fork", "--kill-child", "--mount-proc"]
        argv += [sys.executable, "-m", "bench.ganeti", name]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout is not None
                if holder.stdout.readline().strip() != READY:
                    raise RuntimeError("the namespaces for Ganeti could not be made, see above")
                children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
                cluster = Ganeti(int(children[0]), Path(name))
                _initialise(cluster)
                yield cluster
            finally:
                holder.kill()


def _initialise(cluster: Ganeti) -> None:
    cluster.run(
        *("gnt-cluster", "init", "--no-ssh-init", "--no-etc-hosts", "--master-netdev=br0"),
        *("--enabled-hypervisors=fake", "--enabled-disk-templates=diskless"),
        *("--nic-parameters=mode=bridged,link=br0", CLUSTER),
    )


def _hold(folder: Path) -> None:
    """In the fresh namespaces: cover what Ganeti writes to, make its network, then reap for good."""
    for name in ("lib", "log"):
        (folder / name).mkdir()
    # Debian's commands are links that lead through /etc/ganeti.
    shutil.copytree("/etc/ganeti", folder / "etc", symlinks=True)
    (folder / "hosts").write_text(HOSTS)
    bound = {"etc": "/etc/ganeti", "lib": "/var/lib/ganeti", "log": "/var/log/ganeti", "hosts": "/etc/hosts"}
    for name, place in bound.items():
        _run("mount", "--bind", str(folder / name), place)
    for place in ("/run", "/srv", "/root"):
        _run("mount", "-t", "tmpfs", "leasehold-bench", place)
    Path("/run/lock").mkdir()
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("hostname", NODE)
    for words in ("set lo up", "add br0 type bridge", "set br0 up"):
        _run("ip", "link", *words.split())
    _run("ip", "address", "add", "10.9.8.1/24", "dev", "br0")
    _write_os(Path("/srv/ganeti/os/noop"))
    print(READY, flush=True)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.2)


def _write_os(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in SCRIPTS:
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    (folder / "ganeti_api_version").write_text("20\n")
    (folder / "variants.list").write_text("dflt\n")
    (folder / "parameters.list").write_text("")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=20, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        _hold(Path(sys.argv[1]))
