# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What pages load: only from here, and what was taken from elsewhere is unchanged."""

from __future__ import annotations

import hashlib
import re
import tomllib

from app.web import TEMPLATES
from app.web.show import STATIC
from tests.browse import Visitor
from tests.factories import book_now
from tests.web.conftest import Site


def test_vendored_files_are_the_published_ones_and_all_are_listed():
    listed = tomllib.loads((STATIC / "vendored.toml").read_text())
    for entry in listed.values():
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["version"] in entry["file"]
    files = {path.name for path in STATIC.iterdir()} - {"vendored.toml"}
    ours = {name for name in files if "SPDX-License-Identifier: Apache-2.0" in (STATIC / name).read_text()}
    assert files - ours == {entry["file"] for entry in listed.values()}


def test_templates_load_nothing_from_elsewhere_and_carry_no_inline_code():
    for path in TEMPLATES.rglob("*.html"):
        source = path.read_text()
        assert "SPDX-License-Identifier: Apache-2.0" in source, path
        assert not re.search(r'(src|href|action)="(https?:)?//', source), path
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|hx-on|\|\s*safe", source), path


def test_every_asset_a_page_names_is_there_and_may_be_kept(sqlite_site: Site):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"])
    page = sqlite_site.visitor("anna").get(f"/reservations/{number}").text
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(named) == 4
    for address in named:
        answer = Visitor(sqlite_site.base).get(address)
        assert answer.status_code == 200
        assert "max-age=2592000" in answer.headers["Cache-Control"]
