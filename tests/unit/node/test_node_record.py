# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""open-iscsi's record."""

import pytest

from workers.node import node_record


@pytest.mark.parametrize(("mutual", "offered"), [("not-a-real-mutual", "SHA256,MD5"), (None, "MD5")])
def test_a_target_that_shows_no_secret_is_offered_what_tgtd_can_read(
    mutual: str | None, offered: str
) -> None:
    record = node_record.text("iqn.2026-11.org.leasehold:lh7-n1", "10.0.2.15", "lh7-n1", "secret", mutual, 60)
    assert f"node.session.auth.chap_algs = {offered}\n" in record
