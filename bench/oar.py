# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""OAR's server over a PostgreSQL of ours, in namespaces of its own: a peer of bench/http.py.

Its settings are covered by a mount that only its processes see. It goes when `running` ends, however it ends.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.engine import make_url

from bench import slurm

NAMESPACES = ("--mount", "--net", "--pid")
START_S = 60
SCHEMA = ("pg_structure", "pg_default_admission_rules", "default_data")
# Anybody but root, who may not ask for anything.
WHO = "games"


@dataclass
class Oar:
    """The running server: the first process of its PID namespace."""

    init: int
    made: int = field(default=0)

    def reserve(self) -> float:
        """Wall seconds of one more `oarsub -r` of 8 nodes for an hour, which waits for the scheduler's word."""
        begun = time.perf_counter()
        self._ask(self._next())
        return time.perf_counter() - begun

    def at_once(self, number: int) -> float:
        """Wall seconds until `number` of them, asked for at once, are all answered."""
        starts = [self._next() for _ in range(number)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(number) as pool:
            list(pool.map(self._ask, starts))
        return time.perf_counter() - begun

    def run(self, *argv: str, timeout_s: float = 120) -> str:
        """Run a command in its namespaces and return what it printed."""
        enter = ["nsenter", "--target", str(self.init), *NAMESPACES, "--", *argv]
        done = subprocess.run(
            enter, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, cwd="/tmp"
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv[:3])}: {done.stdout[-500:]} {done.stderr[-1000:]}")
        return done.stdout

    def _next(self) -> datetime:
        self.made += 1
        return datetime(2030, 1, 1) + timedelta(hours=self.made)

    def _ask(self, start: datetime) -> None:
        words = ["oarsub", "-r", f"{start:%Y-%m-%d %H:%M:%S}", "-l", "nodes=8,walltime=0:59:00", "/bin/true"]
        said = self.run("runuser", "-u", WHO, "--", "env", f"USER={WHO}", *words)
        if "--> OK" not in said:
            raise RuntimeError(f"oarsub: {said[-500:]}")


@contextmanager
def running(server: str, nodes: int) -> Iterator[Oar]:
    """OAR's server with so many nodes over a database of its own on `server` (a URL as `tests.postgresql` gives)."""
    url = make_url(server.format(database="postgres"))
    sockets = Path(str(url.query["host"]))
    sockets.chmod(0o755)  # its server and its commands are users of their own
    _make_database(sockets, str(url.username), nodes)
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-oar-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _configure(folder, sockets)
        cover = f"mount --bind {folder}/etc /etc/oar && mount -t tmpfs tmpfs /run && mkdir /run/oar"
        network = "ip link set lo up && ip link add br0 type bridge && ip address add 10.9.7.1/24 dev br0"
        script = (
            f"{cover} && chown oar:oar /run/oar && {network} && ip link set br0 up && exec sleep infinity"
        )
        argv = ["unshare", *NAMESPACES, "--propagation", "private", "--fork", "--kill-child", "--mount-proc"]
        with subprocess.Popen([*argv, "sh", "-c", script], stdin=subprocess.DEVNULL) as holder:
            try:
                oar = Oar(slurm.first_child(holder.pid))
                time.sleep(1)  # for the mounts
                oar.run("sh", "-c", f"/usr/sbin/Almighty >{folder}/almighty.log 2>&1 </dev/null &")
                _await(oar, nodes)
                yield oar
            finally:
                holder.kill()


def _configure(folder: Path, sockets: Path) -> None:
    shutil.copytree("/etc/oar", folder / "etc", symlinks=True)
    file = folder / "etc" / "oar.conf"
    text = file.read_text()
    values = {
        "DB_TYPE": "Pg",
        "DB_HOSTNAME": str(sockets),
        "DB_PORT": "5432",
        "DB_BASE_NAME": "oar",
        "DB_BASE_LOGIN": "oar",
        "DB_BASE_PASSWD": "oar",
        "DB_BASE_LOGIN_RO": "oar_ro",
        "DB_BASE_PASSWD_RO": "oar_ro",
        "FINAUD_FREQUENCY": "0",
        "LOG_LEVEL": "2",
        "LOG_FILE": f"{folder}/log/oar.log",
    }
    for key, value in values.items():
        text = re.sub(rf"(?m)^#?{key}=.*\n", "", text) + f'{key}="{value}"\n'
    file.write_text(text)
    (folder / "log").mkdir()
    for path in (folder / "log", folder / "etc", file):
        shutil.chown(path, "oar", "oar")


def _make_database(sockets: Path, superuser: str, nodes: int) -> None:
    def psql(user: str, database: str, *words: str) -> None:
        argv = ["psql", "-q", "-h", str(sockets), "-U", user, "-d", database, *words]
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)

    psql(superuser, "postgres", "-c", "CREATE ROLE oar LOGIN", "-c", "CREATE ROLE oar_ro LOGIN")
    psql(superuser, "postgres", "-c", "CREATE DATABASE oar OWNER oar ENCODING 'UTF8' TEMPLATE template0")
    for name in SCHEMA:
        (file,) = Path("/usr/lib/oar/database").rglob(f"{name}.sql")
        psql("oar", "oar", "-f", str(file))
    rows = f"SELECT i, 'node' || i, 'Alive', 'UnChanged', '0' FROM generate_series(1, {nodes}) i"
    psql(
        superuser,
        "oar",
        *("-c", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO oar_ro"),
        # By default nobody may have more than two.
        *("-c", "DELETE FROM admission_rules WHERE rule LIKE '%waiting advance reservations%'"),
        *("-c", f"INSERT INTO resources (resource_id, network_address, state, next_state, cpuset) {rows}"),
    )


def _await(oar: Oar, nodes: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            if oar.run("oarnodes", "-s").count("Alive") >= nodes:
                return
        except RuntimeError:
            if time.monotonic() > until:
                raise
        if time.monotonic() > until:
            raise RuntimeError("OAR did not come up")
        time.sleep(0.5)
