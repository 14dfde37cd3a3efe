# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A virtual machine by libvirt: defined, and running with a guest that has reported that it is ready, or saved to disk.

The CHAP secrets of its disks are given to libvirt in memory only (ephemeral, private) and taken away again as soon
as the machine was started: QEMU has its own copy by then. A domain is ours when it carries our metadata, which
also tells what it was defined from.

A machine is saved as libvirt saves those it manages: its next start goes on where it was. Writing or reading its memory
may take minutes, so each is a job of its own, which later requests look at. So is waiting for a guest to shut down by
itself, where its disks outlive it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.node import domain_xml, names, qemu_xml, reports, virsh
from workers.node.domain_xml import Definition
from workers.node.protocol import Refused, Remit
from workers.node.steps import (
    Ask,
    Command,
    Detach,
    EndJob,
    Exec,
    FileSeen,
    Free,
    GetJob,
    JobSeen,
    MakeDir,
    ReadTail,
    Remove,
    SetSize,
    Stat,
)

MAX_SERIAL = 16 << 20  # a guest may write to its console for ever; past this the log starts anew
SERIAL_TAIL = 2048
URI = "qemu:///system"
_DRIVE = "hda"
# Where libvirt keeps what it saved, and what QEMU writes beyond the memory itself: the devices' states.
SAVES = "/var/lib/libvirt/qemu/save"
BESIDES_MIB = 64
# How long a guest that was told to shut down has time for it.
PATIENCE_S = 120
MIB = 1 << 20
NO_JOB = JobSeen("none")


@dataclass(frozen=True)
class Chap:
    """One CHAP secret of libvirt's."""

    uuid: str
    usage: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Args:
    """`ready_event` is what the guest reports once it is of use, or None to wait for nothing.

    With an `edition` it must be this edition of the site roll that it has followed. `saved`: it is to be on disk, with
    its memory, and not to run. `gently`: when it goes its guest is asked to shut down first, for its disks stay.
    """

    dir: str
    domain: str
    uuid: str
    definition: Definition
    chap: tuple[Chap, ...]
    ready_event: str | None
    edition: str | None
    saved: bool = False
    gently: bool = False

    @property
    def save_path(self) -> str:
        """Where its memory is while it is saved."""
        return f"{SAVES}/{self.domain}.save"

    @property
    def job(self) -> str:
        """The job that saves it, or goes on from there."""
        return f"memory-{self.domain}"

    @property
    def job_log(self) -> str:
        """What the job said; stays when the job is cleared up."""
        return f"{self.dir}/jobs/{self.job}.log"

    @property
    def off_job(self) -> str:
        """The job that has its guest shut down, and ends when that is done or has taken too long."""
        return f"off-{self.domain}"

    @property
    def off_log(self) -> str:
        """What that job said."""
        return f"{self.dir}/jobs/{self.off_job}.log"

    @property
    def report_path(self) -> str:
        """What the guest wrote to its report channel."""
        return f"{self.dir}/domains/{self.domain}.report"

    @property
    def serial_path(self) -> str:
        """What the guest wrote to its console."""
        return f"{self.dir}/domains/{self.domain}.serial"


@dataclass(frozen=True)
class Seen:
    """`state` is virsh's word, None without a domain; `definition` what it was made from, None when not by us.

    `disc` is the file in the machine's CD drive, None where there is none; `missing` are the host's devices
    that are to be its disks and are not there. `memory` is the file of its saved memory, `free` how many bytes there is
    room for beside it, asked where it is to be saved.
    """

    uuid: str | None = None
    state: str | None = None
    definition: str | None = None
    disc: str | None = None
    secrets: tuple[str, ...] = ()
    report_file: FileSeen | None = None
    report: dict[str, Any] | None = None
    serial_file: FileSeen | None = None
    serial: str = ""
    missing: tuple[str, ...] = ()
    memory: FileSeen | None = None
    free: int | None = None
    job: JobSeen = NO_JOB
    job_log: FileSeen | None = None
    off: JobSeen = NO_JOB
    off_log: FileSeen | None = None


def parse(raw: Mapping[str, Any], remit: Remit) -> Args:
    """Args from {"domain","uuid","xml","chap":[{"uuid","usage","password"}],"ready_event","edition"}, and with "saved"
    or "gently" where that is so."""
    text = (str, type(None))
    domain, uuid, xml, chap, event, edition, saved, gently = names.take(
        {"saved": False, "gently": False, **raw},
        domain=str,
        uuid=str,
        xml=str,
        chap=list,
        ready_event=text,
        edition=text,
        saved=bool,
        gently=bool,
    )
    names.marked(domain, remit, "domain")
    names.uuid(uuid)
    names.within(len(chap), 0, 16, "the number of secrets")
    secrets = tuple(_parse_chap(item, domain, remit) for item in chap)
    allowed = qemu_xml.allowed_places(domain, uuid, remit)
    definition = domain_xml.check(xml, allowed, frozenset(secret.usage for secret in secrets))
    event = None if event is None else names.event(event)
    return Args(remit.dir, domain, uuid, definition, secrets, event, names.edition(edition), saved, gently)


def lock(args: Args) -> str:
    """One domain, one lock."""
    return f"domain-{args.domain}"


def observe(args: Args, ask: Ask) -> Seen:
    """Ask libvirt for the domain and our secrets, and read the ends of the guest's two files."""
    domain, (secrets,) = virsh.find_domain(ask, URI, args.domain, _DRIVE, "secret-list")
    report = ask(ReadTail(args.report_path, reports.MAX_READ)) if args.ready_event else None
    return Seen(
        domain.uuid,
        domain.state,
        domain.definition,
        domain.file,
        tuple(secret.uuid for secret in args.chap if secret.uuid in secrets),
        ask(Stat(args.report_path)),
        reports.find_event(report, args.ready_event, args.edition) if args.ready_event else None,
        ask(Stat(args.serial_path)),
        ask(ReadTail(args.serial_path, SERIAL_TAIL)) or "",
        tuple(device for device in args.definition.devices if ask(Stat(device)) is None),
        ask(Stat(args.save_path)),
        ask(Free(SAVES)) if args.saved else None,
        ask(GetJob(args.job)),
        ask(Stat(args.job_log)),
        ask(GetJob(args.off_job)) if args.gently else NO_JOB,
        ask(Stat(args.off_log)) if args.gently else None,
    )


def plan(want: str, args: Args, seen: Seen) -> list[Command]:
    """Define, start; a changed definition is put in at once and counts from the domain's next start.

    The disc in the CD drive alone is changed while the machine runs, whether its guest holds on to it or not.
    """
    virsh.refuse_foreign(args.domain, seen.uuid, args.uuid, seen.definition)
    if want == "absent":
        return _plan_absent(args, seen)
    if seen.job.state == "running":
        return []
    if args.saved:
        return _plan_saved(args, seen)
    if seen.memory is not None and seen.state == "shut off":
        return _plan_go_on(args, seen)
    commands = _clear(args, seen)
    if seen.definition != args.definition.digest:
        commands.append(MakeDir(f"{args.dir}/domains", 0o711))
        commands.append(_virsh("define", "/dev/stdin", stdin=args.definition.xml))
    if seen.state == "paused":
        commands.append(_virsh("resume", args.domain))
    elif seen.state not in virsh.RUNNING:
        return commands + _plan_start(args, seen)
    if args.definition.disc is not None and seen.disc != args.definition.disc:
        options = ("--update", "--live", "--force")
        commands.append(_virsh("change-media", args.domain, _DRIVE, args.definition.disc, *options))
    if seen.serial_file and seen.serial_file.size > MAX_SERIAL:
        commands.append(SetSize(args.serial_path, 0))
    return commands + [_virsh("secret-undefine", uuid) for uuid in seen.secrets]


def waiting(want: str, args: Args, seen: Seen) -> str | None:
    """Waits for the guest's word that it is ready, for its memory to be written or read, or for it to shut down."""
    if want == "absent" and seen.off.state == "running":
        return f"{args.domain} shuts down"
    if want == "present" and seen.job.state == "running":
        written = "" if seen.memory is None else f", {seen.memory.size // MIB} MiB so far"
        return (
            f"saving {args.domain} to disk{written}"
            if args.saved
            else f"{args.domain} is read back from disk"
        )
    if want == "absent" or args.saved or args.ready_event is None or seen.report is not None:
        return None
    return virsh.waiting_for(args.domain, args.ready_event, reports.last_words(seen.serial))


def _plan_start(args: Args, seen: Seen) -> list[Command]:
    """The old report goes first: what counts is that the guest became ready after this start."""
    virsh.refuse_missing(args.domain, seen.missing)
    commands: list[Command] = []
    if seen.report_file is not None:
        commands.append(Remove(args.report_path))
    if seen.serial_file is not None and seen.serial_file.size > MAX_SERIAL:
        commands.append(Remove(args.serial_path))
    if seen.state == "crashed":
        commands.append(_virsh("destroy", args.domain))
    commands += _give_secrets(args)
    commands.append(_virsh("start", args.domain, timeout_s=120))
    return commands + [_virsh("secret-undefine", secret.uuid) for secret in args.chap]


def _give_secrets(args: Args) -> list[Command]:
    commands: list[Command] = []
    for secret in args.chap:
        commands.append(_virsh("secret-define", "/dev/stdin", stdin=_secret_xml(secret)))
        commands.append(
            _virsh("secret-set-value", secret.uuid, "--file", "/dev/stdin", "--plain", stdin=secret.password)
        )
    return commands


def _plan_saved(args: Args, seen: Seen) -> list[Command]:
    """Save it where it is up. What is off has nothing to be saved: it starts anew when it is to run again."""
    clear = _clear(args, seen)
    if seen.state not in ("paused", *virsh.RUNNING):
        return clear
    if seen.job.state == "ended" and seen.job.rc:
        raise Refused("tool_failed", f"{args.domain} was not saved: {_last_words(seen.job)}", tuple(clear))
    needed = (args.definition.memory_mib + BESIDES_MIB) * MIB
    if seen.free is not None and seen.free < needed:
        raise Refused(
            "no_space",
            f"{SAVES} has {seen.free // MIB} MiB free, and saving {args.domain} may take {needed // MIB} MiB: make room"
            " there, or have the cluster resumed",
            tuple(clear),
        )
    # Whatever it does at that moment, it is to run when it goes on.
    save = ("managedsave", args.domain, "--running")
    return [*clear, Detach(args.job, ("virsh", "-q", "-c", URI, *save))]


def _plan_go_on(args: Args, seen: Seen) -> list[Command]:
    """Start it from its memory on disk; its guest is as ready as it was, so its reports stay."""
    virsh.refuse_missing(args.domain, seen.missing)
    clear = _clear(args, seen)
    if seen.job.state == "ended" and seen.job.rc:
        raise Refused(
            "tool_failed",
            f"{args.domain} does not go on from {args.save_path}: {_last_words(seen.job)};"
            f" `virsh managedsave-remove {args.domain}` lets it start anew",
            (*clear, *(_virsh("secret-undefine", uuid) for uuid in seen.secrets)),
        )
    return [*clear, *_give_secrets(args), Detach(args.job, ("virsh", "-q", "-c", URI, "start", args.domain))]


def _clear(args: Args, seen: Seen) -> list[Command]:
    """Forget the job and its log."""
    commands: list[Command] = [] if seen.job.state == "none" else [EndJob(args.job, args.save_path)]
    if commands or seen.job_log is not None:
        commands.append(Remove(args.job_log))
    return commands


def _last_words(job: JobSeen) -> str:
    return job.log[-500:].strip() or f"virsh ended with status {job.rc}"


def _plan_absent(args: Args, seen: Seen) -> list[Command]:
    """Where the volumes go with the guest it is switched off without ceremony; else when it has shut down, or had the
    time to."""
    commands = _clear(args, seen)
    if args.gently and seen.state in virsh.RUNNING:
        if seen.off.state == "running":
            return commands
        if seen.off.state == "none":
            wait = f"event --domain {args.domain} --event lifecycle --timeout {PATIENCE_S}"
            return [
                *commands,
                Detach(args.off_job, ("virsh", "-q", "-c", URI, f"shutdown {args.domain}; {wait}")),
            ]
    if seen.off.state != "none":
        commands.append(EndJob(args.off_job, args.save_path))
    if seen.off.state != "none" or seen.off_log is not None:
        commands.append(Remove(args.off_log))
    if seen.state not in (None, "shut off"):
        commands.append(_virsh("destroy", args.domain))
    if seen.state is not None:
        flags = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram")
        commands.append(_virsh("undefine", args.domain, *flags))
    commands += [_virsh("secret-undefine", uuid) for uuid in seen.secrets]
    if seen.report_file is not None:
        commands.append(Remove(args.report_path))
    if seen.serial_file is not None:
        commands.append(Remove(args.serial_path))
    return commands


def _parse_chap(raw: Any, domain: str, remit: Remit) -> Chap:
    if not isinstance(raw, dict):
        raise names.bad("each of chap must be an object with uuid, usage and password")
    uuid, usage, password = names.take(raw, uuid=str, usage=str, password=str)
    names.same_key(domain, names.target(usage, remit).partition(":")[2])
    return Chap(names.uuid(uuid), usage, names.password(password))


def _secret_xml(secret: Chap) -> str:
    return (
        f"<secret ephemeral='yes' private='yes'><uuid>{secret.uuid}</uuid>"
        f"<usage type='iscsi'><target>{secret.usage}</target></usage></secret>"
    )


def _virsh(*words: str, stdin: str | None = None, timeout_s: float = 60) -> Exec:
    return virsh.change(URI, *words, stdin=stdin, timeout_s=timeout_s)
