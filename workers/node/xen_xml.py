# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a definition for Xen may have: what templates/install/xen.xml.j2 makes, and nothing else."""

from __future__ import annotations

import re

from workers.node.domain_xml import DEVICE, basics, below, interface, iso, logged_in
from workers.node.names import key_of
from workers.node.protocol import Remit

# What boots a guest, inside it: from Debian's package grub-xen-host.
GRUB = "/usr/lib/grub-xen/grub-x86_64-xen.bin"
# The disk that the ISO is: after all that a guest may have of its own.
ISO_DISK = "xvdi"


def allowed_places(domain: str, uuid: str, remit: Remit) -> dict[str, str]:
    """Every place that a definition may have, and the pattern of its value ("" = no text of its own)."""
    key, dir = re.escape(key_of(domain)), re.escape(remit.dir)
    table = basics(domain, uuid) | {
        "domain@type": "xen",
        "domain/os/type": "linux",
        "domain/os/type@machine": "xenpv",
        "domain/os/kernel": re.escape(GRUB),
    }
    image = _disk("qemu", ISO_DISK) | {"driver@type": "raw"}  # never a format that can name further files
    table |= below(f"{DEVICE}/disk[block]", _disk("phy", "xvd[a-h]") | logged_in(key))
    table |= below(f"{DEVICE}/disk[file]", image | iso(key, dir))
    table |= below(f"{DEVICE}/interface[bridge]", interface(key, remit))
    console = {"": "", "@type": "pty", "target": "", "target@type": "xen", "target@port": "0"}
    return table | below(f"{DEVICE}/console", console)


def _disk(driver: str, target: str) -> dict[str, str]:
    return {
        "": "",
        "@type": "block|file",
        "@device": "disk",
        "driver": "",
        "driver@name": driver,
        "source": "",
        "target": "",
        "target@dev": target,
        "target@bus": "xen",
    }
