# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Slurm's controller with nodes that do not exist, in namespaces of its own: the peer of bench/http.py.

Its state is in one temporary folder and its network is its own loopback. It goes when `running` ends, however it ends.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bench import processes

ROOT = Path(__file__).parents[1]
NAMESPACES = ("--mount", "--net", "--pid")
API = "/slurm/v0.0.38"
START_S = 30
CONFIG = """\
ClusterName=peer
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ResumeProgram=/bin/true
SuspendProgram=/bin/true
SuspendTime=60
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n[1-{nodes}] NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 State=CLOUD
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """The running controller: the first process of its PID namespace, and its folder."""

    init: int
    folder: Path
    made: int = field(default=0)

    def reserve(self) -> float:
        """Wall seconds of one more `scontrol create reservation` of 8 nodes for an hour; five begin each hour."""
        start = datetime(2030, 1, 1) + timedelta(hours=self.made // 5)
        self.made += 1
        words = [f"ReservationName=r{self.made}", f"StartTime={start:%Y-%m-%dT%H:%M:%S}", "Duration=59"]
        begun = time.perf_counter()
        self.run("scontrol", "create", "reservation", *words, "NodeCnt=8", "Users=root", "PartitionName=main")
        return time.perf_counter() - begun

    def ping(self) -> float:
        """Wall seconds of `scontrol ping`: what starting the command and asking at all cost."""
        begun = time.perf_counter()
        self.run("scontrol", "ping")
        return time.perf_counter() - begun

    def list(self) -> float:
        """Wall seconds of one GET of all reservations; slurmrestd answers only processes of its own namespace."""
        said = self.run(sys.executable, "-m", "bench.slurm", str(self.folder / "rest.sock"))
        seconds, found = json.loads(said)
        if found < self.made:
            raise RuntimeError(f"slurmrestd listed {found} of {self.made} reservations")
        return float(seconds)

    def cpu(self) -> float:
        """Seconds of CPU of all that runs in it."""
        return processes.cpu(processes.of_namespace(self.init))

    def run(self, *argv: str) -> str:
        """Run a command in it and return what it printed."""
        enter = ["nsenter", "--target", str(self.init), *NAMESPACES, "--", *argv]
        environment = os.environ | {"SLURM_CONF": f"{self.folder}/slurm.conf", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(enter, capture_output=True, text=True, timeout=60, env=environment)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])}: {done.stdout[-500:]} {done.stderr[-1000:]}")
        return done.stdout


@contextmanager
def running(nodes: int) -> Iterator[Slurm]:
    """slurmctld with so many nodes and slurmrestd, both answering."""
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-slurm-") as name:
        folder = Path(name)
        (folder / "state").mkdir()
        (folder / "munge.key").touch(0o400)
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, nodes=nodes))
        folder.chmod(0o755)  # munged refuses a socket that others cannot reach
        argv = ["unshare", *NAMESPACES, "--propagation", "private", "--fork", "--kill-child", "--mount-proc"]
        argv += ["sh", "-c", "ip link set lo up && exec sleep infinity"]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as holder:
            try:
                slurm = Slurm(first_child(holder.pid), folder)
                _start(slurm)
                yield slurm
            finally:
                holder.kill()


def first_child(pid: int) -> int:
    """The process that `unshare --fork` of this id has made; RuntimeError when there is none after a while."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            return int(children[0])
        time.sleep(0.05)
    raise RuntimeError("the namespaces for Slurm could not be made, see above")


def _start(slurm: Slurm) -> None:
    folder = slurm.folder
    until = time.monotonic() + START_S
    files = {"key": "key-file", "sock": "socket", "pid": "pid-file", "log": "log-file", "seed": "seed-file"}
    slurm.run("munged", "--force", *(f"--{option}={folder}/munge.{end}" for end, option in files.items()))
    # slurmctld looks its own address up with AI_ADDRCONFIG, which wants one that is not of the loopback.
    for words in ("link add br0 type bridge", "address add 10.9.9.1/24 dev br0", "link set br0 up"):
        slurm.run("ip", *words.split())
    slurm.run("slurmctld", "-c", "-f", f"{folder}/slurm.conf")
    while True:
        try:
            slurm.run("scontrol", "show", "partition", "main")
            break
        except RuntimeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    rest = ["slurmrestd", "-f", f"{folder}/slurm.conf", "-a", "rest_auth/local", "-s", "openapi/v0.0.38"]
    free = "disable_user_check,disable_unshare_files,disable_unshare_sysv"
    words = " ".join([*rest, f"unix:{folder}/rest.sock"])
    slurm.run("sh", "-c", f"SLURMRESTD_SECURITY={free} {words} >{folder}/rest.log 2>&1 &")
    while not (folder / "rest.sock").exists():
        if time.monotonic() > until:
            raise RuntimeError((folder / "rest.log").read_text()[-1000:])
        time.sleep(0.1)


def _list(door: str) -> tuple[float, int]:
    """Seconds of the GET by this Unix socket, and how many reservations came."""
    begun = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(door)
        client.sendall(f"GET {API}/reservations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"slurmrestd answered {answer.status}: {text[:500]!r}")
    return time.perf_counter() - begun, len(json.loads(text)["reservations"])


if __name__ == "__main__":
    print(json.dumps(_list(sys.argv[1])))
