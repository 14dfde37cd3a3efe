# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The software of clusters: the rolls, read from their folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.domain.roll import DEVICES, Roll, RollError, Software, offered, parse
from app.settings import Settings

ROLLS = Path(__file__).parents[2] / "rolls"


def rolls_of(settings: Settings) -> dict[str, Roll]:
    """The rolls of this site: those of its folder, or ours."""
    return read_rolls(Path(settings.rolls_dir) if settings.rolls_dir else ROLLS)


def offered_of(settings: Settings) -> Software:
    """What may be asked for at this site. The rolls' other files are not read: every page that books asks for it."""
    folder = Path(settings.rolls_dir) if settings.rolls_dir else ROLLS
    stamps = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*/roll.toml")))
    if not stamps:
        raise _no_rolls(folder)
    # Guests of Xen are paravirtual.
    return _offered(stamps, DEVICES[:1] if settings.hypervisor == "xen" else DEVICES)


@lru_cache(maxsize=8)
def _offered(stamps: tuple[tuple[Path, int], ...], devices: tuple[str, ...]) -> Software:
    rolls = {path.parent.name: parse(path.parent.name, path.read_text(), {}) for path, _ in stamps}
    return offered(rolls, devices)


def read_rolls(folder: Path) -> dict[str, Roll]:
    """All rolls below folder by name; RollError when there are none or one is wrong."""
    rolls = {}
    for path in sorted(folder.glob("*/roll.toml")):
        root = path.parent
        files = {}
        for file in sorted(root.rglob("*")):
            if file.is_symlink():
                raise RollError(f"{file} is a symbolic link: a roll holds plain files only")
            if file.is_file() and file != path and "__pycache__" not in file.parts:
                try:
                    files[file.relative_to(root).as_posix()] = file.read_text()
                except UnicodeDecodeError as error:
                    raise RollError(f"{file} is not UTF-8 text: {error}") from error
        rolls[root.name] = parse(root.name, path.read_text(), files)
    if not rolls:
        raise _no_rolls(folder)
    return rolls


def _no_rolls(folder: Path) -> RollError:
    return RollError(f"no rolls in {folder}: expected folders with a roll.toml each")
