# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A throw-away PostgreSQL server from Debian's packages, reachable by a Unix socket alone."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

SUPERUSER = "leasehold_test"

# The data need not outlive the machine, only the processes: a test may kill the server and start it again.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


@contextmanager
def server() -> Iterator[str]:
    """Run a fresh server while the block runs; yields a URL for SQLAlchemy without a database's name in it:
    ``url.format(database="x")`` completes it.

    The server refuses to be root, so root runs it as Debian's user postgres. It is told by the kernel to stop
    when the test process ends, however that ends.
    """
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="leasehold-pg-"))
    data, log = folder / "data", folder / "log"
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        initdb = [f"{binaries}/initdb", "-D", f"{data}", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C.UTF-8", "--no-sync"]
        subprocess.run(_as_postgres(initdb), check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120)
        postgres = [f"{binaries}/postgres", "-D", f"{data}", "-k", f"{folder}"]
        for name, value in SETTINGS.items():
            postgres += ["-c", f"{name}={value}"]
        with log.open("wb") as output:
            process = subprocess.Popen(_as_postgres(postgres), cwd=folder, stdout=output, stderr=output)
        try:
            _wait_until_up(process, folder, log)
            yield f"postgresql+psycopg://{SUPERUSER}@/{{database}}?host={folder}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """The programs of the newest PostgreSQL that is installed; they are not in PATH on Debian."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RuntimeError("no PostgreSQL server under /usr/lib/postgresql; run: make setup")
    return found[-1].parent


def _as_postgres(command: list[str]) -> list[str]:
    prefix = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        prefix += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
    return [*prefix, "--", *command]


def _wait_until_up(process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user=SUPERUSER, dbname="postgres").close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start; its log:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
