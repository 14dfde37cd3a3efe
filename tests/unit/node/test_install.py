# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Editing authorized_keys: our line comes and goes, all others stay byte for byte."""

import pytest

from workers.node.install import edited

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIEFUX"
LINE = f'restrict,command="helper" ssh-ed25519 {KEY} leasehold-manager'
OTHERS = [
    "",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIother operator@desk\n",
    "# a comment\n\n  ssh-rsa AAAAB3 with spaces  \n",
    "ssh-ed25519 AAAAother no newline at the end",
    "ssh-ed25519 AAAAother windows\r\n",
    f"# ssh-ed25519 {KEY} switched off by hand\n",
    f"ssh-ed25519 {KEY}more another key that begins alike\n",
    "ssh-ed25519 AAAAother caf\udce9\n",
]


@pytest.mark.parametrize("text", OTHERS)
def test_adding_and_removing_gives_back_what_was_there(text):
    with_line = edited(text, KEY, LINE)
    assert with_line.splitlines()[-1] == LINE
    assert with_line.startswith(text)
    assert edited(with_line, KEY, None) == (text if text.endswith("\n") or not text else text + "\n")


@pytest.mark.parametrize("text", OTHERS)
def test_a_second_time_changes_nothing(text):
    once = edited(text, KEY, LINE)
    assert edited(once, KEY, LINE) == once


@pytest.mark.parametrize("text", OTHERS)
def test_removing_what_is_not_there_changes_nothing(text):
    assert edited(text, KEY, None) == text


def test_the_line_is_replaced_where_it_stands():
    text = f'ssh-ed25519 AAAAa a\nrestrict,command="old" ssh-ed25519 {KEY} leasehold-manager\nssh-ed25519 AAAAb b\n'
    assert edited(text, KEY, LINE) == f"ssh-ed25519 AAAAa a\n{LINE}\nssh-ed25519 AAAAb b\n"


def test_an_unrestricted_line_of_the_same_key_does_not_survive():
    text = f"ssh-ed25519 {KEY} put here by hand\nssh-ed25519 AAAAb b\n{LINE}\n"
    assert edited(text, KEY, LINE) == f"{LINE}\nssh-ed25519 AAAAb b\n"
