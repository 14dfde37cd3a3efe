# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""libvirt by virsh, for whichever hypervisor: how it is asked and told, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workers.node import domain_xml
from workers.node.protocol import Refused
from workers.node.steps import Ask, Exec, Output, Show

RUNNING = ("running", "idle", "in shutdown", "pmsuspended")
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
BETWEEN = "\x1e"  # parts the answers of one virsh: it is in no XML, and in nothing else that virsh prints


def show(uri: str, *words: str) -> Show:
    """The question to the libvirt at `uri`."""
    return Show(("virsh", "-q", "-c", uri, *words))


def change(uri: str, *words: str, stdin: str | None = None, timeout_s: float = 60) -> Exec:
    """The command to the libvirt at `uri`."""
    return Exec(("virsh", "-q", "-c", uri, *words), stdin, timeout_s)


def said(output: Output) -> str:
    """What virsh printed; Refused when it failed."""
    if output.rc != 0:
        raise Refused(
            "tool_failed", f"virsh does not get an answer from libvirtd: {output.stderr.strip()[-500:]}"
        )
    return output.stdout


@dataclass(frozen=True)
class Domain:
    """A domain: UUID, virsh's word for its state, what our metadata says that it was made from, and the file behind
    the disk or drive that was asked for; None for what is not there."""

    uuid: str | None = None
    state: str | None = None
    definition: str | None = None
    file: str | None = None


def find_domain(ask: Ask, uri: str, name: str, target: str, *also: str) -> tuple[Domain, list[str]]:
    """The domain of that name with the file of its disk or drive `target`, and the answers to the questions `also`,
    each empty where it failed.

    One virsh is asked it all: its start takes 20 ms of CPU, and a guest that boots is looked at each second.
    """
    about = (f"dumpxml --inactive {name}", f"domstate {name}", f"domblklist {name} --details")
    # Only whether the last one failed can be told, and the list does not where libvirt answers at all.
    line = f"; echo {BETWEEN}; ".join((*about, *also, "list --all --uuid --name"))
    xml, state, disks, *answers, listed = said(ask(show(uri, line))).split(BETWEEN)
    uuids = dict(re.findall(rf"^({UUID})\s+(\S+)$", listed, flags=re.MULTILINE))
    known = next((uuid for uuid, other in uuids.items() if other == name), None)
    if known is None:
        return Domain(), answers
    if not xml.strip() or not state.strip():
        raise Refused(
            "tool_failed", f"libvirt lists {name} and does not tell what it is: see virsh dumpxml {name}"
        )
    file = re.search(rf"^\s*file\s+(?:cdrom|disk)\s+{target}\s+(/\S+)$", disks, flags=re.MULTILINE)
    definition = domain_xml.find_definition(xml)
    return Domain(known, state.strip(), definition, file[1] if file else None), answers


def refuse_foreign(name: str, uuid: str | None, wanted: str, definition: str | None) -> None:
    """Refused where a domain has that name which is not ours, by its UUID or for lack of our metadata."""
    if uuid is not None and (definition is None or uuid != wanted):
        raise Refused(
            "not_ours",
            f"domain {name} is there with uuid {uuid} and without our metadata or uuid: "
            "it was left alone; rename or undefine it by hand",
        )


def refuse_missing(name: str, missing: Sequence[str]) -> None:
    """Refused where devices of the host that are to be the domain's disks are not there."""
    if missing:
        raise Refused("busy", f"{name} is not started: {missing[0]} is not there; the host must log in first")


def waiting_for(name: str, event: str, last_words: str) -> str:
    """That the guest has not reported the event yet, with the last that its console said."""
    console = f"; its console says: {last_words}" if last_words else ""
    return f"waiting for {name} to report {event}{console}"
