# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a definition for QEMU may have: what templates/install/domain.xml.j2 makes, and nothing else."""

from __future__ import annotations

import re

from workers.node.domain_xml import ADDRESS, DEVICE, IQN, LABEL, basics, below, interface, iso, logged_in
from workers.node.names import key_of
from workers.node.protocol import Remit


def allowed_places(domain: str, uuid: str, remit: Remit) -> dict[str, str]:
    """Every place that a definition may have, and the pattern of its value ("" = no text of its own)."""
    key, dir = re.escape(key_of(domain)), re.escape(remit.dir)
    table = basics(domain, uuid) | {
        "domain@type": "kvm|qemu",
        "domain/os/type": "hvm",
        "domain/os/type@machine": "pc",
        "domain/features": "",
        "domain/features/acpi": "",
        "domain/features/tcg": "",
        "domain/features/tcg/tb-cache": "[1-9][0-9]{0,8}",
        "domain/features/tcg/tb-cache@unit": "MiB",
        "domain/cpu": "",
        "domain/cpu@mode": "maximum|host-passthrough",
        f"{DEVICE}/controller": "",
        f"{DEVICE}/controller@type": "usb",
        f"{DEVICE}/controller@index": "0",
        f"{DEVICE}/controller@model": "none",
        f"{DEVICE}/memballoon": "",
        f"{DEVICE}/memballoon@model": "none",
        f"{DEVICE}/rng": "",
        f"{DEVICE}/rng@model": "virtio",
        f"{DEVICE}/rng/backend": "/dev/urandom",
        f"{DEVICE}/rng/backend@model": "random",
    }
    disk = _disk("disk", "virtio|sata", "[vs]d[a-h]") | {
        "serial": "[a-z0-9]{1,20}",
        "boot": "",
        "boot@order": "1",
        "shareable": "",
    }
    table |= below(f"{DEVICE}/disk[network]", disk | _iscsi(key))
    table |= below(f"{DEVICE}/disk[block]", disk | logged_in(key))
    drive = _disk("cdrom", "ide", "hda") | {"readonly": ""}
    table |= below(f"{DEVICE}/disk[file]", drive | iso(key, dir))
    model = {"model": "", "model@type": "virtio|e1000e"}
    table |= below(f"{DEVICE}/interface[bridge]", interface(key, remit) | model)
    written = f"{dir}/domains/{re.escape(domain)}"
    # The second port is the report channel of a guest without virtio.
    serial = {"target@type": "isa-serial", "target@port": "0|1"}
    table |= below(f"{DEVICE}/serial[file]", _character(f"{written}[.](?:serial|report)") | serial)
    channel = {"target@type": "virtio", "target@name": "org[.]leasehold[.]report"}
    table |= below(f"{DEVICE}/channel[file]", _character(f"{written}[.]report") | channel)
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
        "source@protocol": "iscsi",
        "source@name": f"{IQN}:{key}-{LABEL}/1",
        "source/host": "",
        "source/host@name": ADDRESS,
        "source/host@port": "3260",
        "source/auth": "",
        "source/auth@username": f"{key}-{LABEL}",
        "source/auth/secret": "",
        "source/auth/secret@type": "iscsi",
        "source/auth/secret@usage": f"{IQN}:{key}-{LABEL}",
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
