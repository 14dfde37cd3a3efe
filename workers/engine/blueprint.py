# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""From a reservation's rows to what `plan.layout` wants to know, and on to its resource rows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from app.db.reservation import Reservation
from app.db.site import Host
from app.db.software import rolls_of
from app.domain.errors import SiteError
from app.domain.roll import resolve
from app.settings import Settings
from workers.engine import drivers, secrets
from workers.engine.advance import Laid
from workers.plan.image import Image, plan_image
from workers.plan.layout import Cluster, Guest, HostFacts, lay_out
from workers.plan.naming import Names
from workers.plan.site_roll import Frontend, Node, Site, User, site_roll

ROOT = Path(__file__).parents[2]
# The frontend has the first address of the private subnet, compute node i the i-th after the first 256.
FIRST_NODE = 256


class Blueprint:
    """The rolls and templates of this installation, read once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rolls = rolls_of(settings)
        self.site_key = secrets.load_site_key(Path(settings.site_key_file))
        loader = jinja2.FileSystemLoader(ROOT / "templates" / "install")
        environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self.domain = environment.get_template(
            "xen.xml.j2" if settings.hypervisor == "xen" else "domain.xml.j2"
        )

    def lay_out(self, row: Reservation, hosts: Mapping[int, Host], network_id: int, public: int) -> Laid:
        """The reservation's resource rows, once its network id and public address are chosen."""
        settings, net = self.settings, self.settings.network
        # A saved cluster keeps its names with its disks: addresses, identities and secrets are made of them.
        names = Names(settings.mark, row.saved_id or row.id, settings.storage.iqn_base)
        made_of = {node.id: node.group.appliance if node.group else node.kind for node in row.nodes}
        images = {name: self._image(name, row.rolls) for name in dict.fromkeys(made_of.values())}
        private = ipaddress.IPv4Network(net.private)
        guests = tuple(
            Guest(
                id=node.id,
                position=node.position,
                name=node.name,
                host=hosts[node.host_id].name,
                storage=hosts[node.storage_id].name,
                vcpus=node.vcpus,
                memory_mib=node.memory_mib,
                disk_mib=node.disk_gib * 1024,
                image=images[made_of[node.id]].name,
                address=str(private[1 if node.position == 0 else FIRST_NODE + node.position]),
                devices=self.rolls[made_of[node.id]].devices,
            )
            for node in row.nodes
            if node.leaving_at is None
        )
        for guest in guests:
            storage = next(host for host in hosts.values() if host.name == guest.storage)
            if "builder" not in storage.role_names:
                raise SiteError(
                    f"{storage.name} holds volumes but has not the role builder: it could not make images."
                )
        cluster = Cluster(
            names=names,
            guests=guests,
            hosts={host.name: _facts(host, settings) for host in hosts.values()},
            network_id=network_id,
            home_mib=row.home_gib * 1024,
            images={image.name: _image_args(image) for image in images.values()},
            site_roll=site_roll(self._site(row, names, guests, made_of.values(), public)),
            network_driver=net.driver,
            network_parent=net.parent,
            mtu=net.mtu,
            storage=settings.storage,
            public_bridge=net.public_bridge,
            hypervisor=settings.hypervisor,
            portals=settings.portals,
            shared_mib=row.shared_disk_gib * 1024,
            leaving=tuple(hosts[node.host_id].name for node in row.nodes if node.leaving_at is not None),
            has_disks=row.saved_id is not None,
        )
        rows = lay_out(cluster, lambda fields: self.domain.render(**fields))
        return Laid(rows, secrets.host_public_key(self.site_key, names.key))

    def _image(self, made_of: str, chosen: list[str]) -> Image:
        """The golden image of the frontend, or of the nodes of an appliance."""
        kind = "frontend" if made_of == "frontend" else "compute"
        wanted = resolve(self.rolls, {"base", kind, made_of, *chosen})
        return plan_image(kind, wanted, suite=self.settings.image.suite, mirror=self.settings.image.mirror)

    def _site(
        self,
        row: Reservation,
        names: Names,
        guests: tuple[Guest, ...],
        made_of: Iterable[str],
        public: int,
    ) -> Site:
        net, head = self.settings.network, guests[0]
        group_of = {node.id: node.group.name for node in row.nodes if node.group}
        return Site(
            cluster=row.saved.name if row.saved else row.name,
            instance=row.name,
            frontend=Frontend(
                name=head.name,
                private_address=head.address,
                private_mac=names.mac(0, 0),
                public_address=str(ipaddress.IPv4Address(public)),
                public_mac=names.mac(0, 1),
                public_prefix=ipaddress.IPv4Network(net.public).prefixlen,
                public_gateway=net.public_gateway,
            ),
            private_network=net.private,
            mtu=net.mtu,
            nodes=tuple(
                Node(
                    guest.name,
                    group_of[guest.id],
                    names.mac(guest.position, 0),
                    guest.address,
                    guest.vcpus,
                    guest.memory_mib,
                )
                for guest in guests[1:]
            ),
            users=tuple(User(user.name, user.uid, tuple(user.keys)) for user in row.users),
            rolls=tuple(roll.name for roll in resolve(self.rolls, {"base", "compute", *made_of, *row.rolls})),
            dns=net.dns,
            outside_check=net.outside_check or net.public_gateway,
            munge_key=f"munge:{names.key}",
            host_key=f"hostkey:{names.key}",
        )


def _facts(host: Host, settings: Settings) -> HostFacts:
    initiator = str(host.facts.get("initiator") or "")
    if settings.storage.export == "lio" and host.role_names & set(drivers.GUEST_HOSTS):
        wrong = drivers.initiator(settings, host.facts)
        if wrong:
            raise SiteError(f"{host.name}: {wrong[0]}; then run `leasehold host check {host.name}`.")
    virt_type = host.facts.get("virt_type") or "qemu"
    storage_address = host.storage_address or host.data_address
    return HostFacts(
        host.name, host.id, host.data_address, storage_address, virt_type, settings.host_dir, initiator
    )


def _image_args(image: Image) -> dict[str, Any]:
    args = asdict(image)
    del args["kind"]
    args["image"] = args.pop("name")
    return args
