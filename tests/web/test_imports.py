# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The web process only writes rows (R48): what could reach a host or change the schema is not even in its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.web.conftest import settings_for

FORBIDDEN = ("paramiko", "pyroute2", "alembic", "workers", "lab", "libvirt", "crontab")
SCRIPT = """
import importlib, json, pkgutil, sys
import app, app.wsgi, app.cgi, app.web
from app.settings import Settings, Web
made = app.create_app(Settings(database=sys.argv[1], web=Web(secret_key_file=sys.argv[2], secure_cookies=False)))
for found in pkgutil.walk_packages(app.web.__path__, "app.web."):
    importlib.import_module(found.name)
answer = made.test_client().get("/login")
made.extensions["leasehold"].database.close()
print(json.dumps([answer.status_code, sorted(sys.modules)]))
"""


def test_the_web_process_has_no_way_to_a_host(sqlite_url: str, tmp_path: Path):
    key = settings_for(sqlite_url, tmp_path).web.secret_key_file
    command = [sys.executable, "-W", "error", "-c", SCRIPT, sqlite_url, key]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, modules = json.loads(done.stdout)
    assert status == 200
    assert "app.web.urls" in modules
    loaded = {name.split(".")[0] for name in modules}
    assert loaded.isdisjoint(FORBIDDEN), loaded.intersection(FORBIDDEN)


def test_a_pass_that_looks_for_work_does_not_load_the_pages():
    script = "import sys, app.db.look; print('flask' in sys.modules, 'sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split()[0] == "False"
