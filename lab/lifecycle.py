# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A lab from nothing to answering hosts and back to nothing; each step may be repeated after any crash."""

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import host as hosts
from lab import keys, machine, network, plan, rootfs, traces
from lab.plan import Host, Lab
from lab.run import LabError, run

# Until a host's daemons answer: a machine boots Debian, and if need be without help from the processor.
BOOT_S = {"namespace": 60, "machine": 900}


def up(
    name: str, *, fresh: bool = False, only: Sequence[str] = (), within_s: float | None = None
) -> dict[str, Any]:
    """Bring the lab up and return the content of its lab.json once every daemon answers.

    What runs stays as it is, what is off is started with the disk it had; `fresh` takes all down first, `only`
    names the hosts to start where that are not all. LabError names the host and daemon that do not answer within
    `within_s` seconds (else BOOT_S), with the end of a machine's console.
    """
    lab = plan.lab(name)
    these = tuple(lab.host(host) for host in only) or lab.hosts
    if any(host.kind == "machine" for host in these):
        rootfs.ensure()  # takes minutes the first time, in which others may have the lock
    with machine.lock():
        if fresh:
            _remove(lab)
        nameservers = network.nameservers()
        machine.prepare(hosts.mount_points())
        lab.state.mkdir(mode=0o700, exist_ok=True)
        keys.make_key(lab.operator_key, f"operator@{lab.mark}")
        for host in lab.hosts:
            hosts.write_files(lab, host, nameservers)
        described = describe(lab)
        if not network.has_switch(lab):
            traces.kill(lab)
            network.remove_all(lab)
            network.make_switch(lab)
        network.translate(lab)
        with ThreadPoolExecutor(len(these)) as pool:
            list(pool.map(lambda host: start(lab, host), these))
    wait(lab, these, within_s)
    return described


def down(name: str) -> None:
    """Remove the lab and all that was started on its hosts; a lab that is not there is fine. The image cache
    stays. LabError when something of the lab does not go."""
    lab = plan.lab(name)
    with machine.lock():
        _remove(lab)


def status(name: str) -> dict[str, dict[str, str]]:
    """Ask each daemon of each host now: host -> daemon -> "" when it answers, else what is wrong."""
    lab = plan.lab(name)
    with ThreadPoolExecutor(len(lab.hosts)) as pool:
        answers = pool.map(lambda host: hosts.answers(lab, host), lab.hosts)
        return {host.name: answer for host, answer in zip(lab.hosts, answers, strict=True)}


def wait(lab: Lab, these: tuple[Host, ...], within_s: float | None = None) -> None:
    """Wait until all daemons of these hosts answer; LabError names those that do not."""
    began = time.monotonic()
    if within_s is None:
        within_s = max(BOOT_S[host.kind] for host in these)
    with ThreadPoolExecutor(len(these)) as pool:
        while True:
            answers = list(pool.map(lambda host: hosts.answers(lab, host), these))
            wrong = [
                f"{host.name} {daemon}: {why}"
                for host, answer in zip(these, answers, strict=True)
                for daemon, why in answer.items()
                if why
            ]
            if not wrong:
                return
            waited = time.monotonic() - began
            dead = [host for host in these if host.kind == "machine" and not hosts.is_running(lab, host)]
            if waited > within_s or dead:
                said = "".join(
                    f"\n--- {host.name}\n{hosts.console_tail(lab, host)}" for host in dead or these
                )
                raise LabError(
                    f"lab {lab.name}: no answer after {waited:.0f} s from {'; '.join(wrong)}{said}"
                )
            time.sleep(min(0.1 + waited / 50, 2))


def describe(lab: Lab) -> dict[str, Any]:
    """Write lab.json and known_hosts from the keys that the hosts have now; returns lab.json's content."""
    shown = {host.name: keys.host_key(lab, host) for host in lab.hosts}
    described = plan.description(lab, shown, network.nameservers())
    _write(lab.known_hosts, "".join(f"{lab.address(host)} {shown[host.name]}\n" for host in lab.hosts))
    _write(lab.state / "lab.json", json.dumps(described, indent=2) + "\n")
    return described


def start(lab: Lab, host: Host) -> None:
    """Start the host unless it runs with all it was started with; one that lost a daemon is started anew."""
    if not hosts.is_running(lab, host):
        hosts.halt(lab, host)
        hosts.boot(lab, host)


def _remove(lab: Lab) -> None:
    devices = traces.loops(lab)  # while the hosts live, more can be told of them
    traces.kill(lab)
    traces.detach({**devices, **traces.loops(lab)})
    network.remove_all(lab)
    _unmount_below(lab.state)
    if lab.state.exists():
        shutil.rmtree(lab.state)
    machine.restore()


def _unmount_below(folder: Path) -> None:
    """Nothing may be mounted where everything is about to be deleted."""
    for attempt in (1, 2):
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split(" ")[4] for line in lines]
        below = [point for point in points if point.startswith(f"{folder}/")]
        if below and attempt == 2:
            raise LabError(f"{below[0]}: is still mounted; unmount it by hand, then repeat")
        for point in reversed(below):
            run(["umount", "--lazy", point], check=False)


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)
