# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Blazar 18's own manager and host plugin on SQLite, booking leases of four hosts. Run by the Python that has Blazar.

What leaves the process is stubbed: Keystone's trusts, Nova's aggregates, notifications. Usage:
booking_blazar.py HOSTS LEASES RUNS; prints a JSON list of the wall seconds of each create_lease after a warm-up.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
import tempfile
import time
import types
import uuid
from pathlib import Path
from typing import Any

from blazar import config as blazar_config
from blazar import context, enforcement
from blazar.db.sqlalchemy import api as database
from blazar.db.sqlalchemy import facade_wrapper, models
from blazar.manager import service
from blazar.notification import api as notification
from blazar.plugins.oshosts import host_plugin
from blazar.utils import trusts
from blazar.utils.openstack import nova
from oslo_db import options

PER = 4
FIRST = datetime.datetime(2030, 1, 1)
NEW = datetime.datetime(2031, 1, 1)


class Context:
    """Stands for a Keystone context."""

    project_id = "p1"

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def to_dict(self) -> dict[str, Any]:
        return {"service_catalog": []}


class Pool:
    """Stands for Nova's host aggregates."""

    count = 0

    def create(self, name: str, az: str) -> types.SimpleNamespace:
        Pool.count += 1
        return types.SimpleNamespace(id=Pool.count)

    def add_computehost(self, *_: object) -> None:
        pass

    def get_computehosts(self, *_: object) -> list[str]:
        return []

    def delete(self, *_: object) -> None:
        pass


def manager(file: str) -> service.ManagerService:
    conf = blazar_config.cfg.CONF
    conf(args=[], project="blazar")
    options.set_defaults(conf)
    conf.set_override("connection", f"sqlite:///{file}", group="database")
    conf.set_override("plugins", ["physical.host.plugin"], group="manager")
    logging.disable(logging.CRITICAL)
    facade_wrapper._clear_engine()
    database.setup_db()
    trusts.create_ctx_from_trust = lambda _: Context()
    service.trusts.create_ctx_from_trust = trusts.create_ctx_from_trust
    context.current = Context
    notification.send_lease_notification = lambda *_, **__: None
    nova.ReservationPool = Pool
    plugin = host_plugin.PhysicalHostPlugin.__new__(host_plugin.PhysicalHostPlugin)
    conf.register_opts(plugin.get_plugin_opts(), group="physical:host")
    made = service.ManagerService.__new__(service.ManagerService)
    made.plugins = {"physical:host": plugin}
    actions = ("on_start", "on_end", "before_end")
    made.resource_actions = {"physical:host": {name: getattr(plugin, name) for name in actions}}
    made.enforcement = enforcement.UsageEnforcement()
    made.enforcement.format_context = lambda *_: {}
    return made


def fill(hosts: int, leases: int) -> None:
    """`leases` leases of an hour, each of four hosts, side by side as long as there are hosts."""
    with facade_wrapper.session_for_read() as session:
        engine = session.get_bind()
    rows: dict[Any, list[dict[str, Any]]] = {
        m: []
        for m in (
            models.Lease,
            models.Reservation,
            models.ComputeHostReservation,
            models.ComputeHostAllocation,
            models.Event,
        )
    }
    for number in range(leases):
        hour, group = divmod(number, max(1, hosts // PER))
        start = FIRST + datetime.timedelta(hours=hour)
        end = start + datetime.timedelta(minutes=59)
        lease, booked = str(uuid.uuid4()), str(uuid.uuid4())
        rows[models.Lease].append(
            {
                "id": lease,
                "name": f"l{number}",
                "user_id": "u",
                "project_id": "p",
                "start_date": start,
                "end_date": end,
                "trust_id": "t",
                "status": "PENDING",
                "degraded": False,
            }
        )
        rows[models.Reservation].append(
            {
                "id": booked,
                "lease_id": lease,
                "resource_id": booked,
                "resource_type": "physical:host",
                "status": "pending",
                "missing_resources": False,
                "resources_changed": False,
            }
        )
        rows[models.ComputeHostReservation].append(
            {
                "id": booked,
                "reservation_id": booked,
                "aggregate_id": 1,
                "resource_properties": "",
                "count_range": "4-4",
                "hypervisor_properties": "",
                "before_end": "default",
            }
        )
        for index in range(PER):
            host = str((group * PER + index) % hosts + 1)
            rows[models.ComputeHostAllocation].append(
                {"id": str(uuid.uuid4()), "compute_host_id": host, "reservation_id": booked}
            )
        for moment, kind in ((start, "start_lease"), (end, "end_lease")):
            rows[models.Event].append(
                {
                    "id": str(uuid.uuid4()),
                    "lease_id": lease,
                    "event_type": kind,
                    "time": moment,
                    "status": "UNDONE",
                }
            )
    with engine.begin() as connection:
        connection.execute(models.ComputeHost.__table__.insert(), [_host(n) for n in range(1, hosts + 1)])
        for model, lines in rows.items():
            connection.execute(model.__table__.insert(), lines)


def _host(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "vcpus": 8,
        "cpu_info": "",
        "hypervisor_type": "QEMU",
        "hypervisor_version": 1,
        "hypervisor_hostname": f"h{number}",
        "service_name": f"h{number}",
        "memory_mb": 8192,
        "local_gb": 100,
        "status": "up",
        "availability_zone": "",
        "trust_id": "t",
        "reservable": True,
    }


def create(made: service.ManagerService, number: int) -> float:
    start = NEW + datetime.timedelta(hours=number)
    values = {
        "name": f"new{number}",
        "user_id": "u",
        "trust_id": "t",
        "start_date": f"{start:%Y-%m-%d %H:%M}",
        "end_date": f"{start + datetime.timedelta(minutes=59):%Y-%m-%d %H:%M}",
        "events": [],
        "reservations": [
            {
                "resource_type": "physical:host",
                "min": PER,
                "max": PER,
                "hypervisor_properties": "",
                "resource_properties": "",
            }
        ],
    }
    begin = time.perf_counter()
    made.create_lease(values)
    return time.perf_counter() - begin


def main() -> None:
    hosts, leases, runs = (int(word) for word in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as folder:
        made = manager(str(Path(folder) / "blazar.sqlite"))
        fill(hosts, leases)
        create(made, 0)
        print(json.dumps([create(made, number + 1) for number in range(runs)]))


if __name__ == "__main__":
    main()
