# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""One host of the lab, whatever its kind: its start and its end, commands on it, and whether it answers.

A kind is a module with the same functions; namespace.py is the one to read first.
"""

import subprocess

from lab import machine_host, namespace, traces
from lab.keys import ssh
from lab.plan import Host, Lab
from lab.run import LabError, run

KINDS = {"namespace": namespace, "machine": machine_host}
# A login takes seconds where every instruction of a machine is translated.
PATIENCE_S = {"namespace": 10, "machine": 60}


def mount_points() -> dict[str, bool]:
    """Where hosts mount something of their own on this machine: path -> whether it is a file."""
    return namespace.mount_points()


def write_files(lab: Lab, host: Host, nameservers: list[str]) -> None:
    """Write what the host needs to start; what it has already (keys, volumes) stays."""
    KINDS[host.kind].write_files(lab, host, nameservers)


def boot(lab: Lab, host: Host) -> None:
    """Start a host that is off. Returns before its daemons answer. LabError with the reason otherwise."""
    try:
        KINDS[host.kind].boot(lab, host)
    except LabError:
        halt(lab, host)
        raise


def halt(lab: Lab, host: Host) -> None:
    """Take the power from a host: all its processes die, its links and its /run are gone, its disk stays."""
    KINDS[host.kind].halt(lab, host)


def is_running(lab: Lab, host: Host) -> bool:
    """Whether it is on and has all that it was started with."""
    return KINDS[host.kind].is_running(lab, host)


def enter(lab: Lab, host: Host, argv: list[str]) -> list[str]:
    """The argv that runs `argv` on the host as root; LabError if the host is off."""
    if traces.first_process(lab, host.name) is None:
        raise LabError(f"{lab.name} {host.name}: is off; run: python -m lab up --name {lab.name}")
    return KINDS[host.kind].inside(lab, host, argv)


def on(
    lab: Lab,
    host: Host,
    argv: list[str],
    *,
    timeout_s: float = 20,
    text: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command on the host, as lab.run.run does on the machine."""
    called = f"{lab.name} {host.name}: {' '.join(argv)}"
    return run(enter(lab, host, argv), timeout_s=timeout_s, text=text, check=check, called=called)


def console_tail(lab: Lab, host: Host) -> str:
    """The end of what a machine host said while it booted; nothing for other hosts."""
    return machine_host.console_tail(lab, host) if host.kind == "machine" else ""


def answers(lab: Lab, host: Host) -> dict[str, str]:
    """Ask each daemon of the host: daemon -> "" when it answers, else what is wrong."""
    login, patience_s = ssh(lab, host), PATIENCE_S[host.kind]
    asks = {
        "sshd": lambda: run([*login, "true"], timeout_s=patience_s, called=f"ssh {login[-1]}"),
        "libvirtd": lambda: on(lab, host, ["virsh", "-q", "hostname"], timeout_s=patience_s),
        "tgtd": lambda: on(
            lab, host, ["tgtadm", "--lld", "iscsi", "--op", "show", "--mode", "sys"], timeout_s=patience_s
        ),
        "xen": lambda: on(lab, host, ["virsh", "-q", "list"], timeout_s=patience_s),
    }
    wrong = {}
    for daemon in host.daemons:
        try:
            asks[daemon]()
            wrong[daemon] = ""
        except LabError as error:
            wrong[daemon] = str(error)
    return wrong
