# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The helper's one door to processes and files."""

import os
import time
from pathlib import Path

import pytest

from workers.node.protocol import Refused
from workers.node.run import MAX_OUTPUT, Door, run_program
from workers.node.steps import Exec, RemoveTree, Rename, SetSize, Stat, WriteFile


@pytest.fixture
def door(tmp_path) -> Door:
    return Door(str(tmp_path))


def refused(door: Door, command) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        door.run(command)
    return refused.value.error.code, refused.value.error.message


def test_both_outputs_are_drained_and_cut():
    script = (
        "head -c 8000000 /dev/zero | tr '\\0' o & head -c 8000000 /dev/zero | tr '\\0' e >&2; wait; exit 3"
    )
    output = run_program(("sh", "-c", script), None, 60)
    assert (output.rc, len(output.stdout), len(output.stderr)) == (3, MAX_OUTPUT, MAX_OUTPUT)


def test_input_larger_than_a_pipe_is_fed():
    text = "x" * 1_000_000
    assert run_program(("cat",), text, 60).stdout == text
    assert run_program(("true",), text, 60).rc == 0


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path):
    started, pids = time.monotonic(), tmp_path / "pids"
    script = f"sleep 300 & echo $$ $! > {pids}; wait"
    with pytest.raises(Refused, match="did not end within 1 s") as refused:
        run_program(("sh", "-c", script), None, 1)
    assert refused.value.error.code == "timeout"
    assert time.monotonic() - started < 20
    until = time.monotonic() + 10
    while any(is_alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < until


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_is_not_there_is_told_with_its_package(door):
    code, message = refused(door, Exec(("leasehold-no-such-program",)))
    assert code == "tool_missing"
    assert "install the Debian package" in message


def test_a_failed_program_s_own_words_are_told_and_not_its_input(door):
    code, message = refused(
        door, Exec(("sh", "-c", "cat >/dev/null; echo why >&2; exit 4"), "planted-canary-secret")
    )
    assert code == "tool_failed"
    assert message.endswith("exit status 4: why")
    assert "canary" not in message


def test_a_program_gets_no_environment_of_ours(monkeypatch):
    monkeypatch.setenv("LEASEHOLD_CANARY", "x")
    assert "CANARY" not in run_program(("env",), None, 10).stdout


@pytest.mark.parametrize(
    "path", ["/etc/passwd-leasehold", "relative", "{dir}/../x", "{dir}/a/../../x", "{dir}"]
)
def test_files_outside_the_directory_are_refused_at_the_door(door, path):
    path = path.format(dir=door.dir)
    (Path(door.dir) / "inside").write_text("x")
    for command in (
        WriteFile(path, "x"),
        SetSize(path, 1),
        RemoveTree(path),
        Rename(f"{door.dir}/inside", path),
    ):
        assert refused(door, command)[0] == "out_of_remit"
    assert sorted(os.listdir(door.dir)) == ["inside"]


def test_a_written_file_is_whole_and_private(door):
    path = f"{door.dir}/secret"
    for text in ("old", "new"):
        door.run(WriteFile(path, text))
    assert Path(path).read_text() == "new"
    assert oct(Path(path).stat().st_mode & 0o777) == "0o600"
    assert os.listdir(door.dir) == ["secret"]


def test_a_symbolic_link_is_not_followed_when_looked_at(door):
    Path(f"{door.dir}/link").symlink_to("/etc/passwd")
    assert door.ask(Stat(f"{door.dir}/link")).kind == "other"
    assert door.ask(Stat(f"{door.dir}/none")) is None
