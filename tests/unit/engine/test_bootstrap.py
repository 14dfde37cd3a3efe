# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The forced command holds what the roles need and no more; what a host lacks is said role by role."""

import pytest

from app.db.site import HOST_ROLES
from app.domain.errors import SiteError
from workers.engine.bootstrap import PACKAGES, ROLE_OPS, ROLE_TOOLS, forced_line, missing_tools

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEFUX"
TOOLS = dict.fromkeys(PACKAGES, "1.0")


def line(*roles: str, folder: str = "/var/lib/leasehold", bridge: str = "br-public") -> str:
    return forced_line(KEY, folder=folder, mark="lh", roles=roles, public_bridges=[bridge])


def test_forced_command_of_a_compute_host():
    assert line("compute") == (
        'restrict,command="/usr/bin/python3 -IS /var/lib/leasehold/helper.pyz serve --mark lh '
        f'--dir /var/lib/leasehold --ops vxlan,vlan,domain,null,report" {KEY} leasehold-manager'
    )


def test_only_a_gateway_may_use_the_public_bridge():
    assert "--public-bridge br-public" in line("gateway", "compute")
    for role in set(HOST_ROLES) - {"gateway"}:
        assert "br-public" not in line(role)


def test_roles_add_up_and_each_operation_is_named_once():
    ops = line("storage", "builder", "compute").split("--ops ")[1].split('"')[0].split(",")
    assert len(ops) == len(set(ops))
    assert set(ops) == {*ROLE_OPS["storage"], *ROLE_OPS["builder"], *ROLE_OPS["compute"]}


def test_every_role_has_its_operations_and_tools():
    assert set(ROLE_OPS) == set(ROLE_TOOLS) == set(HOST_ROLES)
    assert {tool for tools in ROLE_TOOLS.values() for tool in tools} <= set(PACKAGES)


@pytest.mark.parametrize("word", ["/var/lib/a b", '/x"', "/x;rm", "/x$(id)", "/x\n", "/ü", "/x'", ""])
def test_nothing_a_shell_would_act_on_gets_into_the_forced_command(word):
    with pytest.raises(SiteError, match="forced command"):
        line("gateway", folder=word)
    with pytest.raises(SiteError, match="forced command"):
        line("gateway", bridge=word)


def test_a_complete_host_lacks_nothing():
    assert missing_tools(HOST_ROLES, {"tools": TOOLS, "virt_type": "qemu"}) == {}


def test_what_is_missing_is_named_for_each_role_with_its_package():
    lacks = missing_tools(["storage", "builder"], {"tools": {**TOOLS, "tgtadm": None}, "virt_type": None})
    assert lacks == {"storage": ["tgtadm is missing: apt install tgt"]}


def test_a_host_that_starts_no_guest_is_no_compute_host():
    lacks = missing_tools(["compute", "storage"], {"tools": TOOLS, "virt_type": None})
    assert list(lacks) == ["compute"]
    assert "qemu-system-x86" in lacks["compute"][0]
