# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A cluster's network on a machine host from both sides: a guest's, which sees no tag, and the trunk's, which does."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lab.plan import Lab
from tests.machines.machine import Machine


@contextlib.contextmanager
def guest(machine: Machine, key: str, address: str, number: int = 1) -> Iterator[str]:
    """Something with a plain interface on the cluster's bridge, as a guest has it; gives its namespace's name."""
    name, port = f"{key}-guest{number}", f"{key}-t{number}"
    script = f"""set -e
        ip netns add {name}
        ip link add {port} type veth peer name eth0 netns {name}
        ip link set {port} master {key}-br up
        ip -n {name} address add {address}/16 dev eth0
        ip -n {name} link set eth0 up"""
    machine.run("sh", "-c", script)
    try:
        yield name
    finally:
        machine.run("sh", "-c", f"ip link del {port}; ip netns del {name}")


@dataclass(frozen=True)
class Frame:
    """A frame on the trunk: VLAN ID (None without a tag), MAC addresses, and what tcpdump says of it."""

    vid: int | None
    source: str
    target: str
    words: str


@contextlib.contextmanager
def captured(lab: Lab, host: str) -> Iterator[list[Frame]]:
    """Fills the list, at the end, with the frames on the host's cable to the trunk."""
    frames: list[Frame] = []
    switch = ("nsenter", f"--net=/run/netns/{lab.switch}")
    argv = [*switch, "tcpdump", "-i", f"{host}-trunk", "-e", "-n", "-l", "-U"]
    # Into a file: a pipe that nobody reads would fill, and tcpdump then lose what comes.
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(argv, stdout=said, stderr=subprocess.PIPE, text=True) as tcpdump,
    ):
        assert tcpdump.stderr is not None
        while "listening on" not in tcpdump.stderr.readline():
            assert tcpdump.poll() is None
        yield frames
        time.sleep(1)
        tcpdump.terminate()
        tcpdump.wait(timeout=30)
        said.seek(0)
        # When it is stopped it adds an empty line to what it may not have finished.
        frames += [_frame(line) for line in said.read().splitlines() if line]


def _frame(line: str) -> Frame:
    ends = re.match(r"\S+ (\S+) > (\S+), ethertype ", line)
    assert ends, line
    tag = re.search(r"\bvlan (\d+),", line)
    return Frame(int(tag[1]) if tag else None, ends[1], ends[2], line)
