# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Disks on machine hosts: cloned in LVM's thin pool, exported by the kernel (LIO), logged in to by the guest's host.

Ours are batches of requests for the helpers of both hosts, sent as the passes send them. Measured are

- one disk of a golden volume of 1, 10 and 100 GiB, of which the same little is written, in turn;
- 20 disks at once, in turn with an operator's commands for one disk after the other, each host's by a single SSH call;
- what a fresh clone takes of the pool.

The hosts are machines in QEMU. Where it has to translate every instruction, a minute here is a second elsewhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import processes
from bench.measure import PAIRS, Cost, Result, compare, in_turn, publish
from lab import keys, lifecycle, machine_host, plan, rootfs, traces
from lab.run import LabError, run
from tests.machines.machine import Machine, connected, make_site

STORAGE, COMPUTE = "st1", "x1"
SIZES_GIB = (1, 10, 100)
MANY_GIB = 10
WRITTEN_MIB = 64
# So many disks are made on the storage host while the other one logs in to those before.
AT_A_TIME = 5
WITHIN_S = 1800.0
STEP_S = 300.0
POOL = {"pool_mib": 0, "full_percent": 90}
SECRETS = {"password": "not-a-real-secret", "mutual": "not-a-real-mutual"}
HAND = "by hand, a disk after the other, 3 SSH calls each"
CAVEATS = [
    "both hosts are machines in QEMU; CPU is all that these used, their kernels and sshd included",
    "golden volumes are made by LVM as the helper leaves them: to copy 100 GiB of holes into one is other work",
    "by hand: lvcreate, targetcli and iscsiadm, a script each, by OpenSSH with the key exchange that ours uses;"
    " what was done is not looked at afterwards, and what is there already is an error",
]

Wanted = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True)
class Hosts:
    """The storage host, the one that logs in, the address between them and the latter's name as initiator."""

    storage: Machine
    compute: Machine
    portal: str
    initiator: str

    def cpu(self) -> float:
        """Seconds of CPU that both machines have used."""
        lab = self.storage.lab
        first = [traces.first_process(lab, machine.name) for machine in (self.storage, self.compute)]
        return sum(processes.cpu(processes.of_namespace(pid)) for pid in first if pid)


@dataclass(frozen=True)
class Disk:
    """One disk: the clone of a golden volume of that size."""

    hosts: Hosts
    number: int
    gib: int

    @property
    def name(self) -> str:
        return f"lh7-n{self.number}-root"

    @property
    def target(self) -> str:
        return f"iqn.2026-11.org.leasehold:{self.name}"

    @property
    def device(self) -> str:
        """Where it is on the host that logs in."""
        return f"/dev/disk/by-path/ip-{self.hosts.portal}:3260-iscsi-{self.target}-lun-0"

    def clone(self, want: str = "present") -> Wanted:
        size = {"size_mib": self.gib * 1024, "image": image(self.gib)}
        return "lvm", want, {"volume": self.name, "wipe": "discard", **size, **POOL}

    def export(self, want: str = "present") -> Wanted:
        to = {"portal": self.hosts.portal, "initiator": self.hosts.initiator}
        return "lio", want, {"target": self.target, "volume": self.name, "user": self.name, **to, **SECRETS}

    def login(self, want: str = "present") -> Wanted:
        to = {"portal": self.hosts.portal, "lun": 0, "wait_s": 600}
        return "open_iscsi", want, {"target": self.target, "user": self.name, **to, **SECRETS}


def main() -> None:
    """Measure all three and publish."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument("--lab", default="machine", help="the lab of machine hosts (machine)")
    parser.add_argument("--keep", action="store_true", help="take its hosts as they are, and leave them on")
    parser.add_argument("--rounds", type=int, default=PAIRS, help=f"so many disks of each size ({PAIRS})")
    parser.add_argument("--pairs", type=int, default=3, help="so often many disks by us and by hand (3)")
    parser.add_argument("--disks", type=int, default=20, help="so many disks at once (20)")
    options = parser.parse_args()
    with _hosts(options.lab, options.keep) as hosts:
        versions = _versions(hosts)
        with _golden(hosts.storage):
            if options.rounds:
                results = [*_sizes(hosts, options.rounds), _usage(hosts)]
                publish("storage", results, versions=versions, caveats=CAVEATS[:2])
            if options.pairs:
                publish(
                    "storage", _many(hosts, options.disks, options.pairs), versions=versions, caveats=CAVEATS
                )


def image(gib: int) -> str:
    """The name of the golden image of that size."""
    return f"compute-{gib:012d}"


def _sizes(hosts: Hosts, rounds: int) -> list[Result]:
    """One disk of each size against one of the smallest."""

    def one(gib: int) -> Cost:
        disk = Disk(hosts, 0, gib)
        with _costs(hosts) as cost:
            _ask(hosts.storage, disk.clone(), disk.export())
            _ask(hosts.compute, disk.login())
        _check(disk)
        _remove(hosts, [disk])
        return cost[0]

    costs = in_turn({str(gib): partial(one, gib) for gib in SIZES_GIB}, rounds)
    least = str(SIZES_GIB[0])
    return [
        compare(
            f"a disk of {size} GiB: clone, export, login, {measure}",
            [getattr(cost, measure) for cost in mine],
            peer=None if size == least else [getattr(cost, measure) for cost in costs[least]],
            peer_name="" if size == least else f"one of {least} GiB",
        )
        for measure in ("wall", "cpu")
        for size, mine in costs.items()
    ]


def _usage(hosts: Hosts) -> Result:
    """How much of the pool the clone of a golden volume takes that is all its own."""
    disk, before = Disk(hosts, 0, MANY_GIB), _used(hosts.storage)
    _ask(hosts.storage, disk.clone())
    taken = _used(hosts.storage) - before
    _remove(hosts, [disk])
    share = 100.0 * taken / (MANY_GIB << 30)
    return compare(f"a fresh clone of {MANY_GIB} GiB in the pool", [share], unit="% of its size")


def _many(hosts: Hosts, count: int, pairs: int) -> list[Result]:
    """As many disks at once against one after the other by hand."""
    disks = [Disk(hosts, number, MANY_GIB) for number in range(count)]
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for _ in range(pairs):
        for way, costs in ((_at_once, ours), (_by_hand, theirs)):
            with _costs(hosts) as cost:
                way(hosts, disks)
            _check(disks[-1])
            _remove(hosts, disks)
            costs += cost
    return [
        compare(
            f"{count} disks of {MANY_GIB} GiB, {measure}",
            [getattr(cost, measure) for cost in ours],
            peer=[getattr(cost, measure) for cost in theirs],
            peer_name=HAND,
        )
        for measure in ("wall", "cpu")
    ]


def _at_once(hosts: Hosts, disks: Sequence[Disk]) -> None:
    """In batches, as the passes: one host logs in to the disks that are there while the other makes the next."""
    with ThreadPoolExecutor(1) as logins:
        started = []
        for begin in range(0, len(disks), AT_A_TIME):
            few = disks[begin : begin + AT_A_TIME]
            _ask(hosts.storage, *(disk.clone() for disk in few), *(disk.export() for disk in few))
            started.append(logins.submit(_ask, hosts.compute, *(disk.login() for disk in few)))
        for login in started:
            login.result()


def _by_hand(hosts: Hosts, disks: Sequence[Disk]) -> None:
    """An operator's way, which is right as long as nothing goes wrong and nobody else is at work."""
    for disk in disks:
        clone = ("--snapshot", "--setactivationskip", "n", "--permission", "rw", "--addtag", "leasehold:lh7")
        golden = f"leasehold/lh-{image(disk.gib)}"
        _call(hosts.storage, " ".join(["lvcreate", "--quiet", *clone, "--name", disk.name, golden]))
        way = f"/iscsi/{disk.target}/tpg1"
        access = f"{way}/acls/{hosts.initiator}"
        lines = [
            "set global auto_add_default_portal=false",
            f"/backstores/block create {disk.name} /dev/leasehold/{disk.name}",
            f"/iscsi create {disk.target}",
            f"{way}/luns create /backstores/block/{disk.name}",
            f"{way}/acls create {hosts.initiator}",
            f"{access} set auth userid={disk.name} password={SECRETS['password']}",
            f"{access} set auth mutual_userid={disk.name} mutual_password={SECRETS['mutual']}",
            f"{way} set attribute authentication=1",
            f"{way}/portals create {hosts.portal}",
            "saveconfig",
        ]
        _call(hosts.storage, "targetcli", lines)
        auth = {"authmethod": "CHAP", "username": disk.name, "password": SECRETS["password"]}
        auth |= {"username_in": disk.name, "password_in": SECRETS["mutual"]}
        node = f"iscsiadm --mode node --targetname {disk.target} --portal {hosts.portal}"
        lines = [f"{node} --op update --name node.session.auth.{name} --value {auth[name]}" for name in auth]
        wait = f"until [ -e {disk.device} ]; do sleep 0.1; done"
        _call(hosts.compute, "sh -es", [f"{node} --op new", *lines, f"{node} --login", wait])


def _call(machine: Machine, command: str, lines: Sequence[str] = ()) -> None:
    """One SSH call, with the lines as the command's standard input."""
    argv = [*keys.ssh(machine.lab, machine.lab.host(machine.name)), command]
    text = "".join(f"{line}\n" for line in lines)
    run(argv, text=text, timeout_s=STEP_S, called=f"{machine.name}: {command}")


def _ask(machine: Machine, *wanted: Wanted) -> None:
    """Ask until all of it is so; again after what may go away, as the passes do."""
    until, left = time.monotonic() + WITHIN_S, list(wanted)
    while left:
        replies = machine.ask(*left)
        wrong = [reply.error for reply in replies if reply.error]
        if time.monotonic() > until or not all(error.retryable for error in wrong):
            raise LabError(f"{machine.name}: {wrong}")
        left = [one for one, reply in zip(left, replies, strict=True) if reply.state != one[1]]


def _remove(hosts: Hosts, disks: Sequence[Disk]) -> None:
    _ask(hosts.compute, *(disk.login("absent") for disk in disks))
    _ask(hosts.storage, *(disk.export("absent") for disk in disks))
    _ask(hosts.storage, *(disk.clone("absent") for disk in disks))


def _check(disk: Disk) -> None:
    """What the host reads there is what stands in the golden volume."""
    first = "dd bs=1M count=1 status=none if={} | sha256sum"
    here = disk.hosts.compute.run("sh", "-c", first.format(disk.device))
    there = disk.hosts.storage.run("sh", "-c", first.format(f"/dev/leasehold/{disk.name}"))
    if here != there or disk.hosts.storage.run("cat", f"/run/{image(disk.gib)}") != there:
        raise LabError(f"{disk.device} has not what stands in its golden volume")


@contextmanager
def _costs(hosts: Hosts) -> Iterator[list[Cost]]:
    """Filled, at the end, with what it cost."""
    costs: list[Cost] = []
    cpu, wall = hosts.cpu(), time.perf_counter()
    yield costs
    costs.append(Cost(time.perf_counter() - wall, hosts.cpu() - cpu))


def _used(storage: Machine) -> int:
    """Bytes of the pool that belong to some volume."""
    told = storage.run("dmsetup", "status", "leasehold-pool-tpool").split()
    if told[2] != "thin-pool":
        raise LabError(f"dmsetup tells something else of the thin pool: {told}")
    chunk = storage.run(
        "lvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "chunk_size", "leasehold/pool"
    )
    return int(told[5].partition("/")[0]) * int(chunk)


@contextmanager
def _golden(storage: Machine) -> Iterator[None]:
    """A golden volume of each size, gone at the end; the digest of its first MiB in /run."""
    none = [("golden", "absent", {"image": image(gib), **POOL}) for gib in SIZES_GIB]
    _ask(storage, *none)  # of a bench that was killed
    try:
        for gib in SIZES_GIB:
            name = f"lh-{image(gib)}"
            script = f"""
                lvcreate -qy --thin --virtualsize {gib}g --name {name} --addtag leasehold:lh leasehold/pool
                dd if=/dev/urandom of=/dev/leasehold/{name} bs=1M count={WRITTEN_MIB} conv=fsync status=none
                dd if=/dev/leasehold/{name} bs=1M count=1 status=none | sha256sum > /run/{image(gib)}
                lvchange -q --activate n leasehold/{name}
                lvchange -q --permission r leasehold/{name}"""
            storage.run("sh", "-ec", script)
        yield
    finally:
        _ask(storage, *none)


@contextmanager
def _hosts(name: str, keep: bool) -> Iterator[Hosts]:
    """Both hosts, added to a site of their own."""
    lab = plan.lab(name)
    with ExitStack() as stack:
        if not keep:
            stack.callback(lifecycle.down, name)
        lifecycle.up(name, fresh=not keep, only=(STORAGE, COMPUTE))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-bench-"))
        site = make_site(Path(folder), lab, (STORAGE, COMPUTE))
        storage, compute = (stack.enter_context(connected(lab, one, site)) for one in (STORAGE, COMPUTE))
        yield Hosts(storage, compute, lab.address(lab.host(STORAGE)), _facts(compute)["initiator"])


def _facts(machine: Machine) -> dict[str, Any]:
    (reply,) = machine.ask(("facts", "present", {}))
    return dict(reply.seen)


def _versions(hosts: Hosts) -> dict[str, str]:
    facts = _facts(hosts.storage)
    tools = {name: facts["tools"][name] for name in ("lvs", "targetctl", "iscsiadm")}
    return {
        "kernel": facts["kernel"],
        "qemu": "kvm" if machine_host.kvm_works(rootfs.ensure()) else "tcg",
        **tools,
    }


if __name__ == "__main__":
    main()
