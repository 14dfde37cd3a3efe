# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0

from workers.node.steps import Exec, TgtAccount, WriteFile, describe

SECRET = "planted-canary-secret"


def test_no_secret_is_in_what_is_told_of_a_command():
    for command in (
        Exec(("virsh", "secret-set-value"), SECRET),
        WriteFile("/d/iso/key", SECRET),
        TgtAccount("lh7-node1-root", SECRET),
    ):
        assert SECRET not in describe(command)
        assert SECRET not in repr(command)


def test_a_command_s_words_can_be_told_apart():
    assert describe(Exec(("cp", "a b", "c"))) == "cp 'a b' c"
    assert len(describe(Exec(("x" * 1000,)))) == 300
