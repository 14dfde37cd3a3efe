# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the documentation says is what the code has: commands, states, operations, settings, requirements."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from crontab import CronTab

from app import settings
from app.db.pass_run import PASSES
from app.domain.lifecycle import TRANSITIONS
from tests.repo import rst
from workers.node.ops import OPS

ROOT = rst.ROOT


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z-]*):", text, flags=re.M)) - {"export"}


def shell_commands() -> list[tuple[Path, str]]:
    return [(page, line) for page in rst.PAGES for line in rst.literal_lines(page)]


def test_make_commands_of_the_documentation_exist():
    named = {
        (page.name, target)
        for page, line in shell_commands()
        for made in re.findall(r"^make (?:-C \S+ )?([a-z -]+)", line)
        for target in made.split()
    }
    assert {"demo", "demo-down", "test"} <= {target for page, target in named if page == "README.rst"}
    assert {(page, target) for page, target in named if target not in make_targets()} == set()


def test_ci_runs_the_readme_s_test_command():
    assert "make test-machines test" in rst.literal_lines(ROOT / "README.rst")
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make test-machines test"


def leasehold_commands() -> dict[tuple[str, ...], set[str]]:
    """The commands that the documentation and the example for cron name, each with all options shown for it."""
    lines = [line for _, line in shell_commands()] + (ROOT / "crontab.example").read_text().splitlines()
    commands: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        if found := re.search(r"^leasehold [a-z].*|(?<=\* )leasehold .*", line):
            words = found[0].split()[1:]
            nouns_and_verbs = itertools.takewhile(lambda word: re.fullmatch("[a-z]+", word), words)
            # At most a noun and a verb; what follows are names.
            command = tuple(itertools.islice(nouns_and_verbs, 2))
            commands.setdefault(command, set()).update(word for word in words if word.startswith("--"))
    return commands


@pytest.mark.parametrize(("command", "options"), leasehold_commands().items())
def test_leasehold_command_of_the_documentation_exists(command, options):
    program = Path(sys.executable).parent / "leasehold"
    shown = subprocess.run(
        [program, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert shown.returncode == 0, shown.stderr
    assert {option for option in options if option not in shown.stdout} == set()


def test_state_table_is_the_code_s():
    documented = [tuple(row) for row in rst.table("docs/architecture.rst", "From")]
    assert documented == [
        (source, to, why) for source, ways in TRANSITIONS.items() for to, why in ways.items()
    ]


def test_documented_tree_is_the_tree():
    page = (ROOT / "docs/architecture.rst").read_text()
    block = re.split(r"\n\S", page.split("\nThe tree\n--------\n\n::\n", 1)[1], maxsplit=1)[0]
    folders: set[str] = set()
    modules: set[str] = set()
    top = ""
    for indent, entry in re.findall(r"^   ( *)(\S+/|\S+(?:, \S+)*)(?:  .*)?$", block, flags=re.M):
        if not entry.endswith("/"):
            modules.update(f"{top}{name}.py" for name in entry.split(", "))
        elif indent:
            folders.add(top + entry)
        else:
            top = entry
            folders.add(entry)
    assert [name for name in folders if not (ROOT / name).is_dir()] == []
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("[aw]*/*/__init__.py")}
    assert {"app/db/", "workers/engine/"} <= packages <= folders
    entries = {str(path.relative_to(ROOT)) for path in ROOT.glob("workers/*.py")}
    assert modules == entries - {"workers/__init__.py"}


def test_every_operation_is_documented_and_has_cases():
    documented = [row[0] for row in rst.table("docs/operations.rst", "Operation")]
    assert sorted(documented) == sorted(OPS)
    assert [op for op in OPS if not list((ROOT / "tests/ops" / op).glob("*.json"))] == []


def test_crontab_example_names_the_passes_that_exist():
    entries = list(CronTab(tab=(ROOT / "crontab.example").read_text()))
    assert all(entry.is_valid() and str(entry.slices) == "* * * * *" for entry in entries)
    named = [entry.command for entry in entries]
    assert named == [f"leasehold pass {name} --for 55s" for name in PASSES]


def test_documented_settings_are_accepted(tmp_path):
    blocks = rst.code_blocks("docs/install.rst", "toml")
    assert blocks
    for block in blocks:
        file = tmp_path / "leasehold.toml"
        file.write_text(block)
        assert settings.load(str(file), environ={}).site == "Example Institute"


ROWS = rst.table("docs/requirements.rst", "Row")


def test_requirements_have_all_rows_in_order():
    assert [row[0] for row in ROWS] == [f"R{number}" for number in range(1, 140)]
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize(("row", "mark", "state", "shown_by"), [(r[0], r[2], r[3], r[4]) for r in ROWS])
def test_requirement_points_to_tests_that_exist(row, mark, state, shown_by):
    assert mark in ("core", "second", "wish", "context")
    assert state in ("done", "partly", "not yet", "context")
    assert (state == "context") <= (mark == "context")
    tests = shown_by.split()
    assert bool(tests) == (state in ("done", "partly")), f"{row} is {state!r} and names {tests}"
    for test in tests:
        file, _, function = test.partition("::")
        path = ROOT / "tests" / file
        assert path.is_file(), f"{row} names {test}"
        if function:
            defined = {
                n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)
            }
            assert function in defined, f"{row} names {test}"
