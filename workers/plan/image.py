# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden images: from loaded rolls to the FAI configuration space that makes one, and the image's name.

The host helper writes `files` below a folder CONFIG (modes from `modes`, 0644 where none is given) and runs

    unshare --mount --propagation unchanged --pid --fork --kill-child --mount-proc
        bash CONFIG/build OUT.raw {size_mib}M CLASS,CLASS,...

with LEASEHOLD_BASE_DIR naming the folder where base archives are kept. Status 0 means that OUT.raw is the image.

A roll's folder becomes part of the space like this, for the kind of guest at hand:
    space/PATH                     -> PATH, as it is
    files/{all,KIND}/PATH          -> files/PATH/CLASS, copied to /PATH in the guest
    scripts/{all,KIND}/NN-name     -> scripts/CLASS/NN-name, run when the packages are in
    [packages] of roll.toml        -> package_config/CLASS
where CLASS is the roll's name in capitals. Text that begins with #! is made executable.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.roll import KINDS, Roll, RollError

MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
SIZE_MIB = 2048
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/+-]*)?")
_SUITE = re.compile(r"[a-z]{3,20}")


@dataclass(frozen=True)
class Image:
    """What the `image` operation is asked for; equal content has an equal name."""

    name: str
    kind: str
    size_mib: int
    classes: tuple[str, ...]
    files: Mapping[str, str]
    modes: Mapping[str, str]


def plan_image(
    kind: str,
    rolls: Sequence[Roll],
    *,
    suite: str = "bookworm",
    mirror: str = MIRROR,
    security_mirror: str = SECURITY_MIRROR,
    size_mib: int = SIZE_MIB,
) -> Image:
    """The image of one kind of guest from rolls in the order `app.domain.roll.resolve` gives.

    Rolls that do not apply to the kind are left out. RollError when two rolls claim one path, or an argument is
    not what it should be. The name is KIND-HASH12 over everything that goes into the image.
    """
    if kind not in KINDS:
        raise RollError(f"there is no kind of guest {kind!r}; there are {', '.join(KINDS)}")
    if not _SUITE.fullmatch(suite):
        raise RollError(f"{suite!r} is not the name of a Debian suite")
    for url in (mirror, security_mirror):
        if not _URL.fullmatch(url):
            raise RollError(f"{url!r} is not an http address of a package mirror")
    mine = [roll for roll in rolls if kind in roll.kinds]
    files: dict[str, str] = {}
    for roll in mine:
        for path, text in _space(roll, kind).items():
            if path in files:
                raise RollError(f"roll {roll.name!r} brings {path!r}, which another roll has brought already")
            files[path] = text
    files |= _settings(mine, files, suite, mirror, security_mirror)
    classes = (*(_class(roll) for roll in mine), "LAST")
    whole = json.dumps([kind, size_mib, classes, sorted(files.items())])
    return Image(
        name=f"{kind}-{hashlib.sha256(whole.encode()).hexdigest()[:12]}",
        kind=kind,
        size_mib=size_mib,
        classes=classes,
        files=files,
        modes={path: "0755" for path, text in files.items() if text.startswith("#!")},
    )


def _class(roll: Roll) -> str:
    """FAI wants class names without -."""
    return roll.name.upper().replace("-", "_")


def _space(roll: Roll, kind: str) -> dict[str, str]:
    """One roll's part of the configuration space, package list included."""
    space = {}
    for path, text in roll.files.items():
        head, _, rest = path.partition("/")
        who, _, tail = rest.partition("/")
        if head == "space":
            space[rest] = text
        elif head == "files" and who in ("all", kind):
            space[f"files/{tail}/{_class(roll)}"] = text
        elif head == "scripts" and who in ("all", kind):
            space[f"scripts/{_class(roll)}/{tail}"] = text
    packages = [*roll.packages.get("all", ()), *roll.packages.get(kind, ())]
    if packages:
        space[f"package_config/{_class(roll)}"] = "PACKAGES install-norec\n" + "\n".join(packages) + "\n"
    return space


def _settings(
    rolls: Sequence[Roll], files: Mapping[str, str], suite: str, mirror: str, security_mirror: str
) -> dict[str, str]:
    """class/BASE.var and the guest's package sources, with the name of the base archive they lead to."""
    origins = [(mirror, suite), (mirror, f"{suite}-updates"), (security_mirror, f"{suite}-security")]
    sources = "".join(f"deb {url} {name} main\n" for url, name in origins)
    packages = ",".join(sorted({name for roll in rolls for name in roll.packages.get("base", ())}))
    base_files = sorted(
        (path, text) for path, text in files.items() if path.startswith(("base/", "hooks/extrbase."))
    )
    content = json.dumps([sources, packages, base_files])
    variables = {
        "SUITE": suite,
        "MIRROR": mirror,
        "BASE_PACKAGES": packages,
        "BASE_ARCHIVE": f"base-{hashlib.sha256(content.encode()).hexdigest()[:12]}",
    }
    return {
        "class/BASE.var": "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()),
        "files/etc/apt/sources.list/BASE": sources,
    }
