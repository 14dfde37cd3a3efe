# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of operations: each a module of the shape in shape.py. How to write one: docs/operations.rst."""

from __future__ import annotations

from typing import Any

from workers.node.ops import domain, file, image, iso, null, report, tgt, vlan, vxlan
from workers.node.ops.shape import Op

OPS: dict[str, Op[Any, Any]] = {
    "vxlan": vxlan,
    "vlan": vlan,
    "file": file,
    # "lvm": thin volumes and snapshot clones, for hosts with device-mapper
    "tgt": tgt,
    # "lio": export by the kernel's own target
    # "open_iscsi": the host logs in, where the hypervisor cannot
    "iso": iso,
    "domain": domain,
    "null": null,
    # "xen": domains for hosts without hardware virtualization
    "report": report,
    "image": image,
}
