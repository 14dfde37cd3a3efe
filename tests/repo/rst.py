# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what the tests of the documentation compare with the code: its tables and its literal blocks."""

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *sorted((ROOT / "docs").rglob("*.rst"))]


def table(page: str, first_column: str) -> list[list[str]]:
    """The rows of the csv-table in `page` whose first column has that header."""
    text = (ROOT / page).read_text()
    for block in re.findall(r"^\.\. csv-table::\n(.*?)(?=^\S|\Z)", text, flags=re.M | re.S):
        header, _, rows = block.partition("\n\n")
        if f':header: "{first_column}"' in header:
            return list(
                csv.reader(
                    (line.strip() for line in rows.splitlines() if line.strip()), skipinitialspace=True
                )
            )
    raise LookupError(f"{page} has no csv-table with a first column {first_column!r}")


def literal_lines(page: Path) -> list[str]:
    """Every line of the literal and code blocks of a page, without its indent."""
    lines: list[str] = []
    inside = False
    for line in page.read_text().splitlines():
        if line.rstrip().endswith("::"):
            inside = True
        elif inside and line and not line.startswith(" "):
            inside = False
        elif inside:
            lines.append(line.strip())
    return lines


def code_blocks(page: str, language: str) -> list[str]:
    """The code blocks of that language, without their indent."""
    text = (ROOT / page).read_text()
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text, flags=re.M)
    return [re.sub(r"^   ", "", block, flags=re.M) for block in found]
