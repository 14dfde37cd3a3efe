# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a volume that every node may write (R83): one, one export to all hosts, a disk of every guest."""

# ruff: noqa: F811 - a fixture is imported and then an argument
from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from app.db.reservation import Reservation
from app.settings import Storage
from tests.unit.plan.test_layout import (
    KERNEL,
    REMIT,
    LaidOut,
    filled,
    laid_out,  # noqa: F401 - a fixture
    of,
    reservation,
)
from workers.node.ops import OPS, open_iscsi


def with_shared_disk(names: Iterable[str] = ("node1", "node2")) -> Reservation:
    row = reservation(names)
    row.shared_disk_gib = 2
    return row


def test_a_volume_that_all_nodes_may_write_is_one_that_admits_all_their_hosts(laid_out: LaidOut) -> None:
    """R83: made before the guests, needed by each, and the same disk in every one of them."""
    rows = {row.key: row for row in laid_out(with_shared_disk(("node1", "node2", "node3")))}
    shared = {key: row for key, row in rows.items() if row.node_id is None and key[1] in ("file", "tgt")}
    volume, export = ("st1", "file", "lh7-shared"), ("st1", "tgt", "lh7-shared")
    assert list(shared) == [volume, export]
    assert rows[volume].args == {"volume": "lh7-shared", "size_mib": 2048, "image": None}
    assert rows[export].needs == (volume,)
    assert rows[export].args["initiator"] == ["198.18.9.11", "198.18.9.12", "198.18.9.13"], "each host once"
    assert rows[export].label == "export of shared to the hosts of all nodes"
    places = {key: number for number, key in enumerate(rows)}
    for guest in of(list(rows.values()), "domain"):
        assert export in guest.needs
        assert places[export] < places[guest.key]
        (disk,) = [
            disk
            for disk in ElementTree.fromstring(guest.args["xml"]).iterfind(".//disk")
            if disk.find("shareable") is not None
        ]
        assert disk.findtext("serial") == "shared"
        source = disk.find("source")
        assert source is not None
        assert source.get("name") == "iqn.2026-11.org.leasehold:lh7-shared/1"
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


def test_each_guest_logs_in_to_the_shared_volume_by_a_secret_that_no_other_takes_away(
    laid_out: LaidOut,
) -> None:
    """Guests of one host start side by side, and libvirt knows a secret by its UUID and by its usage alone."""
    kept: dict[str, str] = {}
    for guest in of(laid_out(with_shared_disk(("node1", "node2", "node3"))), "domain"):
        (mine,) = [one for one in guest.args["chap"] if one["password"] == {"secret": "chap:lh7-shared"}]
        auth = ElementTree.fromstring(guest.args["xml"]).find(".//auth[@username='lh7-shared']/secret")
        assert auth is not None
        assert auth.get("usage") == mine["usage"]
        kept[mine["usage"]] = mine["uuid"]
    assert len(kept) == len(set(kept.values())) == 4


def test_hosts_that_attach_volumes_log_in_once_to_the_shared_one_for_all_their_guests(
    laid_out: LaidOut,
) -> None:
    rows = {row.key: row for row in laid_out(with_shared_disk(("node1", "node2", "node3")), storage=KERNEL)}
    export = rows["st1", "lio", "lh7-shared"]
    assert export.args["initiator"] == [f"iqn.1993-08.org.debian:01:{host}" for host in ("c1", "c2", "gw1")]
    logins = [key for key in rows if key[1:] == ("open_iscsi", "lh7-shared")]
    assert logins == [(host, "open_iscsi", "lh7-shared") for host in ("gw1", "c1", "c2")]
    for login in logins:
        assert rows[login].needs == (export.key,)
        device = open_iscsi.parse(filled(rows[login].args), REMIT).device
        guests = [row for row in of(list(rows.values()), "domain") if row.host == login[0]]
        for guest in guests:
            assert [need for need in guest.needs if need[2] == "lh7-shared"] == [login]
            disk = ElementTree.fromstring(guest.args["xml"]).find(f".//source[@dev='{device}']/../shareable")
            assert disk is not None
    for row in rows.values():
        OPS[row.op].parse(filled(row.args), REMIT)


@pytest.mark.parametrize("storage", [Storage(), KERNEL])
def test_a_cluster_without_a_shared_volume_is_laid_out_as_it_was(laid_out: LaidOut, storage: Storage) -> None:
    rows, with_one = laid_out(storage=storage), laid_out(with_shared_disk(), storage=storage)
    assert [row.key for row in rows] == [row.key for row in with_one if row.name != "lh7-shared"]
    assert not [row.name for row in of(rows, "domain") if "shareable" in row.args["xml"]]


def test_a_saved_cluster_is_let_in_to_the_one_it_has(laid_out: LaidOut) -> None:
    """R81: the volume stands from an earlier slot, under the name of then."""
    again = with_shared_disk()
    again.id, again.name, again.saved, again.saved_id = 9, "again", with_shared_disk(), 7
    (export,) = [row for row in laid_out(again) if row.name == "lh7-shared"]
    assert (export.op, export.needs) == ("tgt", (("st1", "file", "lh7-shared"),))


def test_a_host_whose_node_leaves_is_let_in_for_as_long_as_that_is_there(laid_out: LaidOut) -> None:
    row = with_shared_disk()
    row.nodes[2].leaving_at = datetime(2026, 11, 22, tzinfo=UTC)
    for storage in (Storage(), KERNEL):
        rows = laid_out(row, storage=storage)
        (export,) = [one for one in rows if one.name == "lh7-shared" and one.op in ("tgt", "lio")]
        assert len(export.args["initiator"]) == 3
        assert not [one for one in rows if one.host == "c2"]
