# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What an answer to `facts` is made of: probes with their commands, facts to store, and what is lacking."""

from typing import Any

import pytest

from app.settings import Settings, Storage
from workers.engine.hosts import Answer
from workers.engine.probe import beside, capabilities, judged, misfits
from workers.engine.ssh import Endpoint
from workers.node.protocol import Error, Hello, Reply

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMDGMaEu08U2gZjJKAESRDnmBWwqu4nUcfEK3296oWaf"
HOST = Endpoint("c1", "198.51.100.12", 22, HOST_KEY)
FACTS: dict[str, Any] = {
    "vcpus": 4,
    "memory_mib": 8000,
    "disk_free_mib": 90000,
    "virt_type": "kvm",
    "tools": {"virsh": "9.0.0", "tgtadm": None},
}
NOW = 1_800_000_000.0


def answer(seen: dict[str, Any] | None = None, *, time: float = NOW, failure: Error | None = None) -> Answer:
    reply = Reply("facts", True, "present", seen=FACTS if seen is None else seen)
    if failure:
        return Answer(HOST, (Reply("facts", False, "unknown", error=failure),), None, failure, 1.0)
    return Answer(HOST, (reply,), Hello(1, "abc", "boot", time), None, 0.2)


def look(it: Answer, *roles: str, helper: str = "abc"):
    report = judged(it, helper, frozenset(roles), NOW, Settings())
    return report, {probe.name: probe for probe in report.probes}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"virt_type": "kvm", "arch": "x86_64", "xen": None}, ["kvm", "x86_64"]),
        ({"virt_type": "qemu", "arch": "aarch64"}, ["aarch64"]),
        ({"virt_type": None, "arch": "x86_64", "xen": {"version": "4.17"}}, ["x86_64", "xen"]),
        ({"virt_type": "qemu", "arch": "gpu"}, []),
        ({}, []),
    ],
)
def test_what_a_host_can_do_comes_of_its_facts(facts: dict[str, Any], told: list[str]) -> None:
    assert capabilities(facts) == told


def test_another_machine_must_carry_what_was_built_on_the_one_before() -> None:
    was = {"virt_type": "kvm", "initiator": "iqn.2026-11.org.example:c1"}
    lio = Settings(storage=Storage(export="lio", attach="open_iscsi"))
    assert misfits(was, was, lio) == []
    assert misfits({}, was, lio) == [], "what nothing is known of is not missed"
    assert misfits({"virt_type": "qemu"}, was, lio) == []
    name, kvm = misfits(was, {"virt_type": "qemu", "initiator": "iqn.1993-08.org.debian:01:9"}, lio)
    assert "iqn.2026-11.org.example:c1" in name
    assert "kvm" in kvm
    assert misfits(was, was | {"initiator": None}, Settings()) == [], "tgt knows hosts by their addresses"


def test_a_host_with_a_failing_disk_is_not_well_whatever_its_role() -> None:
    words = "md array md0 has 1 of its 2 disks, sda1 failed"
    report, probes = look(answer({**FACTS, "health": [words]}), "compute")
    assert (report.ails, report.lacks, report.is_well) == ((words,), {}, False)
    assert (probes["disks"].ok, probes["disks"].result) == (False, words)
    assert "health" not in probes
    report, probes = look(answer(), "compute")
    assert report.is_well
    assert probes["disks"].ok


def test_a_sound_host_passes_every_probe():
    report, probes = look(answer(), "compute")
    assert all(probe.ok for probe in report.probes)
    assert report.facts == FACTS
    assert report.boot_id == "boot"
    assert report.lacks == {}
    assert probes["host key"].result == "SHA256:9DXZQU1WOMpJQliBkMT2ARzzt/l3qpA6QS2+eb3N7BQ"


def test_a_missing_tool_counts_where_a_role_needs_it():
    _, probes = look(answer(), "compute")
    assert (probes["tgtadm"].ok, probes["tgtadm"].result) == (True, "not there, not needed")
    report, probes = look(answer(), "storage")
    assert (probes["tgtadm"].ok, probes["tgtadm"].result) == (False, "not there")
    assert list(report.lacks) == ["storage"]


def test_a_probe_by_a_process_shows_its_command_status_and_stderr():
    ways = [{"name": "tgtadm", "argv": ["tgtadm", "--version"], "exit": 1, "stderr": "can't connect"}]
    _, probes = look(answer({**FACTS, "probes": ways}), "storage")
    shown = probes["tgtadm"]
    assert (shown.command, shown.exit, shown.stderr) == ("tgtadm --version", 1, "can't connect")
    assert "probes" not in probes


def test_an_unreachable_host_has_no_facts_but_the_reason():
    for code, name in (
        ("host_unreachable", "log-in"),
        ("host_key_changed", "host key"),
        ("bad_reply", "helper"),
    ):
        report, _ = look(answer(failure=Error(code, "because", True)), "compute")
        assert [(probe.name, probe.ok, probe.result) for probe in report.probes] == [(name, False, "because")]
        assert report.facts is None


def test_another_helper_than_ours_says_how_to_bring_ours():
    _, probes = look(answer(), "compute", helper="def")
    assert not probes["helper"].ok
    assert "leasehold host add c1 198.51.100.12" in probes["helper"].result


def test_a_clock_that_is_off_by_a_minute_is_told():
    for off, ok in ((0, True), (59, True), (-59, True), (61, False), (-61, False)):
        _, probes = look(answer(time=NOW + off), "compute")
        assert probes["clock"].ok is ok


def test_facts_without_the_sizes_cannot_be_stored():
    for bad in ({}, {**FACTS, "vcpus": None}, {**FACTS, "memory_mib": "much"}):
        report, probes = look(answer(bad), "compute")
        assert report.facts is None
        assert not probes["facts"].ok


def test_facts_that_the_helper_refused_are_told():
    refused = Error("tool_failed", "/proc is not mounted")
    reply = Reply("facts", False, "unknown", error=refused)
    report, probes = look(Answer(HOST, (reply,), Hello(1, "abc", "boot", NOW), None, 0.2))
    assert report.facts is None
    assert "/proc is not mounted" in probes["facts"].result


def test_two_hosts_with_one_initiator_name_are_told_where_hosts_log_in():
    roles = frozenset({"compute", "storage"})
    named = {**FACTS, "initiator": "iqn.2026-11.org.example:c1"}
    report = judged(answer(named), "abc", roles, NOW, Settings())
    others = {"c1": named, "c2": named, "c3": {"initiator": "iqn.2026-11.org.example:c3"}, "c4": {}}
    settings = Settings(storage=Storage(attach="open_iscsi"))
    seen = beside(report, others, roles, settings)
    assert [probe.result.split(":")[0] for probe in seen.probes if not probe.ok][-1].startswith("c2 would")
    assert "c2" in seen.lacks["compute"][-1]
    assert "iqn.2026-11.org.example:c1" in seen.lacks["compute"][-1]
    assert not any("would log in" in words for words in seen.lacks.get("storage", []))
    assert beside(report, {"c1": named, "c3": others["c3"]}, roles, settings) == report
    assert beside(report, others, roles, Settings()) == report
    nameless = judged(answer(), "abc", roles, NOW, settings)
    assert beside(nameless, {"c2": {}}, roles, settings) == nameless
