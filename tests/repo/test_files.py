# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Every file of the tree: its header, its size, its reason to be there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEADER = ["SPDX-FileCopyrightText: 2026 The Leasehold contributors", "SPDX-License-Identifier: Apache-2.0"]
MOST_LINES = 500


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def is_program(path: Path) -> bool:
    """Python, documentation, make files and whatever starts with #!; not recorded output of other tools."""
    if path.is_relative_to(ROOT / "tests" / "data"):
        return False
    if path.suffix in (".py", ".rst", ".sh") or path.name == "Makefile":
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def test_programs_and_pages_name_copyright_and_licence():
    without = []
    for path in tracked():
        if is_program(path):
            start = "\n".join(path.read_text().splitlines()[:4])
            if not all(line in start for line in HEADER):
                without.append(str(path.relative_to(ROOT)))
    assert without == []


def test_no_python_file_is_past_500_lines():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in tracked()
        if path.suffix == ".py"
    }
    assert lengths
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_module_has_a_name_that_says_nothing():
    refused = {"utils", "util", "common", "manager", "backend", "helpers", "misc"}
    assert [str(path.relative_to(ROOT)) for path in tracked() if path.stem in refused] == []


@pytest.mark.parametrize("folder", [".ci", "tests", "lab", "lab/rootfs"])
def test_every_debian_package_has_a_reason(folder):
    lines = (ROOT / folder / "packages.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+ +# \S.*", line), line


def pins(name: str) -> dict[tuple[str, str], str]:
    """(package, marker) -> version of a lock file."""
    found = re.findall(
        r"^([a-z0-9-]+)(?:\[\w+\])?==(\S+)(?: ; (.*?))? \\$", (ROOT / name).read_text(), flags=re.M
    )
    return {(package, marker): version for package, version, marker in found}


def test_the_two_lock_files_agree():
    running, developing = pins("requirements.txt"), pins("requirements-dev.txt")
    assert running
    assert {package: developing.get(package) for package in running} == running


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_has_every_requirement(name):
    locked = {package for package, _ in pins(f"{name}.txt")}
    wanted = re.findall(r"^([a-z][a-z0-9-]*)", (ROOT / f"{name}.in").read_text(), flags=re.M)
    assert wanted
    assert set(wanted) <= locked
