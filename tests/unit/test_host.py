# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is no host name, address or role ends as wrong usage before anything is looked at."""

import pytest
from click.testing import CliRunner

from workers.host import host


def status(*words: str) -> int:
    return CliRunner().invoke(host, ["add", "--yes", *words]).exit_code


@pytest.mark.parametrize("name", ["", "-x", "a b", "A", "a" * 64, "c1;id", "c1\n", "../c1", "c1.", "-"])
def test_a_name_that_is_no_host_name_is_wrong_usage(name: str):
    assert status("--role", "compute", "--", name, "198.51.100.1") == 2


@pytest.mark.parametrize("address", ["", "-oProxyCommand=id", "a b", "$(id)", "a\nb"])
def test_an_address_that_is_none_is_wrong_usage(address: str):
    assert status("--role", "compute", "--", "c1", address) == 2


def test_a_role_must_be_given_and_known():
    assert status("c1", "198.51.100.1") == 2
    assert status("--role", "cook", "c1", "198.51.100.1") == 2


def test_a_port_beyond_65535_is_wrong_usage():
    assert status("--role", "compute", "--port", "65536", "c1", "198.51.100.1") == 2
