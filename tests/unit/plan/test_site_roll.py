# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The site roll, held to golden files, and safe against whatever a person typed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from workers.plan.site_roll import Frontend, Node, Site, User, site_roll

GOLDEN = Path(__file__).parents[2] / "data" / "site-vc-42"
SITE = Site(
    cluster="vc-42",
    instance="vc-42",
    frontend=Frontend(
        "frontend", "10.20.0.1", "02:6c:00:00:2a:00", "198.19.0.101", "02:6c:00:00:2a:ff", 24, "198.19.0.1"
    ),
    private_network="10.20.0.0/16",
    mtu=1450,
    nodes=(
        Node("node1", "node", "02:6c:00:00:2a:01", "10.20.1.1", 1, 512),
        Node("node2", "node", "02:6c:00:00:2a:02", "10.20.1.2", 4, 4096),
    ),
    users=(
        User("ada", 2001, ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== ada@example",)),
        User("ben", 2002, ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB== ben@example",)),
    ),
    rolls=("base", "frontend", "nfs", "slurm"),
    dns=("198.19.0.1",),
    outside_check="198.19.0.1",
    munge_key="lh42-munge",
    host_key="lh42-host-key",
)


def test_the_files_are_as_the_golden_ones() -> None:
    texts = {path: value for path, value in site_roll(SITE).items() if isinstance(value, str)}
    assert texts == {path: (GOLDEN / path).read_text() for path in texts}
    assert set(texts) == {
        *("user-data", "meta-data", "network-config"),
        *("leasehold/site.json", "leasehold/edition"),
    }


def test_another_node_makes_another_edition_and_nothing_else_does() -> None:
    fewer = dataclasses.replace(SITE, nodes=SITE.nodes[:1])
    editions = [str(site_roll(site)["leasehold/edition"]) for site in (SITE, fewer, SITE)]
    assert editions[0] == editions[2] != editions[1]


def test_a_frontend_takes_its_addresses_anew_in_each_slot_of_one_cluster() -> None:
    again = site_roll(dataclasses.replace(SITE, instance="vc-42-again"))
    changed = {path for path, value in site_roll(SITE).items() if again[path] != value}
    assert changed == {"meta-data", "leasehold/edition"}
    assert json.loads(str(again["meta-data"]))["instance-id"] == "vc-42-again"
    assert json.loads(str(again["leasehold/site.json"]))["cluster"] == "vc-42"


def test_secrets_are_named_and_nowhere_told() -> None:
    files = site_roll(SITE)
    assert files["leasehold/munge.key"] == {"secret": "lh42-munge"}
    assert files["leasehold/ssh_host_ed25519_key"] == {"secret": "lh42-host-key"}
    assert not any("lh42-" in text for text in files.values() if isinstance(text, str))


def test_only_the_first_user_may_use_sudo() -> None:
    user_data = json.loads(str(site_roll(SITE)["user-data"]).removeprefix("#cloud-config\n"))
    assert ["sudo" in user for user in user_data["users"]] == [True, False]


def test_nobody_has_a_password_and_root_no_login() -> None:
    user_data = json.loads(str(site_roll(SITE)["user-data"]).removeprefix("#cloud-config\n"))
    assert all(user["lock_passwd"] for user in user_data["users"])
    assert user_data["disable_root"] is True
    assert user_data["ssh_pwauth"] is False
    # cloud-init ignores a misspelt top-level key without a word.
    assert set(user_data) == {"users", "disable_root", "ssh_pwauth"}


def test_what_yaml_does_not_take_raw_is_escaped() -> None:
    site = dataclasses.replace(SITE, users=(User("a\x7f\x85\u2028\ufeff\U0001f600", 2001, ()),))
    assert '"name": "a\\u007f\\u0085\\u2028\\ufeff\U0001f600"' in str(site_roll(site)["user-data"])


@given(st.text(), st.lists(st.text(), max_size=3))
def test_text_of_any_kind_stays_a_value(name: str, keys: list[str]) -> None:
    site = dataclasses.replace(SITE, users=(User(name, 2001, tuple(keys)),))
    user_data = json.loads(str(site_roll(site)["user-data"]).removeprefix("#cloud-config\n"))
    assert user_data["users"][0]["name"] == name
    assert user_data["users"][0]["ssh_authorized_keys"] == keys
    assert json.loads(str(site_roll(site)["leasehold/site.json"]))["users"][0]["keys"] == keys
