# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A paravirtual machine under Xen by libvirt: defined, running, and its guest has reported that it is ready.

Its disks are devices that the host has logged in to. It has neither a virtual serial port nor a CD drive. What it
reports it writes to its console, which xenconsoled keeps in a file; the report that counts is kept in a file of our
own, for the console may be written full. A domain is ours when it carries our metadata, which also tells what it was
defined from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from workers.node import domain_xml, names, reports, virsh, xen_xml
from workers.node.domain_xml import Definition
from workers.node.protocol import Refused, Remit
from workers.node.steps import (
    Ask,
    Command,
    Exec,
    FileSeen,
    MakeDir,
    Output,
    ReadTail,
    Remove,
    SetSize,
    Show,
    Stat,
    WriteFile,
)

MAX_CONSOLE = 16 << 20  # a guest may write to its console for ever; past this the log starts anew
URI = "xen:///system"
# The programs on the host that plug in disks and interfaces are given 40 seconds each by Xen itself.
START_S = 300


@dataclass(frozen=True)
class Args:
    """`ready_event` is what the guest reports once it is of use, or None to wait for nothing.

    With an `edition` it must be this edition of the site roll that it has followed.
    """

    dir: str
    domain: str
    uuid: str
    definition: Definition
    ready_event: str | None
    edition: str | None

    @property
    def report_path(self) -> str:
        """Where the report that counts is kept."""
        return f"{self.dir}/domains/{self.domain}.report"

    @property
    def console_path(self) -> str:
        """What the guest wrote to its console."""
        return reports.xen_console(self.dir, self.domain)


@dataclass(frozen=True)
class Seen:
    """`state` is virsh's word, None without a domain; `definition` what it was made from, None when not by us.

    `running_as` is the UUID of what runs under that name, whoever started it; `free_mib` the memory that Xen could
    give a guest, asked for where one is to be started; `missing` are the host's devices that are to be its disks and
    are not there. `kept` is the report that was kept, `report` the one that counts.
    """

    uuid: str | None = None
    state: str | None = None
    definition: str | None = None
    running_as: str | None = None
    free_mib: int | None = None
    disc: str | None = None
    report_file: FileSeen | None = None
    kept: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    console_file: FileSeen | None = None
    last_words: str = ""
    missing: tuple[str, ...] = ()


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"domain","uuid","xml","ready_event","edition"}."""
    text = (str, type(None))
    domain, uuid, xml, event, edition = names.take(
        raw, domain=str, uuid=str, xml=str, ready_event=text, edition=text
    )
    names.marked(domain, remit, "domain")
    names.uuid(uuid)
    definition = domain_xml.check(xml, xen_xml.allowed_places(domain, uuid, remit))
    event = None if event is None else names.event(event)
    return Args(remit.dir, domain, uuid, definition, event, names.edition(edition))


def lock(args: Args) -> str:
    """One domain, one lock."""
    return f"domain-{args.domain}"


def observe(args: Args, ask: Ask) -> Seen:
    """Ask libvirt for the domain and Xen for what runs, and read what the guest said."""
    domain, _ = virsh.find_domain(ask, URI, args.domain, xen_xml.ISO_DISK)
    running_as = find_running(_said(ask(Show(("xl", "vm-list")))), args.domain)
    free_mib = None
    if domain.state not in (*virsh.RUNNING, "paused"):
        free_mib = find_free(_said(ask(Show(("xl", "info")))))
    console = ask(ReadTail(args.console_path, reports.MAX_CONSOLE_READ)) or ""
    kept = report = None
    if args.ready_event:
        text = ask(ReadTail(args.report_path, reports.MAX_READ))
        kept = reports.find_event(text, args.ready_event, args.edition)
        report = reports.find_event(console, args.ready_event, args.edition) or kept
    return Seen(
        domain.uuid,
        domain.state,
        domain.definition,
        running_as,
        free_mib,
        domain.file,
        ask(Stat(args.report_path)),
        kept,
        report,
        ask(Stat(args.console_path)),
        reports.last_words(console),
        tuple(device for device in args.definition.devices if ask(Stat(device)) is None),
    )


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Define, start; a changed definition is put in at once and counts from the domain's next start.

    The ISO alone is changed while the machine runs: its disk is taken out and put in anew.
    """
    virsh.refuse_foreign(args.domain, seen.uuid, args.uuid, seen.definition)
    if seen.running_as not in (None, args.uuid):
        raise Refused(
            "not_ours",
            f"domain {args.domain} runs with uuid {seen.running_as}, and not by libvirt: it was left alone; "
            "end it with xl, or rename it",
        )
    if want == "absent":
        return _plan_absent(args, seen)
    commands: list[Command] = []
    if seen.definition != args.definition.digest:
        commands.append(MakeDir(f"{args.dir}/domains", 0o711))
        commands.append(_virsh("define", "/dev/stdin", stdin=args.definition.xml))
    if seen.state == "paused":
        commands.append(_virsh("resume", args.domain))
    elif seen.state not in virsh.RUNNING:
        return commands + _plan_start(args, seen)
    if args.definition.disc is not None and seen.disc != args.definition.disc:
        if seen.disc is not None:
            commands.append(_virsh("detach-disk", args.domain, xen_xml.ISO_DISK, "--live"))
        disk = _iso_disk(args.definition.disc)
        commands.append(_virsh("attach-device", args.domain, "/dev/stdin", "--live", stdin=disk))
    if seen.report is not None and seen.report != seen.kept:
        commands.append(WriteFile(args.report_path, json.dumps(seen.report) + "\n"))
    if seen.console_file and seen.console_file.size > MAX_CONSOLE:
        commands.append(SetSize(args.console_path, 0))
    return commands


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the guest's word that it is ready."""
    if want == "absent" or args.ready_event is None or seen.report is not None:
        return None
    return virsh.waiting_for(args.domain, args.ready_event, seen.last_words)


def find_running(listed: str, name: str) -> str | None:
    """The UUID of the domain that runs under that name by `xl vm-list`, or None."""
    found = re.search(rf"^({virsh.UUID})\s+\d+\s+{re.escape(name)}\s*$", listed, flags=re.MULTILINE)
    return found[1] if found else None


def find_free(info: str) -> int | None:
    """The memory, in MiB, that belongs to nobody by `xl info`, or None where it does not tell."""
    found = re.search(r"^free_memory\s*:\s*(\d+)$", info, flags=re.MULTILINE)
    return int(found[1]) if found else None


def _plan_start(args: Args, seen: Seen) -> list[Command]:
    """The old report goes first, and the console with it: what counts is that the guest became ready after this
    start."""
    virsh.refuse_missing(args.domain, seen.missing)
    if seen.free_mib is not None and seen.free_mib < args.definition.memory_mib:
        raise Refused(
            "no_space",
            f"{args.domain} is to have {args.definition.memory_mib} MiB of memory and Xen has {seen.free_mib} left; "
            "does this host run guests that are not ours, or has dom0 grown?",
        )
    commands: list[Command] = []
    if seen.report_file is not None:
        commands.append(Remove(args.report_path))
    if seen.state == "crashed":
        commands.append(_virsh("destroy", args.domain))
    if seen.console_file is not None:
        commands.append(Remove(args.console_path))
    return [*commands, _virsh("start", args.domain, timeout_s=START_S)]


def _plan_absent(args: Args, seen: Seen) -> list[Command]:
    """The slot is over and the volumes go with it, so the guest is switched off without ceremony."""
    commands: list[Command] = []
    if seen.state not in (None, "shut off"):
        commands.append(_virsh("destroy", args.domain))
    if seen.state is not None:
        commands.append(_virsh("undefine", args.domain, "--managed-save"))
    if seen.report_file is not None:
        commands.append(Remove(args.report_path))
    if seen.console_file is not None:
        commands.append(Remove(args.console_path))
    return commands


def _iso_disk(path: str) -> str:
    """As templates/install/xen.xml.j2 has it."""
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file={quoteattr(path)}/><target dev='{xen_xml.ISO_DISK}' bus='xen'/></disk>"
    )


def _virsh(*words: str, stdin: str | None = None, timeout_s: float = 120) -> Exec:
    return virsh.change(URI, *words, stdin=stdin, timeout_s=timeout_s)


def _said(output: Output) -> str:
    if output.rc != 0:
        raise Refused("tool_failed", f"xl does not get an answer from Xen: {output.stderr.strip()[-500:]}")
    return output.stdout
