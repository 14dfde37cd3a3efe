# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host is: size, addresses, tools, and how its guests can run. Asked when a host is added or checked."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import shutil
from collections.abc import Sequence
from typing import Any

from workers.node import health, thin, xen_xml
from workers.node.protocol import Refused, Remit
from workers.node.run import Door, run_program, write_file
from workers.node.steps import Output

MAX_LISTED = 64  # addresses and links told of: a host with hundreds of taps must not flood the answer
QEMU = "qemu-system-x86_64"
PROBE_S = 15
# A boot sector that writes 0x10 to QEMU's isa-debug-exit device: QEMU then ends with (0x10 << 1) | 1.
#   mov dx, 0xf4; mov al, 0x10; out dx, al; hlt
_CODE = bytes.fromhex("baf400 b010 ee f4")
BOOT_SECTOR = _CODE + bytes(510 - len(_CODE)) + b"\x55\xaa"
BOOTED = 33
TOOLS: dict[str, Sequence[str]] = {
    "virsh": ("virsh", "--version"),
    "tgtadm": ("tgtadm", "--version"),
    "xorriso": ("xorriso", "--version"),
    "fai-diskimage": ("dpkg-query", "-W", "-f", "${Version}", "fai-server"),  # it has no option that tells
    "lvs": ("lvs", "--version"),
    "targetctl": ("dpkg-query", "-W", "-f", "${Version}", "python3-rtslib-fb"),
    "iscsiadm": ("iscsiadm", "--version"),
    "nft": ("nft", "--version"),
    "qemu-img": ("qemu-img", "--version"),
    QEMU: (QEMU, "--version"),
}

# What drivers need of the kernel, as a module or built in.
MODULES = (
    *("8021q", "nf_tables", "dm_mod", "dm_thin_pool", "iscsi_tcp"),
    *("target_core_mod", "target_core_iblock", "iscsi_target_mod"),
)
INITIATOR = "/etc/iscsi/initiatorname.iscsi"
HYPERVISOR = "/sys/hypervisor/type"


def facts(remit: Remit, door: Door) -> dict[str, Any]:
    """The host's facts; a tool that is not there is None. `probes` tells how what took a process was found."""
    probes: list[dict[str, Any]] = []
    tools = {name: _version(name, argv, probes) for name, argv in TOOLS.items()}
    there = os.statvfs(remit.dir)
    xen = _xen(remit.dir, probes)
    links = [link for link in door.links.all() if not link.name.startswith(remit.mark) and link.name != "lo"]
    return {
        # Under Xen this system has but a part of the host, and guests have the rest.
        "vcpus": xen["vcpus"] if xen else os.cpu_count(),
        "memory_mib": xen["memory_mib"] if xen else _memory_mib(),
        "disk_free_mib": there.f_bavail * there.f_frsize >> 20,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "addresses": _addresses(remit, door)[:MAX_LISTED],
        "links": [{"name": link.name, "mtu": link.mtu, "up": link.up} for link in links[:MAX_LISTED]],
        "tools": tools,
        "modules": {module: _has_module(module) for module in MODULES},
        "initiator": _initiator(),
        "pool": _pool(remit, door) if tools["lvs"] and "lvm" in remit.ops else None,
        "health": _health(remit, door, bool(tools["lvs"])),
        "group": _group(remit, door) if tools["lvs"] and "lvm" in remit.ops else None,
        "xen": xen,
        "virt_type": _virt_type(remit.dir, tools[QEMU], probes),
        "boot_id": boot_id(),
        "probes": probes,
    }


def boot_id() -> str:
    """What the kernel chose at random when it booted."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _addresses(remit: Remit, door: Door) -> list[str]:
    """The host's own; not those on links of clusters."""
    return sorted(address for link, address in door.links.addresses() if not link.startswith(remit.mark))


def _has_module(name: str) -> bool:
    """Whether the kernel has it loaded, built in, or in its tree."""
    if os.path.isdir(f"/sys/module/{name}"):
        return True
    for listed in ("modules.dep", "modules.builtin"):
        try:
            with open(f"/lib/modules/{platform.release()}/{listed}") as file:
                known = re.findall(r"([^/\s]+)\.ko\b", file.read())
        except OSError:
            continue
        if name in {module.replace("-", "_") for module in known}:
            return True
    return False


def _initiator() -> str | None:
    """The name with which this host logs in to targets."""
    try:
        with open(INITIATOR) as file:
            found = re.search(r"^InitiatorName=(\S+)", file.read(), flags=re.MULTILINE)
    except OSError:
        return None
    return found.group(1) if found else None


def _pool(remit: Remit, door: Door) -> dict[str, Any]:
    """The thin pool and what is used of it, or {"error"} where it cannot be used."""
    try:
        place = thin.place(remit, 0, 100)
        pool = thin.parse(place, door.ask(thin.query(place))).pool
    except Refused as refused:
        return {"error": refused.error.message}
    if pool is None:
        return {"error": f"there is no thin pool {place.group}/{place.pool}", "free_mib": 0}
    free = int(pool.size * (100 - pool.data_percent) / 100) >> 20
    used = {"data_percent": pool.data_percent, "metadata_percent": pool.metadata_percent}
    return {"size_mib": pool.size >> 20, "free_mib": free, **used}


def _health(remit: Remit, door: Door, has_lvm: bool) -> list[str]:
    """What is wrong with the host's disks, in sentences."""
    try:
        with open(health.MDSTAT) as file:
            words = health.arrays(file.read())
    except OSError:  # a kernel that never had an array
        words = []
    if has_lvm and remit.volume_group and remit.thin_pool:
        place = thin.place(remit, 0, 100)
        words += health.volumes(place, door.ask(health.query(place)))
    return words


def _group(remit: Remit, door: Door) -> dict[str, Any]:
    """The volume group and what is free of it, or {"error"} where it cannot be used.

    Where nothing is free, also `lent_mib`: what our thick volumes have of it.
    """
    try:
        place = thin.place(remit, 0, 100)
        group = thin.parse_group(place, door.ask(thin.query_group(place)))
        found = {"size_mib": group.size >> 20, "free_mib": group.free >> 20}
        if not group.free:
            volumes = thin.parse_volumes(place, door.ask(thin.query_all(place)))
            found["lent_mib"] = thin.lent(place, volumes) >> 20
    except Refused as refused:
        return {"error": refused.error.message}
    return found


def _xen(dir: str, probes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What guests of Xen can have here, and what is there to run them; None where this is not Xen's dom0."""
    try:
        with open(HYPERVISOR) as file:
            if file.read().strip() != "xen":
                return None
    except OSError:
        return None
    info, listed = (_try("xen", ("xl", what), probes) for what in ("info", "list"))
    told = dict(re.findall(r"^(\w+)\s*: (.*)$", info.stdout, flags=re.MULTILINE))
    guests = re.findall(r"^\S+\s+[1-9]\d*\s+(\d+)\s", listed.stdout, flags=re.MULTILINE)
    if "nr_cpus" not in told or "free_memory" not in told:
        return None  # a guest of Xen is told its name too
    return {
        "version": told.get("xen_version"),
        "vcpus": int(told["nr_cpus"]),
        "memory_mib": int(told["free_memory"]) + sum(map(int, guests)),
        "dom0_is_fixed": "dom0_mem=" in told.get("xen_commandline", ""),
        "libvirt": _try("xen", ("virsh", "-c", "xen:///system", "version"), probes).rc == 0,
        "grub": os.path.isfile(xen_xml.GRUB),
        "console": f"--log-dir={dir}/domains" in _argv_of("xenconsoled"),
    }


def _argv_of(program: str) -> list[str]:
    """The arguments of the first process of that name; none without one."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path) as file:
                argv = file.read().split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if os.path.basename(argv[0]) == program:
            return argv
    return []


def _version(name: str, argv: Sequence[str], probes: list[dict[str, Any]]) -> str | None:
    if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin") is None:
        return None
    output = _try(name, argv, probes)
    found = re.search(r"\d+(?:\.\d+)+\S*", output.stdout) if output.rc == 0 else None
    return found.group().rstrip(",:") if found else None


def _virt_type(dir: str, qemu: str | None, probes: list[dict[str, Any]]) -> str | None:
    """ "kvm" or "qemu", whichever really boots something: /dev/kvm may open and answer and still hang a guest.

    Kept until the host boots anew or gets another QEMU; None when neither works.
    """
    cache, key = os.path.join(dir, "virt.json"), [boot_id(), qemu]
    try:
        with open(cache) as file:
            kept = json.load(file)
        if kept["key"] == key:
            return str(kept["virt_type"])
    except (OSError, ValueError, LookupError, TypeError):
        pass
    if qemu is None:
        return None
    for kind, accel, cpu in (("kvm", "kvm", "host"), ("qemu", "tcg", "max")):
        if kind == "kvm" and not os.path.exists("/dev/kvm"):
            continue
        if _boots(dir, accel, cpu, probes):
            write_file(cache, json.dumps({"key": key, "virt_type": kind}))
            return kind
    return None


def _boots(dir: str, accel: str, cpu: str, probes: list[dict[str, Any]]) -> bool:
    image = os.path.join(dir, f".probe-{os.getpid()}.img")
    with open(image, "wb") as file:
        file.write(BOOT_SECTOR)
    machine = f"-accel {accel} -cpu {cpu} -m 64 -nodefaults -no-user-config -display none".split()
    way_out = ("-device", "isa-debug-exit,iobase=0xf4,iosize=1")
    argv = (QEMU, *machine, *way_out, "-drive", f"file={image},format=raw,if=floppy")
    try:
        return _try("virt_type", argv, probes, PROBE_S).rc == BOOTED
    finally:
        os.unlink(image)


def _try(name: str, argv: Sequence[str], probes: list[dict[str, Any]], timeout_s: float = 10) -> Output:
    try:
        output = run_program(tuple(argv), None, timeout_s)
    except Refused as refused:
        output = Output(-1, "", refused.error.message)
    probes.append({"name": name, "argv": list(argv), "exit": output.rc, "stderr": output.stderr[-300:]})
    return output


def _memory_mib() -> int:
    with open("/proc/meminfo") as file:
        found = re.search(r"^MemTotal:\s+(\d+) kB", file.read(), flags=re.MULTILINE)
    return int(found.group(1)) >> 10 if found else 0
