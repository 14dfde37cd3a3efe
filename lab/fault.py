# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a host, done to a lab's host on purpose: hung, off, cut off, full, another key."""

import signal
import time
from typing import Literal

from lab import host as hosts
from lab import keys, lifecycle, network, plan, traces
from lab.plan import HOST_DIR, Host, Lab
from lab.run import LabError

VOLUMES = str(HOST_DIR / "volumes")


def stop_host(name: str, host: str, how: Literal["freeze", "off"] = "freeze") -> None:
    """Stop a host. "freeze": every process of it, guests included, is stopped; its kernel still accepts
    connections, and nobody answers. "off": as if its power were cut, see lab.host.halt."""
    lab, it = _at(name, host)
    if how == "off":
        hosts.halt(lab, it)
        return
    for _ in range(100):
        moving = [process for process in traces.of_host(lab, host) if not _is_frozen(process.pid)]
        if not moving:
            return
        for process in moving:
            traces.send(process.pid, signal.SIGSTOP)
        time.sleep(0.01)
    raise LabError(f"{name} {host}: does not freeze: {moving}")


def start_host(name: str, host: str, within_s: float | None = None) -> None:
    """Undo stop_host: thaw what is frozen, start what is off (with its disk, a new boot id, and none of the
    links, targets and running guests it had), and wait until its daemons answer."""
    lab, it = _at(name, host)
    for process in traces.of_host(lab, host):
        traces.send(process.pid, signal.SIGCONT)
    lifecycle.start(lab, it)
    lifecycle.wait(lab, (it,), within_s)


def reboot(name: str, host: str) -> None:
    """Take a host's power and give it back."""
    stop_host(name, host, "off")
    start_host(name, host)


def cut(name: str, host: str) -> None:
    """Pull the host's underlay cable out of the switch."""
    lab, it = _at(name, host)
    network.set_port(lab, it, "down")


def join(name: str, host: str) -> None:
    """Plug the host's underlay cable in again."""
    lab, it = _at(name, host)
    network.set_port(lab, it, "up")


def change_host_key(name: str, host: str) -> str:
    """Give a namespace host's sshd another key and return its public line; lab.json and known_hosts follow.

    Doing it a second time puts the first key back.
    """
    lab, it = _at(name, host)
    if it.kind != "namespace":
        raise LabError(f"{name} {host}: is a machine host, which has its key on its own disk")
    folder = lab.folder(it) / "etc-ssh"
    now, other = folder / "ssh_host_ed25519_key", folder / "other_ed25519_key"
    keys.make_key(other, host)
    for suffix in ("", ".pub"):
        one, two, between = (folder / f"{path.name}{suffix}" for path in (now, other, folder / "between"))
        one.replace(between)
        two.replace(one)
        between.replace(two)
    # A hang-up makes sshd start itself anew, which reads the key again; sessions go on.
    hosts.on(lab, it, ["sh", "-c", "kill -HUP $(cat /run/sshd.pid)"])
    lifecycle.describe(lab)
    lifecycle.wait(lab, (it,))
    return keys.host_key(lab, it)


def replace(name: str, host: str) -> str:
    """Put another machine in the place of a namespace host, with an empty disk and a key of its own; returns the key's
    public line, lab.json and known_hosts follow.

    Doing it a second time puts the first machine back, with what was on its disk.
    """
    lab, it = _at(name, host)
    if it.kind != "namespace":
        raise LabError(f"{name} {host}: is a machine host, whose disk is its own")
    hosts.halt(lab, it)
    # Beside the folder of all hosts, which is looked through for what hosts have.
    now, aside, between = lab.folder(it), lab.state / "aside" / host, lab.state / "aside" / f"{host}.new"
    aside.parent.mkdir(exist_ok=True)
    now.rename(between)
    if aside.exists():
        aside.rename(now)
    between.rename(aside)
    hosts.write_files(lab, it, network.nameservers())
    lifecycle.describe(lab)
    start_host(name, host)
    return keys.host_key(lab, it)


def fill(name: str, host: str, free_mib: int) -> None:
    """Leave only `free_mib` MiB of room for new volumes on the host; the volumes there are out of sight until
    unfill, though targets that are open keep theirs."""
    lab, it = _at(name, host)
    hosts.on(lab, it, ["mkdir", "-p", VOLUMES])
    options = f"size={free_mib}m,mode=700"
    hosts.on(lab, it, ["mount", "-t", "tmpfs", "-o", options, lab.netns(it), VOLUMES])


def unfill(name: str, host: str) -> None:
    """Give the host its room back; what was made meanwhile is gone."""
    lab, it = _at(name, host)
    hosts.on(lab, it, ["umount", "--lazy", VOLUMES])


def _at(name: str, host: str) -> tuple[Lab, Host]:
    lab = plan.lab(name)
    return lab, lab.host(host)


def _is_frozen(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "TZX"
    except FileNotFoundError:
        return True
