# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""From a reservation to the things that must stand on hosts, and which of them each one needs.

The result is data for resource rows; nothing here looks at a host, a clock or the database. Names come from
`naming`, so laying out twice gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from app.settings import Storage
from workers.plan.naming import Names

Key = tuple[str, str, str]
# Where an export shows the volume: LUN 0 of tgt is its own controller.
LUNS = {"tgt": 1, "lio": 0}
RenderDomain = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Guest:
    """One node as placed: on which hosts its machine and its volumes are. Sizes in MiB.

    `devices` is one of app.domain.roll.DEVICES.
    """

    id: int
    position: int
    name: str
    host: str
    storage: str
    vcpus: int
    memory_mib: int
    disk_mib: int
    image: str
    address: str
    devices: str = "virtio"


@dataclass(frozen=True)
class HostFacts:
    """What laying out needs to know of a host: its addresses on the data and the storage network, and how guests
    run there.

    `number` is its row's, `initiator` the IQN with which it logs in itself.
    """

    name: str
    number: int
    data_address: str
    storage_address: str
    virt_type: str = "qemu"
    dir: str = "/var/lib/leasehold"
    initiator: str = ""


@dataclass(frozen=True)
class Cluster:
    """A virtual cluster whose numbers are all chosen. guests[0] is the frontend. `images`: name -> op arguments.

    Within `portals` hosts have addresses in the cluster's own network, for its disks; None: the storage network.
    """

    names: Names
    guests: tuple[Guest, ...]
    hosts: Mapping[str, HostFacts]
    network_id: int
    home_mib: int
    images: Mapping[str, Mapping[str, Any]]
    site_roll: Mapping[str, Any]
    network_driver: str
    network_parent: str
    mtu: int
    storage: Storage
    public_bridge: str
    hypervisor: str = "libvirt"
    portals: IPv4Network | None = None

    def portal(self, storage: str) -> str:
        """The address at which a storage host's targets for this cluster are."""
        if self.portals is None:
            return self.hosts[storage].storage_address
        number = self.hosts[storage].number
        return str(self.names.storage_address(self.portals, self.network_id, number).ip)

    @property
    def edition(self) -> str:
        """Which edition of the site roll this is."""
        return str(self.site_roll["leasehold/edition"]).strip()


@dataclass(frozen=True)
class Row:
    """One resource row to be: `needs` are keys (host, op, name) of other rows."""

    host: str
    op: str
    name: str
    label: str
    args: Mapping[str, Any]
    needs: tuple[Key, ...] = ()
    node_id: int | None = None
    is_shared: bool = field(default=False)

    @property
    def key(self) -> Key:
        """What identifies the row on the site."""
        return (self.host, self.op, self.name)


def lay_out(cluster: Cluster, render_domain: RenderDomain) -> list[Row]:
    """All rows of the cluster, every row after those it needs.

    `render_domain` turns the fields of a guest into libvirt's XML (templates/install/domain.xml.j2, or xen.xml.j2).
    """
    frontend, computes = cluster.guests[0], cluster.guests[1:]
    of_guests = [guest.host for guest in cluster.guests]
    on = [*of_guests, *(guest.storage for guest in cluster.guests)] if cluster.portals else of_guests
    links = {name: _link(cluster, name) for name in dict.fromkeys(on)}
    rows = list(links.values())
    if (
        cluster.hypervisor == "null" and cluster.storage.attach == "qemu"
    ):  # the null hypervisor attaches nothing
        return [*rows, *_null_guests(cluster, links, {})]
    rows += [_address(cluster, link) for link in links.values() if cluster.portals]
    images = {
        key: _image(cluster, *key) for key in dict.fromkeys((g.storage, g.image) for g in cluster.guests)
    }
    rows += images.values()
    if cluster.storage.volume == "lvm":
        images = {key: _golden(cluster, image) for key, image in images.items()}
        rows += images.values()
    disks: dict[int, list[list[Row]]] = {}
    for guest in cluster.guests:
        root = _disk(cluster, guest, "root", guest.disk_mib, images[guest.storage, guest.image])
        disks[guest.position] = [root]
        if guest is frontend:  # its disks come first: everything waits for the frontend
            disks[guest.position].append(_disk(cluster, guest, "home", cluster.home_mib, None))
        rows += [row for disk in disks[guest.position] for row in disk]
    if cluster.hypervisor == "null":
        return [*rows, *_null_guests(cluster, links, disks)]
    iso = _iso(cluster, frontend)
    rows.append(iso)
    head = _domain(cluster, frontend, render_domain, disks[0], (links[frontend.host].key, iso.key))
    rows.append(head)
    for guest in computes:
        needs = (links[guest.host].key, head.key)
        rows.append(_domain(cluster, guest, render_domain, disks[guest.position], needs))
    domains = tuple(row.key for row in rows if row.op == head.op)
    rows.append(
        Row(
            frontend.host,
            "report",
            head.name,
            "acceptance test inside the cluster",
            {"domain": head.name, "event": "accepted", "edition": cluster.edition},
            domains,
            frontend.id,
        )
    )
    return rows


def _link(cluster: Cluster, host: str) -> Row:
    names, driver = cluster.names, cluster.network_driver
    ends = sorted({cluster.hosts[guest.host].data_address for guest in cluster.guests})
    mine = cluster.hosts[host].data_address
    args: dict[str, Any] = {
        "link": names.uplink(driver),
        "bridge": names.bridge,
        "mtu": cluster.mtu,
        "alias": names.alias,
    }
    if driver == "vxlan":
        args |= {"vni": cluster.network_id, "local": mine, "peers": [end for end in ends if end != mine]}
    else:
        args |= {"vid": cluster.network_id, "parent": cluster.network_parent}
    return Row(host, driver, names.bridge, f"private network {cluster.network_id} on {host}", args)


def _address(cluster: Cluster, link: Row) -> Row:
    """The host's address in the cluster's network."""
    assert cluster.portals is not None
    host, number = link.host, cluster.hosts[link.host].number
    address = cluster.names.storage_address(cluster.portals, cluster.network_id, number)
    args = {
        "bridge": cluster.names.bridge,
        "address": str(address),
        "alias": cluster.names.alias,
        "serves": any(guest.storage == host for guest in cluster.guests),
        "logs_in": any(guest.host == host for guest in cluster.guests),
    }
    return Row(host, "address", link.name, f"address of {host} for disks, {address.ip}", args, (link.key,))


def _on_own_network(cluster: Cluster, host: str) -> tuple[Key, ...]:
    """What an export or a login on the host needs of the cluster's network."""
    return ((host, "address", cluster.names.bridge),) if cluster.portals else ()


def _image(cluster: Cluster, storage: str, image: str) -> Row:
    return Row(storage, "image", image, f"golden image {image}", cluster.images[image], is_shared=True)


def _golden(cluster: Cluster, image: Row) -> Row:
    """A golden image as a thin volume, beside its file."""
    args = {"image": image.name, **_pool(cluster)}
    return Row(
        image.host, "golden", image.name, f"golden volume {image.name}", args, (image.key,), is_shared=True
    )


def _pool(cluster: Cluster) -> dict[str, Any]:
    storage = cluster.storage
    return {"pool_mib": storage.pool_gib * 1024, "full_percent": storage.full_percent}


def _disk(cluster: Cluster, guest: Guest, what: str, size_mib: int, image: Row | None) -> list[Row]:
    """The volume, its export, and the host's login where the host attaches it; the last is what a guest needs."""
    volume = cluster.names.volume(guest.name, what)
    args: dict[str, Any] = {"volume": volume, "size_mib": size_mib, "image": image.name if image else None}
    if cluster.storage.volume != "file":
        args |= {"wipe": cluster.storage.wipe}
    if cluster.storage.volume == "lvm":
        args |= _pool(cluster)
    label, needs = f"volume {guest.name} {what}", (image.key, *image.needs) if image else ()
    rows = [Row(guest.storage, cluster.storage.volume, volume, label, args, needs, guest.id)]
    label = f"export of {guest.name} {what} to {guest.host}"
    args = _export(cluster, guest, volume)
    needs = (rows[0].key, *_on_own_network(cluster, guest.storage))
    rows.append(Row(guest.storage, cluster.storage.export, volume, label, args, needs, guest.id))
    if cluster.storage.attach == "open_iscsi":
        label = f"login of {guest.host} to {guest.name} {what}"
        args = _login(cluster, guest, volume)
        needs = (rows[1].key, *_on_own_network(cluster, guest.host))
        rows.append(Row(guest.host, "open_iscsi", volume, label, args, needs, guest.id))
    return rows


def _export(cluster: Cluster, guest: Guest, volume: str) -> dict[str, Any]:
    """Arguments of the export: `tgt` knows the host by its address, `lio` by its IQN."""
    host = cluster.hosts[guest.host]
    shared = {
        "target": cluster.names.target(volume),
        "volume": volume,
        "user": volume,
        "password": {"secret": f"chap:{volume}"},
    }
    if cluster.storage.export == "lio":
        portal = cluster.portal(guest.storage)
        mutual = {"secret": f"chap:{volume}-target"}
        return shared | {"initiator": host.initiator, "portal": portal, "mutual": mutual}
    return shared | {"initiator": host.storage_address, "store": cluster.storage.volume}


def _login(cluster: Cluster, guest: Guest, volume: str) -> dict[str, Any]:
    lio = cluster.storage.export == "lio"
    return {
        "target": cluster.names.target(volume),
        "portal": cluster.portal(guest.storage),
        "lun": LUNS[cluster.storage.export],
        "user": volume,
        "password": {"secret": f"chap:{volume}"},
        "mutual": {"secret": f"chap:{volume}-target"} if lio else None,
        "wait_s": cluster.storage.wait_s,
    }


def _iso(cluster: Cluster, frontend: Guest) -> Row:
    name = cluster.names.iso(frontend.name, cluster.edition)
    args = {"iso": name, "label": "cidata", "files": dict(cluster.site_roll)}
    return Row(frontend.host, "iso", name, "site roll on the frontend's ISO", args, (), frontend.id)


def _domain(
    cluster: Cluster, guest: Guest, render: RenderDomain, volumes: list[list[Row]], needs: tuple[Key, ...]
) -> Row:
    names, host = cluster.names, cluster.hosts[guest.host]
    name, is_frontend = names.domain(guest.name), guest.position == 0
    disks = [_domain_disk(cluster, guest, rows[-1]) for rows in volumes]
    nics = [{"bridge": names.bridge, "mac": names.mac(guest.position, 0), "tap": names.tap(guest.position)}]
    if is_frontend:
        nics.append({"bridge": cluster.public_bridge, "mac": names.mac(0, 1), "tap": names.public_tap})
    fields = {
        "name": name,
        "uuid": names.uuid(guest.name),
        "alias": names.alias,
        "virt_type": host.virt_type,
        "devices": guest.devices,
        "vcpus": guest.vcpus,
        "memory_mib": guest.memory_mib,
        "disks": disks,
        "iso": f"{host.dir}/iso/{names.iso(guest.name, cluster.edition)}.iso" if is_frontend else None,
        "nics": nics,
        "serial": f"{host.dir}/domains/{name}.serial",
        "report": f"{host.dir}/domains/{name}.report",
    }
    args = {
        "domain": name,
        "uuid": fields["uuid"],
        "xml": render(fields),
        "ready_event": "ready",
        "edition": cluster.edition if is_frontend else None,
    }
    op = "xen" if cluster.hypervisor == "xen" else "domain"
    if op == "domain":
        args["chap"] = _chap(cluster, volumes)
    label = f"guest {guest.name} on {guest.host}"
    return Row(guest.host, op, name, label, args, (*(r[-1].key for r in volumes), *needs), guest.id)


def _chap(cluster: Cluster, volumes: list[list[Row]]) -> list[dict[str, Any]]:
    """The secrets with which QEMU logs in to a guest's volumes itself; none where the host does."""
    if cluster.storage.attach != "qemu":
        return []
    return [
        {
            "uuid": cluster.names.uuid(export.name),
            "usage": export.args["target"],
            "password": {"secret": f"chap:{export.name}"},
        }
        for export in (rows[1] for rows in volumes)
    ]


def _domain_disk(cluster: Cluster, guest: Guest, row: Row) -> dict[str, Any]:
    """A disk as the domain's template takes it: by the hypervisor's own login, or the host's device."""
    serial, target = row.name.rsplit("-", 1)[1], row.args["target"]
    portal = cluster.portal(guest.storage)
    if row.op == "open_iscsi":
        # The name that udev's rules give a logged-in volume (60-persistent-storage.rules).
        lun = LUNS[cluster.storage.export]
        return {
            "serial": serial,
            "device": f"/dev/disk/by-path/ip-{portal}:3260-iscsi-{target}-lun-{lun}",
        }
    return {"target": target, "portal": portal, "user": row.args["user"], "serial": serial}


def _null_guests(
    cluster: Cluster, links: Mapping[str, Row], disks: Mapping[int, list[list[Row]]]
) -> list[Row]:
    """The guests of the null hypervisor: no ISO, nothing to report, and disks where the host attaches them itself."""
    rows: list[Row] = []
    for guest in cluster.guests:
        name = cluster.names.domain(guest.name)
        args = {"domain": name, "vcpus": guest.vcpus, "memory_mib": guest.memory_mib}
        attached = [disk[-1].key for disk in disks.get(guest.position, [])]
        needs = (links[guest.host].key, *attached, *(row.key for row in rows[:1]))
        rows.append(
            Row(guest.host, "null", name, f"guest {guest.name} on {guest.host}", args, needs, guest.id)
        )
    return rows
