# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""An open database for each test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.db.base import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A `Database` over `database_url`, closed at the end."""
    made = Database(database_url)
    yield made
    made.close()
