# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of operations: each a module of the shape in shape.py. How to write one: docs/operations.rst."""

from __future__ import annotations

from typing import Any

from workers.node.ops import (
    address,
    domain,
    file,
    golden,
    image,
    iso,
    lio,
    lvm,
    lvm_thick,
    null,
    open_iscsi,
    report,
    tgt,
    vlan,
    vxlan,
    xen,
)
from workers.node.ops.shape import Op

OPS: dict[str, Op[Any, Any]] = {
    "vxlan": vxlan,
    "vlan": vlan,
    "address": address,
    "file": file,
    "lvm": lvm,
    "lvm_thick": lvm_thick,
    "golden": golden,
    "tgt": tgt,
    "lio": lio,
    "open_iscsi": open_iscsi,
    "iso": iso,
    "domain": domain,
    "null": null,
    "xen": xen,
    "report": report,
    "image": image,
}
