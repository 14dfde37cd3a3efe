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
from workers.plan.naming import SHARED, Names

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
    `shared_mib` is the size of the volume that all guests may write, 0 for none. On the hosts `leaving` are nodes that
    leave: these keep it for as long as they run.
    `has_disks`: its volumes stand, from an earlier slot; other rows need theirs, and none is laid out for them.
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
    shared_mib: int = 0
    leaving: tuple[str, ...] = ()
    has_disks: bool = False

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
    """All rows of the cluster, every row after those it needs, but for the volumes that it has.

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
    cloned = [] if cluster.has_disks else [(guest.storage, guest.image) for guest in cluster.guests]
    images = {key: _image(cluster, *key) for key in dict.fromkeys(cloned)}
    rows += images.values()
    if cluster.storage.volume == "lvm":
        images = {key: _golden(cluster, image) for key, image in images.items()}
        rows += images.values()
    shared = _shared(cluster)
    disks: dict[int, list[list[Row]]] = {}
    for guest in cluster.guests:
        root = _disk(cluster, guest, "root", guest.disk_mib, images.get((guest.storage, guest.image)))
        disks[guest.position] = [root]
        if guest is frontend:  # its disks come first: everything waits for the frontend
            disks[guest.position].append(_disk(cluster, guest, "home", cluster.home_mib, None))
        rows += [row for disk in disks[guest.position] for row in _to_make(cluster, disk)]
        if shared:
            rows += _to_make(cluster, shared) if guest is frontend else ()
            mine = [row for row in shared if row.op != "open_iscsi" or row.host == guest.host]
            disks[guest.position].append(mine)
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


@dataclass(frozen=True)
class _Volume:
    """A volume to be: where, how large, cloned from what, and whose; `label` is what it is called in words.

    The `hosts` are those that use it; the `leaving` ones may still log in.
    """

    name: str
    label: str
    storage: str
    size_mib: int
    image: Row | None
    hosts: tuple[str, ...]
    leaving: tuple[str, ...] = ()
    node_id: int | None = None


def _disk(cluster: Cluster, guest: Guest, what: str, size_mib: int, image: Row | None) -> list[Row]:
    name, label = cluster.names.volume(guest.name, what), f"{guest.name} {what}"
    return _rows_of(
        cluster, _Volume(name, label, guest.storage, size_mib, image, (guest.host,), node_id=guest.id)
    )


def _shared(cluster: Cluster) -> list[Row]:
    """The rows of the volume that all guests may write, beside the frontend's own; none where it is not asked for."""
    if not cluster.shared_mib:
        return []
    hosts = tuple(dict.fromkeys(guest.host for guest in cluster.guests))
    name, storage = cluster.names.shared_volume, cluster.guests[0].storage
    return _rows_of(cluster, _Volume(name, SHARED, storage, cluster.shared_mib, None, hosts, cluster.leaving))


def _to_make(cluster: Cluster, rows: list[Row]) -> list[Row]:
    """A volume's rows that are the cluster's own: not the volume's itself where it stands from an earlier slot."""
    return rows[1:] if cluster.has_disks else rows


def _rows_of(cluster: Cluster, volume: _Volume) -> list[Row]:
    """The volume, its export, and the hosts' logins where they attach it themselves."""
    storage, image = cluster.storage, volume.image
    args: dict[str, Any] = {
        "volume": volume.name,
        "size_mib": volume.size_mib,
        "image": image.name if image else None,
    }
    if storage.volume != "file":
        args |= {"wipe": storage.wipe}
    if storage.volume == "lvm":
        args |= _pool(cluster)
    label, needs = f"volume {volume.label}", (image.key, *image.needs) if image else ()
    rows = [Row(volume.storage, storage.volume, volume.name, label, args, needs, volume.node_id)]
    to = "the hosts of all nodes" if volume.node_id is None else volume.hosts[0]
    label, args = f"export of {volume.label} to {to}", _export(cluster, volume)
    needs = (rows[0].key, *_on_own_network(cluster, volume.storage))
    rows.append(Row(volume.storage, storage.export, volume.name, label, args, needs, volume.node_id))
    for host in volume.hosts if storage.attach == "open_iscsi" else ():
        label, args = f"login of {host} to {volume.label}", _login(cluster, volume)
        needs = (rows[1].key, *_on_own_network(cluster, host))
        rows.append(Row(host, "open_iscsi", volume.name, label, args, needs, volume.node_id))
    return rows


def _export(cluster: Cluster, volume: _Volume) -> dict[str, Any]:
    """Arguments of the export: `tgt` knows hosts by their addresses, `lio` by their IQNs. One is said by itself."""
    lio = cluster.storage.export == "lio"
    hosts = [cluster.hosts[name] for name in (*volume.hosts, *volume.leaving)]
    known = sorted({host.initiator if lio else host.storage_address for host in hosts})
    exported: dict[str, Any] = {
        "target": cluster.names.target(volume.name),
        "volume": volume.name,
        "user": volume.name,
        "password": {"secret": f"chap:{volume.name}"},
        "initiator": known[0] if len(known) == 1 else known,
    }
    if lio:
        mutual = {"secret": f"chap:{volume.name}-target"}
        return exported | {"portal": cluster.portal(volume.storage), "mutual": mutual}
    return exported | {"store": cluster.storage.volume}


def _login(cluster: Cluster, volume: _Volume) -> dict[str, Any]:
    lio = cluster.storage.export == "lio"
    return {
        "target": cluster.names.target(volume.name),
        "portal": cluster.portal(volume.storage),
        "lun": LUNS[cluster.storage.export],
        "user": volume.name,
        "password": {"secret": f"chap:{volume.name}"},
        "mutual": {"secret": f"chap:{volume.name}-target"} if lio else None,
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
    disks = [_domain_disk(cluster, guest, rows) for rows in volumes]
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
        args["chap"] = _chap(cluster, guest, volumes)
    label = f"guest {guest.name} on {guest.host}"
    return Row(guest.host, op, name, label, args, (*(r[-1].key for r in volumes), *needs), guest.id)


def _chap(cluster: Cluster, guest: Guest, volumes: list[list[Row]]) -> list[dict[str, Any]]:
    """The secrets with which QEMU logs in to a guest's volumes itself; none where the host does."""
    if cluster.storage.attach != "qemu":
        return []
    return [
        {
            "uuid": cluster.names.uuid(_secret(cluster, guest, export)),
            "usage": cluster.names.target(_secret(cluster, guest, export)),
            "password": {"secret": f"chap:{export.name}"},
        }
        for export in (rows[1] for rows in volumes)
    ]


def _secret(cluster: Cluster, guest: Guest, export: Row) -> str:
    """What libvirt keeps the secret of an export by: a guest's own, so that no other takes it away as it starts."""
    return cluster.names.volume(guest.name, SHARED) if export.node_id is None else export.name


def _domain_disk(cluster: Cluster, guest: Guest, rows: list[Row]) -> dict[str, Any]:
    """A disk as the domain's template takes it: by the hypervisor's own login, or the host's device."""
    export, row = rows[1], rows[-1]
    serial, target, portal = row.name.rsplit("-", 1)[1], row.args["target"], cluster.portal(export.host)
    disk = {"serial": serial, "is_shared": export.node_id is None}
    if row.op == "open_iscsi":
        # The name that udev's rules give a logged-in volume (60-persistent-storage.rules).
        lun = LUNS[cluster.storage.export]
        return disk | {"device": f"/dev/disk/by-path/ip-{portal}:3260-iscsi-{target}-lun-{lun}"}
    secret = cluster.names.target(_secret(cluster, guest, export))
    return disk | {"target": target, "portal": portal, "user": row.args["user"], "secret": secret}


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
