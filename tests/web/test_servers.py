# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The two ways the pages are served: waitress as its own process, and CGI under lighttpd with the shipped example."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from app.db.base import Database
from app.settings import Settings
from tests.browse import Visitor
from tests.factories import make_login, make_site
from tests.web.conftest import settings_for
from tests.web.test_new import filled

ROOT = Path(__file__).parents[2]
START_S = 60


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Path:
    """The settings file of a small site with two accounts."""
    settings: Settings = settings_for(database_url, tmp_path)
    database = Database(database_url)
    make_site(database)
    make_login(database, "anna")
    make_login(database, "carla", "cluster_provider")
    database.close()
    file = tmp_path / "leasehold.toml"
    key = settings.web.secret_key_file
    file.write_text(
        f'database = "{database_url}"\n[web]\nsecret_key_file = "{key}"\nsecure_cookies = false\n'
    )
    return file


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], base: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The server as a process of its own, from its first answer on until the end of the block."""
    environment = {**os.environ, **environment}
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            _await(process, base)
            yield process
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(process: subprocess.Popen[str], base: str) -> None:
    end = time.monotonic() + START_S
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < end and process.poll() is None:
            try:
                session.get(f"{base}/healthz", timeout=START_S)
                return
            except requests.ConnectionError:
                time.sleep(0.1)
    output = process.communicate(timeout=5)[0] if process.poll() is not None else "it does not answer"
    raise AssertionError(f"the server did not come up: {output}")


def book_and_approve(base: str) -> None:
    """What every way of serving must be able to do."""
    anna, carla = Visitor(base), Visitor(base)
    assert anna.log_in("anna").url == f"{base}/"
    booked = anna.post("/reservations/new", filled())
    assert booked.status_code == 200, booked.text
    assert booked.url.startswith(f"{base}/reservations/")
    number = booked.url.rsplit("/", 1)[1]
    assert "vc-42" in anna.get("/reservations").text
    assert carla.log_in("carla").ok
    approved = carla.post(f"/admin/approvals/{number}/approve", {}, page="/admin/approvals")
    assert "Approved." in approved.text
    assert "Approved by carla" in anna.get(f"/reservations/{number}").text
    refused = anna.get("/admin/approvals")
    assert refused.status_code == 403
    assert refused.headers["X-Request-ID"] in refused.text
    assert anna.get("/static/leasehold.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert anna.get("/nothing").status_code == 404
    for visitor in (anna, carla):
        visitor.session.close()


def test_waitress_serves_the_pages(config: Path):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "app.wsgi", "--listen", f"127.0.0.1:{port}"]
    with running(command, base, {"LEASEHOLD_CONFIG": str(config)}):
        book_and_approve(base)


def test_two_processes_side_by_side_are_one_site(config: Path):
    """What a web server in front may spread requests over: logged in at one, known and counted at the other."""
    ports = free_port(), free_port()
    one, other = (f"http://127.0.0.1:{port}" for port in ports)
    commands = [[sys.executable, "-m", "app.wsgi", "--listen", f"127.0.0.1:{port}"] for port in ports]
    environment = {"LEASEHOLD_CONFIG": str(config)}
    with running(commands[0], one, environment), running(commands[1], other, environment):
        anna = Visitor(one)
        assert anna.log_in("anna").ok
        # Of cookies the port is no part, RFC 6265: the same browser, sent to the other process.
        anna.base = other
        booked = anna.post("/reservations/new", filled())
        assert booked.url.startswith(f"{other}/reservations/"), booked.text
        anna.base = one
        assert "vc-42" in anna.get("/reservations").text
        anna.session.close()


def test_waitress_does_not_start_without_the_key_and_says_what_to_do(config: Path, tmp_path: Path):
    (tmp_path / "web.key").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "app.wsgi", "--listen", "127.0.0.1:0"],
        env={**os.environ, "LEASEHOLD_CONFIG": str(config)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "leasehold init" in done.stderr
    assert "Traceback" not in done.stderr


def lighttpd_config(config: Path, folder: Path, port: int) -> Path:
    """The shipped example with the paths of this test, and what a distribution's main file adds around it."""
    script = folder / "leasehold.cgi"
    shipped = (ROOT / "docs/examples/leasehold.cgi").read_text()
    assert "cd /opt/leasehold && exec .venv/bin/python" in shipped
    script.write_text(
        shipped.replace("/opt/leasehold", str(ROOT)).replace(".venv/bin/python", sys.executable)
    )
    script.chmod(0o755)
    example = (ROOT / "docs/examples/lighttpd-cgi.conf").read_text()
    replaced = {
        "/opt/leasehold/docs/examples/leasehold.cgi": str(script),
        "/opt/leasehold/app/web/static/": f"{ROOT}/app/web/static/",
        "/etc/leasehold/leasehold.toml": str(config),
    }
    for shipped_path, ours in replaced.items():
        assert f'"{shipped_path}"' in example
        example = example.replace(f'"{shipped_path}"', f'"{ours}"')
    around = f"""
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}"
server.errorlog = "{folder}/lighttpd.log"
"""
    file = folder / "lighttpd.conf"
    file.write_text(around + example)
    return file


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_lighttpd_serves_the_pages_as_cgi(config: Path, tmp_path: Path):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    file = lighttpd_config(config, tmp_path, port)
    with running(["lighttpd", "-D", "-f", str(file)], base, {}):
        book_and_approve(base)
        large = Visitor(base).session.post(f"{base}/login", data={"name": "x" * (2 << 20)}, timeout=60)
        assert large.status_code == 413
    log = (tmp_path / "lighttpd.log").read_text()
    assert "Traceback" not in log, log
