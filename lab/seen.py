# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What is on the lab's hosts right now, so that before and after a reservation can be compared by ==."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import host as hosts
from lab import plan, traces
from lab.plan import HOST_DIR, Host, Lab
from lab.traces import Process

# The golden images are not among them: all labs share those, and another one may be building.
FOLDERS = ("volumes", "iso", "domains", "jobs")
# The host's own processes; all others are someone's work.
PART_OF_THE_HOST = {"sshd", "sshd-session", "sshd-auth", "libvirtd", "tgtd", "nsenter", "unshare"}


def snapshot(name: str) -> dict[str, Any]:
    """What is on the hosts of the lab: host -> links, forwarding entries, addresses, files, targets and their accounts,
    domains and what of them is saved to disk, secrets, processes, mounts, nft tables; and under "loops" the lab's loop
    devices.

    Sorted, without ids, counters and learned addresses, so that two snapshots of the same things are equal.
    LabError when a host is off or a daemon of it does not answer.
    """
    lab = plan.lab(name)
    with ThreadPoolExecutor(len(lab.hosts)) as pool:
        found = pool.map(lambda host: _host(lab, host), lab.hosts)
        seen: dict[str, Any] = {host.name: what for host, what in zip(lab.hosts, found, strict=True)}
    seen["loops"] = sorted(traces.loops(lab).values())
    return seen


def targets(shown: str) -> list[dict[str, Any]]:
    """Read what ``tgtadm --op show --mode target`` prints: iqn, volumes, accounts and ACL of each target."""
    found: list[dict[str, Any]] = []
    section = ""
    for line in shown.splitlines():
        if match := re.match(r"Target \d+: (\S+)", line):
            found.append({"iqn": match[1], "volumes": [], "accounts": [], "acl": []})
        elif re.match(r"    \S.*:$", line):
            section = line.strip()
        elif match := re.match(r"            Backing store path: (/.*)", line):
            found[-1]["volumes"].append(match[1])
        elif section in ("Account information:", "ACL information:") and line.strip():
            found[-1]["accounts" if section.startswith("Account") else "acl"].append(line.strip())
    return sorted(found, key=lambda target: str(target["iqn"]))


def _host(lab: Lab, host: Host) -> dict[str, Any]:
    def ask(*argv: str) -> str:
        return hosts.on(lab, host, list(argv), timeout_s=60).stdout

    seen: dict[str, Any] = {
        "links": _links(json.loads(ask("ip", "-json", "-details", "link"))),
        "fdb": _forwarding(json.loads(ask("bridge", "-json", "fdb", "show") or "[]")),
        "addresses": _addresses(json.loads(ask("ip", "-json", "address", "show", "scope", "global"))),
        "nft": sorted(ask("nft", "list", "tables").splitlines()),
        "files": {folder: _files(ask, f"{HOST_DIR}/{folder}") for folder in FOLDERS},
        "mounts": _mounts(ask("cat", "/proc/self/mounts")),
    }
    if host.kind == "namespace":
        processes = traces.of_host(lab, host.name)
        seen["processes"] = sorted(_title(process) for process in processes if _is_work(process))
    if {"libvirtd", "xen"} & set(host.daemons):
        running = set(ask("virsh", "-q", "list", "--name").split())
        seen["domains"] = {
            domain: "running" if domain in running else "off"
            for domain in sorted(ask("virsh", "-q", "list", "--all", "--name").split())
        }
    if "libvirtd" in host.daemons:
        seen["saved"] = sorted(_files(ask, "/var/lib/libvirt/qemu/save"))
        seen["secrets"] = sorted(
            " ".join(line.split()) for line in ask("virsh", "-q", "secret-list").splitlines()
        )
    if "tgtd" in host.daemons:
        show = ("tgtadm", "--lld", "iscsi", "--op", "show", "--mode")
        seen["targets"] = targets(ask(*show, "target"))
        seen["accounts"] = sorted(
            line.strip() for line in ask(*show, "account").splitlines()[1:] if line.strip()
        )
    return seen


def _links(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    links = []
    for link in listed:
        info = link.get("linkinfo", {})
        wanted = {
            "name": link["ifname"],
            "kind": info.get("info_kind", ""),
            "bridge": link.get("master", ""),
            "mtu": link["mtu"],
            "alias": link.get("ifalias", ""),
            "is_up": "UP" in link["flags"],
        }
        if wanted["kind"] in ("vxlan", "vlan"):
            wanted["id"] = info["info_data"]["id"]
        links.append(wanted)
    return sorted(links, key=lambda link: str(link["name"]))


def _forwarding(listed: list[dict[str, Any]]) -> list[str]:
    """The entries someone wrote: those that lead over a tunnel. Learned ones come and go."""
    return sorted(
        f"{entry['ifname']} {entry['mac']} to {entry['dst']}"
        for entry in listed
        if "dst" in entry and "permanent" in (entry.get("state"), *entry.get("flags", ()))
    )


def _addresses(listed: list[dict[str, Any]]) -> list[str]:
    return sorted(
        f"{link['ifname']} {address['local']}/{address['prefixlen']}"
        for link in listed
        for address in link.get("addr_info", ())
        if "local" in address
    )


def _files(ask: Callable[..., str], folder: str) -> dict[str, int]:
    """Relative path -> size in bytes of every file below the folder."""
    script = 'cd "$1" 2> /dev/null && find . ! -type d -printf "%s %P\\n" || :'
    lines = (line.partition(" ") for line in ask("sh", "-c", script, "sh", folder).splitlines())
    return dict(sorted((path, int(size)) for size, _, path in lines))


def _mounts(text: str) -> list[str]:
    fields = (line.split(" ")[:3] for line in text.splitlines())
    return sorted(f"{target} {kind} {source}" for source, target, kind in fields)


def _is_work(process: Process) -> bool:
    if process.is_first or not process.argv or _is_serving(process):
        return False
    return Path(process.argv[0].split(" ")[0]).name.rstrip(":") not in PART_OF_THE_HOST


def _is_serving(process: Process) -> bool:
    """The helper that answers a pass, and goes with it."""
    script = next((word for word in process.argv[1:] if not word.startswith("-")), "")
    return Path(script).name == "helper.pyz" and "serve" in process.argv


def _title(process: Process) -> str:
    """The program, and for a guest or a script its name; a whole command line might tell secrets."""
    program = Path(process.argv[0]).name
    for before, word in zip(process.argv, process.argv[1:], strict=False):
        if before == "-name" and word.startswith("guest="):
            return f"{program} {word.split(',')[0]}"
        if program.startswith("python") and not word.startswith("-"):
            return f"{program} {Path(word).name}"
    return program
