# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole life of bookings in any order, as in ``tests/property``, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.property.test_booking_life import live


@pytest.mark.slow
def test_whatever_is_done_in_whatever_order_no_more_is_lent_than_there_is(
    new_database: Callable[[str], str],
) -> None:
    live(partial(new_database, "postgresql"), lives=8)
