# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A real virtual cluster: Debian with Slurm, from the booking to the job that runs on it and back to nothing.

The whole of it once on SQLite and once on PostgreSQL; the golden images are built here if the cache lacks them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import lab as labs
from app.domain.request import User
from app.settings import Image, load
from tests.factories import group, grouped
from tests.site.life import Life, assert_each_step_was_done_once
from workers.engine import secrets

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(2400)]

# Two golden images and a cluster's boot without hardware virtualization, on two cores with other work to do.
READY_WITHIN_S = 1500
ENDED_WITHIN_S = 180
NODES = ("node1", "node2")
REAL = {
    "": {"rolls_dir": ""},
    "image": {"suite": Image().suite, "mirror": Image().mirror},
    "booking": {"frontend_memory_mib": 768, "frontend_disk_gib": 4},
    "passes": {"lease_s": 60, "deadline_s": 45, "poll_s": 1},
}


@dataclass(frozen=True)
class Frontend:
    """The way into the cluster that its page shows: address and host key, and the booked user's key file."""

    address: str
    key: Path

    def run(self, command: str, user: str = "alice") -> str:
        """What the command prints there; the test fails when it fails."""
        argv = [
            *("ssh", "-F", "none", "-i", str(self.key), "-o", f"UserKnownHostsFile={self.key}.known"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
            *(f"{user}@{self.address}", command),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_cluster_with_slurm_is_built_used_and_gone(new_life: Callable[..., Life], tmp_path: Path) -> None:
    life = new_life(**REAL)
    key = tmp_path / "user_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    public = key.with_suffix(".pub").read_text().strip()
    users = [User("alice", (public,)), User("bob", (public,))]
    # Each of the two kinds of database also proves something of the guests, which know nothing of either.
    has_groups = life.database.engine.dialect.name == "postgresql"
    plain, devel = group(name="node"), group(name="devel", appliance="devel", node_names=["node2"])
    nodes = grouped(plain, devel) if has_groups else {"memory_mib": 512, "disk_gib": 4}
    booked = life.book(computes=len(NODES), users=users, **nodes)
    with life.passes():
        life.wait(booked, "ready", READY_WITHIN_S)
        row = life.reservation(booked)
        Path(f"{key}.known").write_text(f"{row.public_address} {row.host_public_key}\n")
        frontend = Frontend(str(row.public_address), key)
        a_job_runs_on_all_nodes(frontend)
        users_are_the_same_on_every_node(frontend)
        home_is_one_volume_of_the_booked_size(frontend)
        a_node_is_private_and_goes_out_through_the_frontend(frontend, f"{life.lab.public}.1")
        the_acceptance_report_and_the_times_are_kept(life, booked)
        no_secret_is_in_a_command_line_or_a_log(life, booked)
        assert_each_step_was_done_once(life, booked)
        if has_groups:
            a_group_is_made_of_its_appliance_and_is_a_partition(frontend)
        else:
            slurm_follows_when_nodes_come_and_go(life, booked, frontend)
            a_node_that_is_told_to_shut_down_does(life, booked)
        life.cancel(booked)
        life.wait(booked, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked)


def a_job_runs_on_all_nodes(frontend: Frontend) -> None:
    """R4, R17: login with the booked key, and the batch system with every node."""
    assert sorted(frontend.run(f"srun -N{len(NODES)} hostname").split()) == sorted(NODES)
    listed = frontend.run("sinfo -h -N -o '%N %T'").splitlines()
    assert {line.split()[0] for line in listed} == set(NODES)


def a_group_is_made_of_its_appliance_and_is_a_partition(frontend: Frontend) -> None:
    """R21: the node of the group `devel` has a compiler, the plain one has none."""
    listed = frontend.run("sinfo -h -o '%R %N'").splitlines()
    assert sorted(listed) == ["devel node2", "main node[1-2]", "node node1"]
    assert frontend.run("srun -p devel sh -c 'hostname; command -v gcc'").split() == ["node2", "/usr/bin/gcc"]
    assert frontend.run("srun -p node sh -c 'hostname; command -v gcc || true'").split() == ["node1"]


def slurm_follows_when_nodes_come_and_go(life: Life, booked: int, frontend: Frontend) -> None:
    """The batch system counts a node that was added to the running cluster, keeps its jobs, and drops one that left."""
    before = life.snapshot()
    frontend.run(
        "nohup srun -N1 -w node1 sh -c 'sleep 20; echo done > ~/job' > /dev/null 2>&1 < /dev/null & sleep 2"
    )
    life.resize(booked, 3, READY_WITHIN_S)
    assert sorted(frontend.run("srun -N3 hostname").split()) == [*NODES, "node3"]
    assert frontend.run("cat job").strip() == "done", "a job that ran meanwhile went on"
    life.resize(booked, 1, READY_WITHIN_S)
    assert frontend.run("sinfo -h -N -o '%N'").split() == ["node1"]
    assert frontend.run("srun -N1 hostname").split() == ["node1"]
    after = life.snapshot()
    left = [name for name in json.dumps(after).split('"') if "node2" in name or "node3" in name]
    assert left == [], "nothing is left of the nodes that went"
    assert before["gw1"]["domains"] == after["gw1"]["domains"]


def a_node_that_is_told_to_shut_down_does(life: Life, booked: int) -> None:
    """R81: what it has written is on its disk before it goes, where that is kept. Nobody starts it again so soon."""
    guest, seen = f"lh{booked}-node1", life.snapshot()
    (host,) = [one for one in life.lab.hosts if guest in seen[one.name].get("domains", {})]
    labs.on(life.lab, host, ["virsh", "-q", "shutdown", guest])

    def is_off() -> bool:
        return labs.on(life.lab, host, ["virsh", "-q", "domstate", guest]).stdout.strip() == "shut off"

    life.until(is_off, "the node did not shut down", booked, 50)


def users_are_the_same_on_every_node(frontend: Frontend) -> None:
    """R14: the same uid everywhere, for each user."""
    for name in ("alice", "bob"):
        here = frontend.run("id -u", user=name).split()
        assert frontend.run(f"srun -N{len(NODES)} id -u {name}").split() == here * len(NODES)


def home_is_one_volume_of_the_booked_size(frontend: Frontend) -> None:
    """R15, R32: written on a node, read on the other and on the frontend; a separate volume of the booked size."""
    frontend.run("srun -w node1 sh -c 'echo from node1 > ~/note'")
    assert frontend.run("srun -w node2 cat note").strip() == "from node1"
    assert frontend.run("cat note").strip() == "from node1"
    device, size = frontend.run("findmnt -nbo SOURCE,SIZE /home").split()
    assert frontend.run(f"lsblk -ndo SERIAL {device}").strip() == "home"
    assert 0.8 * 2**30 < int(size) < 2**30


def a_node_is_private_and_goes_out_through_the_frontend(frontend: Frontend, outside: str) -> None:
    """R10-R13: one plain interface, the frontend as router, and no way in from outside."""
    links = frontend.run("srun -w node1 ls /sys/class/net").split()
    assert len([name for name in links if name != "lo"]) == 1
    route = frontend.run("srun -w node1 ip -4 route show default").split()
    assert route[:3] == ["default", "via", "10.20.0.1"]
    frontend.run(f"srun -w node1 ping -c1 -W10 {outside}")
    # Whoever sends a node's packets to the frontend's public side from the public network gets no answer.
    route = ["10.20.1.1/32", "via", frontend.address]
    subprocess.run(["ip", "route", "add", *route], check=True, timeout=10)
    try:
        knock = subprocess.run(["ping", "-c2", "-W3", "10.20.1.1"], capture_output=True, timeout=30)
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True, timeout=10)
    assert knock.returncode == 1, knock.stdout


def the_acceptance_report_and_the_times_are_kept(life: Life, booked: int) -> None:
    """READY was earned: every check passed and is kept; R57: start and end of each step."""
    rows = [row for row in life.rows(booked) if row.reservation_id == booked]
    (report,) = [row.seen["report"] for row in rows if row.op == "report"]
    assert report["ok"] is True
    assert len(report["checks"]) >= 4
    assert all(check["ok"] for check in report["checks"])
    assert all(row.started_at and row.present_at and row.started_at <= row.present_at for row in rows)


def no_secret_is_in_a_command_line_or_a_log(life: Life, booked: int) -> None:
    """The CHAP secrets are in no argv of any process, no log of a host or a pass, no event and no row."""
    settings = load(str(life.site.config))
    reveal = partial(secrets.derive, secrets.load_site_key(Path(settings.site_key_file)))
    rows = life.rows(booked)
    volumes = [row.name for row in rows if row.op == "tgt"]
    logs = [*life.site.folder.glob("*.log"), *(life.lab.state / "hosts").glob("*/log/**/*")]
    said = [path.read_text(errors="replace") for path in logs if path.is_file()]
    said += [f"{event.message} {event.data}" for event in life.events(booked)]
    said += [f"{row.args} {row.seen} {row.why}" for row in rows]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said.append(process.read_text(errors="replace"))
        except OSError:
            continue  # it ended meanwhile
    whole = "\n".join(said)
    assert len(volumes) == len(NODES) + 2
    assert [name for name in volumes if reveal(f"chap:{name}") in whole] == []
    assert reveal(f"munge:lh{booked}") not in whole
