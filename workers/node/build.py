# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Makes the helper's zipapp: this package and what it needs of pyroute2, byte for byte the same from the same sources.

Files are stored, not deflated, because what zlib makes differs between its versions; all dates are the same. The
manager runs this; it is not part of what it makes.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
LEFT_OUT = {"build.py", "install.py"}  # the manager's own side
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold
# Python keeps no compiled code in a zip, so `install` unpacks it beside itself and compiles it there.
MAIN = """import sys

sys.path.insert(0, sys.path[0] + ".d")
from workers.node.__main__ import main

raise SystemExit(main())
"""
# What importing pyroute2.iproute takes, and little more. The library's own __init__ imports five times as much.
PYROUTE2 = {
    "common.py",
    "config",
    "iproute",
    "netlink",
    "netns",
    "process.py",
    "protocols",
    "requests",
    "statsd.py",
}


def zipapp() -> bytes:
    """The helper as one file, to be run by /usr/bin/python3 (3.11 or newer). Its sha256 is its version."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(_files()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return b"#!/usr/bin/python3\n" + whole.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", MAIN.encode()
    yield "workers/__init__.py", (HERE.parent / "__init__.py").read_bytes()
    for path in HERE.rglob("*.py"):
        if path.name not in LEFT_OUT:
            yield f"workers/node/{path.relative_to(HERE).as_posix()}", path.read_bytes()
    found = importlib.util.find_spec("pyroute2")
    if found is None or found.origin is None:
        raise RuntimeError("pyroute2 is not installed in the manager's environment: run `make venv`")
    pyroute2 = Path(found.origin).parent
    yield "pyroute2/__init__.py", b""
    for path in pyroute2.rglob("*.py"):
        parts = path.relative_to(pyroute2).parts
        is_other_family = parts[0] == "netlink" and len(parts) > 2 and parts[1] != "rtnl"
        if parts[0] in PYROUTE2 and not is_other_family:
            yield "/".join(("pyroute2", *parts)), path.read_bytes()
