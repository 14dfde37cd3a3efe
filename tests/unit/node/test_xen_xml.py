# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The template for Xen passes; one with anything in it changed to something of the host's does not."""

from pathlib import Path
from xml.etree import ElementTree

import jinja2
import pytest

from workers.node import domain_xml, xen_xml
from workers.node.protocol import Refused, Remit

NAME, UUID = "lh7-frontend", "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11"
ALLOWED = xen_xml.allowed_places(NAME, UUID, Remit("lh", "/d", (), ("br-public",)))
DEVICES = [
    f"/dev/disk/by-path/ip-198.18.0.14:3260-iscsi-iqn.2026-11.org.leasehold:lh7-frontend-{what}-lun-0"
    for what in ("root", "home")
]
ISO = "/d/iso/lh7-frontend-3f9a12cd.iso"


def render(iso: str | None = ISO) -> str:
    folder = Path(__file__).parents[3] / "templates" / "install"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("xen.xml.j2").render(
        name=NAME,
        uuid=UUID,
        vcpus=2,
        memory_mib=512,
        disks=[{"device": device} for device in DEVICES],
        iso=iso,
        nics=[
            {"bridge": "lh7-br", "mac": "02:00:07:00:00:00", "tap": "lh7-t0"},
            {"bridge": "br-public", "mac": "02:00:07:00:10:00", "tap": "lh7-p0"},
        ],
    )


XML = render()


def places() -> list[tuple[int, str]]:
    """(number of the element, name of the attribute) of everything in the template; "" is the element's text."""
    elements = ElementTree.fromstring(XML).iter()
    return [(n, name) for n, element in enumerate(elements) for name in ["", *element.attrib]]


def test_what_the_template_makes_passes_and_tells_what_an_operation_must_know():
    definition = domain_xml.check(XML, ALLOWED)
    assert domain_xml.find_definition(definition.xml) == definition.digest
    assert (definition.memory_mib, definition.disc, definition.devices) == (512, ISO, tuple(DEVICES))
    assert domain_xml.check(render(iso=None), ALLOWED).disc is None


@pytest.mark.parametrize("value", ["/etc/shadow", "br-admin", "lh8-frontend", "/boot/vmlinuz", "' x='"])
@pytest.mark.parametrize("place", places(), ids=lambda place: f"{place[0]}{place[1] and '-'}{place[1]}")
def test_no_value_can_be_replaced_by_one_of_the_host_s(place, value):
    root = ElementTree.fromstring(XML)
    element = list(root.iter())[place[0]]
    if place[1]:
        element.set(place[1], value)
    else:
        element.text = value
    with pytest.raises(Refused):
        domain_xml.check(ElementTree.tostring(root, encoding="unicode"), ALLOWED)


@pytest.mark.parametrize(
    "device",
    [
        '<disk type="block" device="disk"><source dev="/dev/vda"/><target dev="xvdb"/></disk>',
        '<disk type="file" device="disk"><driver name="qemu" type="qcow2"/></disk>',
        '<interface type="bridge"><source bridge="lh7-br"/><script path="/tmp/x"/></interface>',
        '<channel type="unix"><source path="/run/x"/><target type="xen" name="x"/></channel>',
        '<hostdev mode="subsystem" type="pci"/>',
        "<emulator>/tmp/qemu</emulator>",
    ],
)
def test_no_other_device_gets_in(device):
    with pytest.raises(Refused) as refused:
        domain_xml.check(XML.replace("</devices>", f"{device}</devices>"), ALLOWED)
    assert refused.value.error.code == "out_of_remit"


def test_what_the_template_does_not_make_is_not_allowed_either():
    assert {place for place, _ in domain_xml.places(ElementTree.fromstring(XML))} == set(ALLOWED)
