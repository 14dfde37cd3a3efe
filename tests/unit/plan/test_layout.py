# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a cluster of one frontend and two compute nodes, against a golden file, and what must hold of any.

LEASEHOLD_WRITE_GOLDEN=1 writes the golden file anew; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from app.db.reservation import ClusterUser, Node, NodeGroup, Reservation
from app.db.resource import PASS_OF_OP
from app.db.site import Host, HostRole
from app.domain.errors import SiteError
from app.settings import Image, Network, Settings, Storage
from tests.factories import KEY
from workers.engine.blueprint import Blueprint
from workers.node import domain_xml, qemu_xml
from workers.node.ops import OPS, open_iscsi
from workers.node.protocol import Remit
from workers.plan.layout import Row
from workers.plan.naming import Names

REMIT = Remit("lh", "/var/lib/leasehold", tuple(OPS), ("br-public",), "vg0", "pool")
DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "layout-1+2.json"
ROLLS = str(DATA / "rolls-tiny")
HOSTS = {1: ("gw1", "gateway"), 2: ("c1", "compute"), 3: ("c2", "compute"), 4: ("st1", "storage")}


LaidOut = Callable[..., list[Row]]


def hosts(*storage_roles: str) -> dict[int, Host]:
    """The four hosts of the demo; what `st1` does beside storing can be chosen."""
    made = {}
    for number, (name, role) in HOSTS.items():
        roles = [role, *storage_roles] if role == "storage" else [role]
        made[number] = Host(
            id=number,
            name=name,
            data_address=f"198.18.9.{10 + number}",
            roles=[HostRole(role=role) for role in roles],
            facts={"virt_type": "kvm"} if name == "c2" else {},
        )
    return made


def reservation(names: Iterable[str] = ("node1", "node2"), devel: Iterable[str] = ()) -> Reservation:
    """Reservation 7 with its frontend on gw1 and the compute nodes on c1 and c2 by turns; `devel` are of a group and
    an appliance of that name."""
    plain = NodeGroup(id=700, position=0, name="node", appliance="compute")
    other = NodeGroup(id=701, position=1, name="devel", appliance="devel")
    nodes = [Node(id=70, position=0, name="frontend", kind="frontend", host_id=1)]
    nodes += [
        Node(id=70 + position, position=position, name=name, kind="compute", host_id=2 + (position - 1) % 2)
        for position, name in enumerate([*names, *devel], 1)
    ]
    for node in nodes[1:]:
        node.group = other if node.name in devel else plain
    for node in nodes:
        node.storage_id, node.vcpus, node.memory_mib, node.disk_gib = 4, 1, 512, 4
    users = [ClusterUser(name="alice", uid=2001, keys=[KEY])]
    return Reservation(
        id=7,
        name="class",
        home_gib=1,
        shared_disk_gib=0,
        rolls=["slurm"],
        nodes=nodes,
        users=users,
        groups=[plain, other],
    )


@pytest.fixture
def laid_out(tmp_path: Path) -> LaidOut:
    """``laid_out(row=reservation(), st1=("builder",), **network_settings)`` gives the rows."""
    key = tmp_path / "site.key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)

    def plan(
        row: Reservation | None = None,
        st1: tuple[str, ...] = ("builder",),
        storage: Storage | None = None,
        initiator: str | None = "iqn.1993-08.org.debian:01:{}",
        hypervisor: str = "libvirt",
        storage_addresses: Mapping[int, str] | None = None,
        **over: Any,
    ) -> list[Row]:
        network = Network(**{"dns": ("198.18.9.1",), **over})
        settings = Settings(
            rolls_dir=ROLLS,
            image=Image(suite="tiny"),
            network=network,
            storage=storage or Storage(),
            hypervisor=hypervisor,
            site_key_file=str(key),
        )
        address = int(IPv4Address("198.19.0.101"))
        there = hosts(*st1)
        for number, storage_address in (storage_addresses or {}).items():
            there[number].storage_address = storage_address
        if initiator:
            for host in there.values():
                host.facts = {**host.facts, "initiator": initiator.format(host.name)}
        return list(Blueprint(settings).lay_out(row or reservation(), there, 1000, address).rows)

    return plan


def of(rows: list[Row], op: str) -> list[Row]:
    return [row for row in rows if row.op == op]


def test_rows_are_those_of_the_golden_file(laid_out: LaidOut) -> None:
    rows = json.loads(json.dumps([asdict(row) for row in laid_out()]))
    for row in rows:
        # Configuration spaces, definitions and site rolls are long, and tested elsewhere.
        for name in {"image": ("files", "modes"), "domain": ("xml",), "iso": ("files",)}.get(row["op"], ()):
            del row["args"][name]
    if os.environ.get("LEASEHOLD_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")
    assert rows == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("names", [("node1",), ("node1", "node2"), [f"n{i}" for i in range(1, 41)]])
def test_every_row_comes_after_what_it_needs_and_is_needed_up_to_the_report(
    laid_out: LaidOut, names: Iterable[str]
) -> None:
    rows = laid_out(reservation(names))
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        assert set(row.needs) <= seen, row.key
        assert row.key not in seen
        assert row.op in PASS_OF_OP
        seen.add(row.key)
    (report,) = of(rows, "report")
    reached, edges = {report.key}, {row.key: row.needs for row in rows}
    todo = [report.key]
    while todo:
        fresh = set(edges[todo.pop()]) - reached
        reached |= fresh
        todo += fresh
    assert reached == seen, "a row that nothing needs would be removed before the guests that use it"


def test_guest_needs_its_network_its_disks_and_a_compute_node_its_frontend(laid_out: LaidOut) -> None:
    rows = {row.key: row for row in laid_out()}
    (iso,) = of(list(rows.values()), "iso")
    assert rows["gw1", "domain", "lh7-frontend"].needs == (
        ("st1", "tgt", "lh7-frontend-root"),
        ("st1", "tgt", "lh7-frontend-home"),
        ("gw1", "vxlan", "lh7-br"),
        iso.key,
    )
    assert rows["c2", "domain", "lh7-node2"].needs == (
        ("st1", "tgt", "lh7-node2-root"),
        ("c2", "vxlan", "lh7-br"),
        ("gw1", "domain", "lh7-frontend"),
    )
    (image, *_) = rows["st1", "file", "lh7-node2-root"].needs
    assert (rows[image].op, rows[image].is_shared) == ("image", True)
    assert rows["st1", "file", "lh7-frontend-home"].needs == ()


def test_frontend_has_two_interfaces_and_a_compute_node_one(laid_out: LaidOut) -> None:
    """R11."""
    bridges = {}
    for row in of(laid_out(), "domain"):
        root = ElementTree.fromstring(row.args["xml"])
        bridges[row.name] = [source.get("bridge") for source in root.iterfind(".//interface/source")]
    assert bridges == {
        "lh7-frontend": ["lh7-br", "br-public"],
        "lh7-node1": ["lh7-br"],
        "lh7-node2": ["lh7-br"],
    }


KERNEL = Storage(volume="lvm", export="lio", attach="open_iscsi")


def test_by_lvm_a_disk_is_a_clone_of_a_golden_volume_that_its_host_logs_in_to(laid_out: LaidOut) -> None:
    """R36, R37, R71: golden volume, clone, export to that host alone, the host's login, and only then the guest."""
    rows = {row.key: row for row in laid_out(storage=KERNEL)}
    (golden,) = [key for key in rows["st1", "lvm", "lh7-node2-root"].needs if key[1] == "golden"]
    assert rows[golden].is_shared
    assert rows[golden].needs == (("st1", "image", golden[2]),)
    assert rows["st1", "lio", "lh7-node2-root"].needs == (("st1", "lvm", "lh7-node2-root"),)
    assert rows["st1", "lio", "lh7-node2-root"].args["initiator"] == "iqn.1993-08.org.debian:01:c2"
    assert rows["st1", "lio", "lh7-node2-root"].args["portal"] == "198.18.9.14"
    assert rows["c2", "open_iscsi", "lh7-node2-root"].needs == (("st1", "lio", "lh7-node2-root"),)
    domain = rows["c2", "domain", "lh7-node2"]
    assert ("c2", "open_iscsi", "lh7-node2-root") in domain.needs
    assert domain.args["chap"] == []
    (source,) = ElementTree.fromstring(domain.args["xml"]).iterfind(".//disk[@type='block']/source")
    login = open_iscsi.parse(filled(rows["c2", "open_iscsi", "lh7-node2-root"].args), REMIT)
    assert source.get("dev") == login.device
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


def test_a_thick_disk_is_a_copy_of_the_image_s_file(laid_out: LaidOut) -> None:
    rows = {row.key: row for row in laid_out(storage=replace(KERNEL, volume="lvm_thick"))}
    assert [key for key in rows if key[1] in ("golden", "lvm")] == []
    volume = rows["st1", "lvm_thick", "lh7-node2-root"]
    assert [key[1] for key in volume.needs] == ["image"]
    assert rows["st1", "lio", "lh7-node2-root"].needs == (volume.key,)
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


def test_on_tagged_links_disks_travel_over_the_cluster_s_own_network(laid_out: LaidOut) -> None:
    """R42: the storage host is a member of the cluster's network as well, and its target listens nowhere else."""
    rows = {row.key: row for row in laid_out(storage=KERNEL, driver="vlan")}
    assert [key[0] for key in rows if key[1] == "vlan"] == ["gw1", "c1", "c2", "st1"]
    block = 1000 * 1024  # VLAN 1000 has the 1000th /22 of 100.64.0.0/10
    st1 = str(IPv4Address("100.64.0.0") + block + 4)
    assert rows["st1", "address", "lh7-br"].args == {
        "bridge": "lh7-br",
        "address": f"{st1}/22",
        "alias": "leasehold:lh7",
        "serves": True,
        "logs_in": False,
    }
    c2 = rows["c2", "address", "lh7-br"]
    assert (c2.args["serves"], c2.args["logs_in"], c2.needs) == (False, True, (("c2", "vlan", "lh7-br"),))
    export, login = rows["st1", "lio", "lh7-node2-root"], rows["c2", "open_iscsi", "lh7-node2-root"]
    assert (export.args["portal"], login.args["portal"]) == (st1, st1)
    assert ("st1", "address", "lh7-br") in export.needs
    assert ("c2", "address", "lh7-br") in login.needs
    assert f"ip-{st1}:3260-iscsi" in rows["c2", "domain", "lh7-node2"].args["xml"]
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


def test_under_xen_a_guest_gets_the_devices_of_its_host_and_no_secret(laid_out: LaidOut) -> None:
    """R31: another hypervisor is another operation and another definition; all else is laid out alike."""
    rows = {row.key: row for row in laid_out(storage=KERNEL, hypervisor="xen")}
    alike = {(host, "domain" if op == "xen" else op, name) for host, op, name in rows}
    assert alike == {row.key for row in laid_out(storage=KERNEL)}
    guest = rows["c2", "xen", "lh7-node2"]
    assert ("gw1", "xen", "lh7-frontend") in guest.needs
    assert ("c2", "open_iscsi", "lh7-node2-root") in guest.needs
    (report,) = of(list(rows.values()), "report")
    assert set(report.needs) == {key for key in rows if key[1] == "xen"}
    assert "chap" not in guest.args
    (source,) = ElementTree.fromstring(guest.args["xml"]).iterfind(".//disk[@type='block']/source")
    login = open_iscsi.parse(filled(rows["c2", "open_iscsi", "lh7-node2-root"].args), REMIT)
    assert source.get("dev") == login.device
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


def test_two_clusters_on_one_host_have_no_storage_address_in_common() -> None:
    """Whatever their private subnets are: each VLAN ID has addresses of its own."""
    block, names = IPv4Network("100.64.0.0/10"), Names("lh", 7, "iqn.2026-11.org.leasehold")
    last, first = (names.storage_address(block, vid, 4).network for vid in (4094, 1))
    assert last == IPv4Network("100.127.248.0/22")
    assert not first.overlaps(last)
    assert not first.overlaps(names.storage_address(block, 2, 1022).network)
    with pytest.raises(
        ValueError, match=r"host 1023 has no address in 100\.64\.4\.0/22: choose a larger block"
    ):
        names.storage_address(block, 1, 1023)


def test_without_a_block_for_it_disks_travel_between_data_addresses(laid_out: LaidOut) -> None:
    rows = laid_out(storage=replace(KERNEL, portals=""), driver="vlan")
    assert of(rows, "address") == []
    assert {row.args["portal"] for row in of(rows, "lio")} == {"198.18.9.14"}


def test_with_storage_addresses_disks_travel_between_these_and_tunnels_end_where_they_did(
    laid_out: LaidOut,
) -> None:
    """R72."""
    apart = {1: "192.0.2.11", 2: "192.0.2.12", 3: "192.0.2.13", 4: "192.0.2.14"}
    rows = laid_out(storage_addresses=apart)
    assert {row.args["local"] for row in of(rows, "vxlan")} == {"198.18.9.11", "198.18.9.12", "198.18.9.13"}
    exports = {row.name: row.args["initiator"] for row in of(rows, "tgt")}
    assert exports["lh7-node1-root"] == "192.0.2.12"
    for guest in of(rows, "domain"):
        portals = ElementTree.fromstring(guest.args["xml"]).iterfind(".//disk/source/host")
        assert {portal.get("name") for portal in portals} == {"192.0.2.14"}
    by_kernel = laid_out(storage=replace(KERNEL, portals=""), storage_addresses=apart)
    assert {row.args["portal"] for op in ("lio", "open_iscsi") for row in of(by_kernel, op)} == {"192.0.2.14"}


def filled(args: Any) -> Any:
    """The arguments with something in the place of each secret."""
    if isinstance(args, dict):
        return "notarealsecret00" if set(args) == {"secret"} else {k: filled(v) for k, v in args.items()}
    return [filled(item) for item in args] if isinstance(args, list | tuple) else args


def test_guests_of_the_null_hypervisor_have_the_disks_that_their_host_attaches(laid_out: LaidOut) -> None:
    rows = {row.key: row for row in laid_out(storage=KERNEL, hypervisor="null")}
    assert ("c2", "open_iscsi", "lh7-node2-root") in rows["c2", "null", "lh7-node2"].needs
    assert ("gw1", "open_iscsi", "lh7-frontend-home") in rows["gw1", "null", "lh7-frontend"].needs
    assert {row.op for row in laid_out(hypervisor="null")} == {"vxlan", "null"}, "and else none"


def test_a_host_that_told_no_initiator_is_said_before_anything_is_made(laid_out: LaidOut) -> None:
    with pytest.raises(SiteError, match=r"gw1: .* holds no initiator name"):
        laid_out(storage=KERNEL, initiator=None)


def test_an_initiator_s_name_that_the_target_would_refuse_is_said_before_anything_is_made(
    laid_out: LaidOut,
) -> None:
    with pytest.raises(SiteError, match=r"gw1: .* holds 'iqn.2026-11.lab:gw1', which .* does not take"):
        laid_out(storage=KERNEL, initiator="iqn.2026-11.lab:{}")
    assert laid_out(initiator="iqn.2026-11.lab:{}"), "tgt goes by addresses"


def test_workers_and_master_are_told_from_one_source(laid_out: LaidOut) -> None:
    """R18: what the frontend knows of its nodes is what these nodes' machines are made with."""
    rows = laid_out()
    (iso,) = of(rows, "iso")
    site = json.loads(iso.args["files"]["leasehold/site.json"])
    told = {f"lh7-{node['name']}": node["mac"] for node in site["nodes"]}
    told[f"lh7-{site['frontend']['name']}"] = site["frontend"]["private_mac"]
    made = {}
    for row in of(rows, "domain"):
        mac = ElementTree.fromstring(row.args["xml"]).find(".//interface/mac")
        assert mac is not None
        made[row.name] = mac.get("address")
    assert told == made
    assert [node["address"] for node in site["nodes"]] == ["10.20.1.1", "10.20.1.2"]
    assert json.loads(iso.args["files"]["meta-data"])["local-hostname"] == site["frontend"]["name"]


def test_definition_is_the_same_to_the_byte_each_time(laid_out: LaidOut) -> None:
    """R56."""
    first, second = ([row.args["xml"] for row in of(laid_out(), "domain")] for _ in range(2))
    assert first == second
    assert "/dev/" not in first[1].replace("/dev/urandom", ""), "a device of the host must not be named"


def test_helper_lets_every_definition_through(laid_out: LaidOut) -> None:
    remit = Remit("lh", "/var/lib/leasehold", ("domain",), ("br-public",))
    for row in of(laid_out(), "domain"):
        secrets = frozenset(secret["usage"] for secret in row.args["chap"])
        allowed = qemu_xml.allowed_places(row.name, row.args["uuid"], remit)
        domain_xml.check(row.args["xml"], allowed, secrets)


def test_a_node_has_virtio_devices_and_of_an_appliance_that_wants_it_emulated_ones(laid_out: LaidOut) -> None:
    """R86: beside others in one cluster; what has no virtio driver reports over its second serial port."""
    row = reservation(["node1"], devel=["devel1"])
    row.groups[1].appliance = "emulated"
    made = {}
    for guest in of(laid_out(row), "domain"):
        root = ElementTree.fromstring(guest.args["xml"])
        buses = [target.get("bus") for target in root.iterfind(".//disk[@device='disk']/target")]
        models = [model.get("type") for model in root.iterfind(".//interface/model")]
        report = root.find(f".//source[@path='/var/lib/leasehold/domains/{guest.name}.report']/../target")
        assert report is not None
        made[guest.name] = (*buses, *models, report.get("type"), "virtio" in guest.args["xml"])
        OPS["domain"].parse(filled(guest.args), REMIT)
    assert made == {
        "lh7-frontend": ("virtio", "virtio", "virtio", "virtio", "virtio", True),
        "lh7-node1": ("virtio", "virtio", "virtio", True),
        "lh7-devel1": ("sata", "e1000e", "isa-serial", False),
    }


def test_virtualization_is_that_of_the_host(laid_out: LaidOut) -> None:
    kinds = {
        row.host: ElementTree.fromstring(row.args["xml"]).get("type") for row in of(laid_out(), "domain")
    }
    assert kinds == {"gw1": "qemu", "c1": "qemu", "c2": "kvm"}


def test_no_secret_is_in_a_row(laid_out: LaidOut) -> None:
    (iso,) = of(laid_out(), "iso")
    assert iso.args["files"]["leasehold/munge.key"] == {"secret": "munge:lh7"}
    assert {tuple(row.args["password"]) for row in of(laid_out(), "tgt")} == {("secret",)}


def test_vlan_is_tagged_on_the_parent_on_every_host_of_a_guest(laid_out: LaidOut) -> None:
    rows = of(laid_out(driver="vlan", parent="eth1"), "vlan")
    assert [row.host for row in rows] == ["gw1", "c1", "c2"]
    assert rows[0].args["link"] == "lh7-vl"
    assert (rows[0].args["vid"], rows[0].args["parent"]) == (1000, "eth1")


def test_storage_host_that_cannot_make_images_is_named(laid_out: LaidOut) -> None:
    with pytest.raises(SiteError, match="st1 holds volumes but has not the role builder"):
        laid_out(st1=())


def test_each_group_is_made_of_its_appliance(laid_out: LaidOut) -> None:
    rows = laid_out(reservation(["node1"], devel=["devel1"]))
    image = {row.name.removeprefix("lh7-"): row.args["image"] for row in rows if row.op == "file"}
    assert image["node1-root"].startswith("compute-")
    assert image["devel1-root"].startswith("compute-")
    assert len({image["frontend-root"], image["node1-root"], image["devel1-root"]}) == 3
    made = {row.name: row.args["classes"] for row in rows if row.op == "image"}
    assert "DEVEL" in made[image["devel1-root"]]
    assert "DEVEL" not in made[image["node1-root"]]
    (iso,) = [row for row in rows if row.op == "iso"]
    site = json.loads(iso.args["files"]["leasehold/site.json"])
    assert {node["name"]: node["group"] for node in site["nodes"]} == {"node1": "node", "devel1": "devel"}
    assert "devel" in site["rolls"]


@pytest.mark.parametrize("storage", [Storage(), Storage(volume="lvm", export="lio", attach="open_iscsi")])
def test_a_saved_cluster_needs_the_volumes_it_has_and_is_given_its_names(
    laid_out: LaidOut, storage: Storage
) -> None:
    def facts(rows: Iterable[Row], op: str) -> list[tuple[Any, ...]]:
        return [(row.host, row.name, row.args, row.needs) for row in of(list(rows), op)]

    before, again = reservation(), reservation()
    again.id, again.name, again.saved, again.saved_id = 9, "again", reservation(), 7
    first, second = laid_out(before, storage=storage), laid_out(again, storage=storage)
    volumes = of(first, storage.volume)
    gone = {*(row.key for row in volumes), *(row.key for op in ("image", "golden") for row in of(first, op))}
    assert {row.key for row in first if row.op != "iso"} - gone == {
        row.key for row in second if row.op != "iso"
    }
    assert facts(first, storage.export) == facts(second, storage.export)
    assert {key for row in of(second, storage.export) for key in row.needs} >= {row.key for row in volumes}
    domains = [(row.args["uuid"], row.args["chap"]) for row in of(first, "domain")]
    assert domains == [(row.args["uuid"], row.args["chap"]) for row in of(second, "domain")]
    (iso,) = of(second, "iso")
    assert iso.args["files"]["leasehold/munge.key"] == {"secret": "munge:lh7"}
    assert json.loads(iso.args["files"]["leasehold/site.json"])["cluster"] == "class"
    assert json.loads(iso.args["files"]["meta-data"])["instance-id"] == "again"
