# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The template's own definition passes; one with anything in it changed to something of the host's does not."""

from pathlib import Path
from xml.etree import ElementTree

import jinja2
import pytest

from workers.node import domain_xml, qemu_xml
from workers.node.protocol import Refused, Remit

REMIT = Remit("lh", "/d", (), ("br-public",))
NAME, UUID = "lh7-frontend", "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11"
TARGETS = [f"iqn.2026-11.org.leasehold:lh7-frontend-{what}" for what in ("root", "home")]
DISKS = [
    {
        "target": target,
        "portal": "198.18.0.14",
        "user": target.partition(":")[2],
        "secret": target,
        "is_shared": False,
        "serial": target.rsplit("-")[-1],
    }
    for target in TARGETS
]
FIELDS = {
    "name": NAME,
    "uuid": UUID,
    "virt_type": "qemu",
    "devices": "virtio",
    "vcpus": 2,
    "memory_mib": 512,
    "disks": DISKS,
    "iso": "/d/iso/lh7-frontend.iso",
    "nics": [
        {"bridge": "lh7-br", "mac": "02:00:07:00:00:00", "tap": "lh7-t0"},
        {"bridge": "br-public", "mac": "02:00:07:00:10:00", "tap": "lh7-p0"},
    ],
    "serial": "/d/domains/lh7-frontend.serial",
    "report": "/d/domains/lh7-frontend.report",
}


def render(**fields: object) -> str:
    folder = Path(__file__).parents[3] / "templates" / "install"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("domain.xml.j2").render(**{**FIELDS, **fields})


XML = render()
ALLOWED = qemu_xml.allowed_places(NAME, UUID, REMIT)


def check(xml: str) -> domain_xml.Definition:
    return domain_xml.check(xml, ALLOWED, frozenset(TARGETS))


DEVICES = [
    {
        "serial": "root",
        "is_shared": False,
        "device": f"/dev/disk/by-path/ip-198.18.0.14:3260-iscsi-{TARGETS[0]}-lun-0",
    },
]
SHARED = DISKS[0] | {"serial": "shared", "is_shared": True}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"virt_type": "kvm"},
        {"iso": None, "disks": DISKS[:1]},
        {"disks": DEVICES},
        {"disks": [*DISKS, SHARED]},
        {"disks": [DISKS[0], SHARED], "devices": "emulated"},
        {"devices": "emulated"},
    ],
)
def test_what_the_template_makes_passes_and_carries_our_mark(fields):
    definition = check(render(**fields))
    assert domain_xml.find_definition(definition.xml) == definition.digest
    assert check(render(**fields)) == definition
    assert check(render(**fields, memory_mib=513)).digest != definition.digest


def places() -> list[tuple[int, str]]:
    """(number of the element, name of the attribute) of everything in the template; "" is the element's text."""
    elements = ElementTree.fromstring(XML).iter()
    return [(n, name) for n, element in enumerate(elements) for name in ["", *element.attrib]]


@pytest.mark.parametrize(
    "value", ["/etc/shadow", "../../etc/shadow", "br-admin", "lh8-frontend", "$(id)", "' x='"]
)
@pytest.mark.parametrize("place", places(), ids=lambda place: f"{place[0]}{place[1] and '-'}{place[1]}")
def test_no_value_can_be_replaced_by_one_of_the_host_s(place, value):
    root = ElementTree.fromstring(XML)
    element = list(root.iter())[place[0]]
    if place[1]:
        element.set(place[1], value)
    else:
        element.text = value
    with pytest.raises(Refused):
        check(ElementTree.tostring(root, encoding="unicode"))


@pytest.mark.parametrize("number", sorted({number for number, _ in places()}))
@pytest.mark.parametrize("what", ["attribute", "child", "tail"])
def test_nothing_can_be_added_anywhere(number, what):
    root = ElementTree.fromstring(XML)
    element = list(root.iter())[number]
    if what == "attribute":
        element.set("startupPolicy", "optional")
    elif what == "child":
        ElementTree.SubElement(element, "source", {"dev": "/dev/sda"})
    elif element is root:
        element.text = "text"
    else:
        element.tail = "text"
    with pytest.raises(Refused):
        check(ElementTree.tostring(root, encoding="unicode"))


@pytest.mark.parametrize(
    "device",
    [
        '<disk type="block" device="disk"><source dev="/dev/sda"/><target dev="vdb"/></disk>',
        '<disk type="file" device="disk"><source file="/d/iso/lh7-frontend.iso"/></disk>',
        '<disk device="disk"><source file="/d/iso/lh7-frontend.iso"/><target dev="hda"/></disk>',
        '<hostdev mode="subsystem" type="pci"/>',
        '<filesystem type="mount"><source dir="/"/><target dir="x"/></filesystem>',
        '<interface type="direct"><source dev="eth0"/></interface>',
        '<interface type="bridge"><source bridge="lh7-br"/><script path="/tmp/x"/></interface>',
        '<serial type="tcp"><source mode="bind" host="0.0.0.0" service="1"/></serial>',
        "<emulator>/tmp/qemu</emulator>",
        '<graphics type="vnc" listen="0.0.0.0"/>',
        '<redirdev bus="usb" type="tcp"/>',
        '<tpm model="tpm-tis"><backend type="passthrough"/></tpm>',
    ],
)
def test_no_other_device_gets_in(device):
    with pytest.raises(Refused) as refused:
        check(XML.replace("</devices>", f"{device}</devices>"))
    assert refused.value.error.code == "out_of_remit"


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<domain",
        "<domain/>",
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/shadow">]><domain>&a;</domain>',
        "<domain><!-- x --></domain>",
        "<domain>" + "<os></os>" * 400 + "</domain>",
        "x" * (domain_xml.MAX_XML + 1),
    ],
)
def test_what_is_no_definition_is_refused(xml):
    with pytest.raises(Refused) as refused:
        check(xml)
    assert refused.value.error.code == "bad_request"


def test_a_secret_must_come_with_the_request():
    with pytest.raises(Refused, match="secret that is not among those"):
        domain_xml.check(XML, ALLOWED, frozenset(TARGETS[:1]))


def test_another_cluster_s_names_are_refused():
    for old, new in [("lh7-frontend-home", "lh8-frontend-home"), ("lh7-br", "lh8-br"), ("lh7-t0", "lh8-t0")]:
        with pytest.raises(Refused):
            check(XML.replace(old, new))


def test_what_the_template_does_not_make_is_not_allowed_either():
    """A place that no definition of ours has is a hole waiting for a use."""
    made: set[str] = set()
    on_host = DEVICES[0] | {"is_shared": True}
    for fields in ({}, {"virt_type": "kvm"}, {"disks": [*DEVICES, on_host]}, {"disks": [*DISKS, SHARED]}):
        root = ElementTree.fromstring(render(**fields))
        made |= {place for place, _ in domain_xml.places(root)}
    assert set(ALLOWED) == made
