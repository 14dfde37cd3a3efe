# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Start the guests of a cluster that stands by hand: what bench/provision.py is measured against.

An experienced operator's way with nothing in between: the disks are made afresh from the golden images and the same
definitions started with virsh on the same hosts. Networks, exports and the ISO stay as they are, in the hand's favour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lab
from bench.site import LAB
from workers.engine import secrets

FOLDER = "/var/lib/leasehold"
STEP_S = 180.0
VIRSH = ("virsh", "-q", "-c", "qemu:///system")


@dataclass(frozen=True)
class Row:
    """What is needed of a resource row: on which host it is, which operation, its arguments."""

    host: str
    op: str
    args: Mapping[str, Any]


class Hand:
    """The hand over one cluster; `site_key` is the file from which its iSCSI passwords come."""

    def __init__(self, rows: Iterable[Row], site_key: str) -> None:
        self.rows = list(rows)
        self.site_key = secrets.load_site_key(Path(site_key))
        self.frontend, *self.computes = [row for row in self.rows if row.op == "domain"]

    def stop(self) -> None:
        """Take the power from all guests and forget what they reported; not measured."""
        for row in (self.frontend, *self.computes):
            self._on(row.host, *VIRSH, "destroy", row.args["domain"])
            for ending in ("report", "serial"):
                self._on(row.host, "rm", "-f", f"{FOLDER}/domains/{row.args['domain']}.{ending}")

    def start(self, wait_for_frontend: Callable[[], None]) -> None:
        """Make the disks anew and start all guests, the compute nodes as soon as `wait_for_frontend` returns.

        Their disks are copied while the frontend boots.
        """
        disks = [row for row in self.rows if row.op == "file"]
        first = [row for row in disks if "-frontend-" in row.args["volume"]]
        self._make_disks(first)
        self._boot(self.frontend)
        rest = [row for row in disks if row not in first]
        copying = threading.Thread(target=self._make_disks, args=(rest,), daemon=True)
        copying.start()
        wait_for_frontend()
        copying.join()
        with ThreadPoolExecutor(max(1, len(self.computes))) as pool:
            list(pool.map(self._boot, self.computes))

    def _make_disks(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._make_disk(row)

    def _make_disk(self, row: Row) -> None:
        """Into the same file, which tgtd has open."""
        path = f"{FOLDER}/volumes/{row.args['volume']}.raw"
        if row.args["image"]:
            image = f"{FOLDER}/images/{row.args['image']}.raw"
            self._on(row.host, "cp", "--sparse=always", "--reflink=auto", image, path)
        else:
            self._on(row.host, "truncate", "--size=0", path)
        self._on(row.host, "truncate", f"--size={row.args['size_mib']}M", path)

    def _boot(self, row: Row) -> None:
        for secret in row.args["chap"]:
            text = (
                f"<secret ephemeral='yes' private='yes'><uuid>{secret['uuid']}</uuid>"
                f"<usage type='iscsi'><target>{secret['usage']}</target></usage></secret>"
            )
            self._on(row.host, *VIRSH, "secret-define", "/dev/stdin", text=text)
            password = secrets.derive(self.site_key, secret["password"]["secret"])
            words = ("secret-set-value", secret["uuid"], "--file", "/dev/stdin", "--plain")
            self._on(row.host, *VIRSH, *words, text=password)
        self._on(row.host, *VIRSH, "start", row.args["domain"])
        for secret in row.args["chap"]:
            self._on(row.host, *VIRSH, "secret-undefine", secret["uuid"])

    @staticmethod
    def _on(host: str, *argv: str, text: str | None = None) -> None:
        the_lab = lab.lab(LAB)
        lab.on(the_lab, the_lab.host(host), list(argv), timeout_s=STEP_S, text=text)
