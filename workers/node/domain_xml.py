# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Lets through only domain definitions of the one shape that templates/install/domain.xml.j2 makes.

libvirt would give a definition any file and any device of the host. So every element and attribute must stand in
the table below with a value of its form: the cluster's own links, targets and files, and nothing else. Files are
allowed in the helper's own directories alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from workers.node.names import bad, key_of, show
from workers.node.protocol import Refused, Remit

NAMESPACE = "urn:leasehold:domain:1"
MAX_XML = 64 * 1024
MAX_ELEMENTS = 300

_NUMBER = "[1-9][0-9]{0,8}"
_DEVICE = "domain/devices"
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_IQN = "iqn[.][0-9]{4}-[0-9]{2}[.][a-z0-9]+(?:[.-][a-z0-9]+)*"


@dataclass(frozen=True)
class Definition:
    """A definition that may be given to libvirt; `digest` names its content and is kept in its metadata.

    `disc` is the file in its CD drive, if it has one; `devices` are those of the host that it gets as disks.
    """

    xml: str
    digest: str
    disc: str | None = None
    devices: tuple[str, ...] = ()


def check(xml: str, domain: str, uuid: str, secrets: frozenset[str], remit: Remit) -> Definition:
    """The definition with our metadata put in, or Refused naming the first thing that is not allowed.

    `secrets` are the usages of the secrets that come with it.
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
    allowed = allowed_places(domain, uuid, remit)
    for place, value in places(root):
        if place not in allowed:
            raise Refused("out_of_remit", f"a domain's definition must not have {show(place)}")
        if not re.fullmatch(allowed[place], value):
            raise Refused("out_of_remit", f"a domain's definition must not have {place} = {show(value)}")
    asked = {element.get("usage", "") for element in root.iter("secret")}
    if asked - secrets:
        raise bad("xml names a secret that is not among those in chap")
    if root.findtext("name") is None or root.findtext("uuid") is None:
        raise bad("xml must have the domain's name and uuid")
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


def allowed_places(domain: str, uuid: str, remit: Remit) -> dict[str, str]:
    """Every place that a definition may have, and the pattern of its value ("" = no text of its own)."""
    key, dir = re.escape(key_of(domain)), re.escape(remit.dir)
    bridges = "|".join([f"{key}-br", *map(re.escape, remit.public_bridges)])
    table = {
        "domain": "",
        "domain@type": "kvm|qemu",
        "domain/name": re.escape(domain),
        "domain/uuid": re.escape(uuid),
        "domain/memory": _NUMBER,
        "domain/memory@unit": "MiB",
        "domain/vcpu": "[1-9][0-9]{0,2}",
        "domain/os": "",
        "domain/os/type": "hvm",
        "domain/os/type@arch": "x86_64",
        "domain/os/type@machine": "pc",
        "domain/features": "",
        "domain/features/acpi": "",
        "domain/features/tcg": "",
        "domain/features/tcg/tb-cache": _NUMBER,
        "domain/features/tcg/tb-cache@unit": "MiB",
        "domain/cpu": "",
        "domain/cpu@mode": "maximum|host-passthrough",
        "domain/clock": "",
        "domain/clock@offset": "utc",
        "domain/on_poweroff": "destroy",
        "domain/on_reboot": "restart",
        "domain/on_crash": "restart",
        _DEVICE: "",
        f"{_DEVICE}/controller": "",
        f"{_DEVICE}/controller@type": "usb",
        f"{_DEVICE}/controller@index": "0",
        f"{_DEVICE}/controller@model": "none",
        f"{_DEVICE}/memballoon": "",
        f"{_DEVICE}/memballoon@model": "none",
        f"{_DEVICE}/rng": "",
        f"{_DEVICE}/rng@model": "virtio",
        f"{_DEVICE}/rng/backend": "/dev/urandom",
        f"{_DEVICE}/rng/backend@model": "random",
    }
    table |= _below(f"{_DEVICE}/disk[network]", _disk("disk", "virtio", "vd[a-h]") | _iscsi(key))
    table |= _below(f"{_DEVICE}/disk[block]", _disk("disk", "virtio", "vd[a-h]") | _logged_in(key))
    table |= _below(f"{_DEVICE}/disk[file]", _disk("cdrom", "ide", "hda") | _iso(key, dir))
    table |= _below(f"{_DEVICE}/interface[bridge]", _interface(key, bridges))
    written = f"{dir}/domains/{re.escape(domain)}"
    serial = {"target@type": "isa-serial", "target@port": "0"}
    table |= _below(f"{_DEVICE}/serial[file]", _character(f"{written}[.]serial") | serial)
    channel = {"target@type": "virtio", "target@name": "org[.]leasehold[.]report"}
    table |= _below(f"{_DEVICE}/channel[file]", _character(f"{written}[.]report") | channel)
    return table


def _disk(device: str, bus: str, target: str) -> dict[str, str]:
    return {
        "": "",
        "@type": "network|block|file",
        "@device": device,
        "driver": "",
        "driver@name": "qemu",
        "driver@type": "raw",  # never a format that can name further files (CVE-2024-32498)
        "source": "",
        "target": "",
        "target@dev": target,
        "target@bus": bus,
    }


def _iscsi(key: str) -> dict[str, str]:
    return {
        "serial": "[a-z0-9]{1,20}",
        "boot": "",
        "boot@order": "1",
        "source@protocol": "iscsi",
        "source@name": f"{_IQN}:{key}-{_LABEL}/1",
        "source/host": "",
        "source/host@name": r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
        "source/host@port": "3260",
        "source/auth": "",
        "source/auth@username": f"{key}-{_LABEL}",
        "source/auth/secret": "",
        "source/auth/secret@type": "iscsi",
        "source/auth/secret@usage": f"{_IQN}:{key}-{_LABEL}",
    }


def _logged_in(key: str) -> dict[str, str]:
    """A volume that the host itself has logged in to, by its stable name."""
    address = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
    return {
        "serial": "[a-z0-9]{1,20}",
        "boot": "",
        "boot@order": "1",
        "source@dev": f"/dev/disk/by-path/ip-{address}:3260-iscsi-{_IQN}:{key}-{_LABEL}-lun-[01]",
    }


def _iso(key: str, dir: str) -> dict[str, str]:
    return {"source@file": f"{dir}/iso/{key}-{_LABEL}[.]iso", "readonly": ""}


def _interface(key: str, bridges: str) -> dict[str, str]:
    return {
        "": "",
        "@type": "bridge",
        "source": "",
        "source@bridge": bridges,
        "mac": "",
        "mac@address": "[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
        "target": "",
        "target@dev": f"{key}-[a-z][0-9]{{1,4}}",
        "model": "",
        "model@type": "virtio",
    }


def _character(path: str) -> dict[str, str]:
    return {
        "": "",
        "@type": "file",
        "source": "",
        "source@path": path,
        "source@append": "on",
        "target": "",
    }


def _below(place: str, entries: dict[str, str]) -> dict[str, str]:
    return {
        place + ("" if entry[:1] in ("", "@") else "/") + entry: pattern for entry, pattern in entries.items()
    }


def _finish(root: ElementTree.Element) -> Definition:
    """Our mark, with the digest of everything else, put in."""
    digest = hashlib.sha256(ElementTree.tostring(root)).hexdigest()
    ElementTree.register_namespace("leasehold", NAMESPACE)
    disks = root.iterfind("devices/disk[@type='block']/source")
    devices = tuple(source.get("dev", "") for source in disks)
    mark = ElementTree.Element("metadata")
    ElementTree.SubElement(mark, f"{{{NAMESPACE}}}domain", {"definition": digest})
    root.append(mark)
    source = root.find("devices/disk[@device='cdrom']/source")
    disc = None if source is None else source.get("file")
    return Definition(ElementTree.tostring(root, encoding="unicode"), digest, disc, devices)
