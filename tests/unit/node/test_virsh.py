# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What one virsh says of a domain, where some of it is missing."""

from typing import Any

import pytest

from workers.node import virsh
from workers.node.protocol import Refused
from workers.node.steps import Output

LISTED = "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11 lh7-node1\n"


def found(*answers: str, rc: int = 0) -> tuple[virsh.Domain, list[str]]:
    def ask(query: Any) -> Any:
        return Output(rc, virsh.BETWEEN.join(answers), "error: failed to connect to the hypervisor")

    return virsh.find_domain(ask, "qemu:///system", "lh7-node1", "hda", "secret-list")


def test_a_domain_that_is_not_listed_is_not_there():
    assert found("", "", "", "some secrets", LISTED.replace("node1", "node12")) == (
        virsh.Domain(),
        ["some secrets"],
    )


@pytest.mark.parametrize(("xml", "state"), [("", "running\n"), ("<domain/>", "\n")])
def test_a_domain_that_is_listed_and_not_told_about_is_not_taken_for_a_strangers(xml: str, state: str):
    with pytest.raises(Refused, match="lists lh7-node1"):
        found(xml, state, "", "", LISTED)


def test_a_libvirt_that_does_not_answer_is_no_absent_domain():
    with pytest.raises(Refused, match="failed to connect"):
        found("", rc=1)
