# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An open database for each test of this folder, and settings by which its clusters can be laid out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.base import Database
from app.settings import Image, Network, Settings

ROLLS = str(Path(__file__).parents[1] / "data" / "rolls-tiny")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A `Database` over `database_url`, closed at the end."""
    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a site with tiny rolls and a key of its own."""
    key = tmp_path / "site.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    network = Network(dns=("198.18.9.1",))
    return Settings(rolls_dir=ROLLS, image=Image(suite="tiny"), network=network, site_key_file=str(key))
