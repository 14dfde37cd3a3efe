# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The lab's one door to processes on this machine: argv lists, always with a time-out."""

import subprocess


class LabError(Exception):
    """The lab cannot do what was asked; the message names what, where, and what to do next."""


def run(
    argv: list[str],
    *,
    timeout_s: float = 20,
    text: str | None = None,
    check: bool = True,
    called: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `argv` with `text` on its standard input and return what it printed.

    Raises LabError when the program is missing or takes longer than `timeout_s` seconds, and, unless
    `check` is false, when it fails. Output that is no UTF-8 comes with replacement characters.
    Messages say `called` instead of the whole argv.
    """
    called = called or " ".join(argv)
    try:
        done = subprocess.run(
            argv, input=text or "", capture_output=True, encoding="utf-8", errors="replace", timeout=timeout_s
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: not installed; run: make setup") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{called}: no end after {timeout_s:g} s") from None
    if check and done.returncode:
        raise LabError(f"{called}: exit status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done
