# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Lets through only domain definitions of the one shape that a template in templates/install makes, and marks them.

libvirt would give a definition any file and any device of the host. So every element and attribute must stand in a
table with a value of its form: the cluster's own links, targets and files, and nothing else. There is a table for
each hypervisor: qemu_xml.py, xen_xml.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from workers.node.names import bad, show
from workers.node.protocol import Refused, Remit

NAMESPACE = "urn:leasehold:domain:1"
MAX_XML = 64 * 1024
MAX_ELEMENTS = 300

# Patterns that the tables share.
DEVICE = "domain/devices"
LABEL = "[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
IQN = "iqn[.][0-9]{4}-[0-9]{2}[.][a-z0-9]+(?:[.-][a-z0-9]+)*"
ADDRESS = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"


@dataclass(frozen=True)
class Definition:
    """A definition that may be given to libvirt; `digest` names its content and is kept in its metadata.

    `memory_mib` is what its guest has; `disc` the ISO that it is shown, if any; `devices` are those of the host that
    it gets as disks.
    """

    xml: str
    digest: str
    memory_mib: int
    disc: str | None = None
    devices: tuple[str, ...] = ()


def check(xml: str, allowed: Mapping[str, str], secrets: frozenset[str] = frozenset()) -> Definition:
    """The definition with our metadata put in, or Refused naming the first thing that is not allowed.

    `allowed` is every place that it may have, and the pattern of its value ("" = no text of its own); `secrets` are
    the usages of the secrets that come with it.
    """
    if len(xml) > MAX_XML or "<!" in xml:
        raise bad(
            f"xml must be one element of at most {MAX_XML} characters, without comments or declarations"
        )
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314  short, and without declarations
    except ElementTree.ParseError as error:
        raise bad(f"xml is not well formed: {error}") from None
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise bad(f"xml has more than {MAX_ELEMENTS} elements")
    for place, value in places(root):
        if place not in allowed:
            raise Refused("out_of_remit", f"a domain's definition must not have {show(place)}")
        if not re.fullmatch(allowed[place], value):
            raise Refused("out_of_remit", f"a domain's definition must not have {place} = {show(value)}")
    asked = {element.get("usage", "") for element in root.iter("secret")}
    if asked - secrets:
        raise bad("xml names a secret that is not among those in chap")
    if any(root.findtext(tag) is None for tag in ("name", "uuid", "memory")):
        raise bad("xml must have the domain's name, uuid and memory")
    return _finish(root)


def places(element: ElementTree.Element, parent: str = "") -> Iterator[tuple[str, str]]:
    """(place, value) of the element, its attributes and all below; a typed device's place names its type."""
    tag = element.tag
    if tag in ("disk", "interface", "serial", "channel") and element.get("type"):
        tag = f"{tag}[{element.get('type')}]"
    place = f"{parent}/{tag}" if parent else tag
    yield place, (element.text or "").strip()
    if (element.tail or "").strip():
        yield f"{place}/text", (element.tail or "").strip()
    for name, value in element.attrib.items():
        yield f"{place}@{name}", value
    for child in element:
        yield from places(child, place)


def basics(domain: str, uuid: str) -> dict[str, str]:
    """What every definition has, whatever runs it: name, size, and what becomes of a machine that stops."""
    return {
        "domain": "",
        "domain/name": re.escape(domain),
        "domain/uuid": re.escape(uuid),
        "domain/memory": "[1-9][0-9]{0,8}",
        "domain/memory@unit": "MiB",
        "domain/vcpu": "[1-9][0-9]{0,2}",
        "domain/os": "",
        "domain/os/type@arch": "x86_64",
        "domain/clock": "",
        "domain/clock@offset": "utc",
        "domain/on_poweroff": "destroy",
        "domain/on_reboot": "restart",
        "domain/on_crash": "restart",
        DEVICE: "",
    }


def logged_in(key: str) -> dict[str, str]:
    """A volume that the host itself has logged in to, by its stable name."""
    return {"source@dev": f"/dev/disk/by-path/ip-{ADDRESS}:3260-iscsi-{IQN}:{key}-{LABEL}-lun-[01]"}


def iso(key: str, dir: str) -> dict[str, str]:
    """The cluster's ISO."""
    return {"source@file": f"{dir}/iso/{key}-{LABEL}[.]iso"}


def interface(key: str, remit: Remit) -> dict[str, str]:
    """An interface on the cluster's own bridge or a public one."""
    return {
        "": "",
        "@type": "bridge",
        "source": "",
        "source@bridge": "|".join([f"{key}-br", *map(re.escape, remit.public_bridges)]),
        "mac": "",
        "mac@address": "[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
        "target": "",
        "target@dev": f"{key}-[a-z][0-9]{{1,4}}",
    }


def below(place: str, entries: Mapping[str, str]) -> dict[str, str]:
    """The entries of a table with the place of their element before each; "" is the element itself."""
    return {
        place + ("" if entry[:1] in ("", "@") else "/") + entry: pattern for entry, pattern in entries.items()
    }


def find_definition(xml: str) -> str | None:
    """The digest that our metadata in a domain's XML holds, or None when it has none."""
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314  libvirt's own writing
    except ElementTree.ParseError:
        return None
    mark = root.find(f"metadata/{{{NAMESPACE}}}domain")
    return None if mark is None else mark.get("definition")


def _finish(root: ElementTree.Element) -> Definition:
    """Our mark, with the digest of everything else, put in."""
    digest = hashlib.sha256(ElementTree.tostring(root)).hexdigest()
    ElementTree.register_namespace("leasehold", NAMESPACE)
    disks = root.iterfind("devices/disk[@type='block']/source")
    devices = tuple(source.get("dev", "") for source in disks)
    mark = ElementTree.Element("metadata")
    ElementTree.SubElement(mark, f"{{{NAMESPACE}}}domain", {"definition": digest})
    root.append(mark)
    source = root.find("devices/disk[@type='file']/source")
    disc = None if source is None else source.get("file")
    memory_mib = int(root.findtext("memory", "0"))
    return Definition(ElementTree.tostring(root, encoding="unicode"), digest, memory_mib, disc, devices)
