# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold host` on a real host of the lab: what it shows, pins, installs, refuses and takes away again."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pytest

from app.db.base import Database
from app.db.resource import Resource
from app.db.site import host_by_name
from lab import fault, keys
from lab import host as hosts
from lab.plan import Lab
from lab.seen import snapshot
from lab.site import LEASEHOLD, ROOT, configuration
from tests.site.sshd import new_key
from workers.engine.ssh import fingerprint
from workers.node import build

pytestmark = [pytest.mark.site, pytest.mark.timeout(300)]
NAME = "c2"
AUTHORIZED = "/root/.ssh/authorized_keys"
HELPER = "/var/lib/leasehold/helper.pyz"
VIRT = "/var/lib/leasehold/virt.json"
ASIDE = "/root/of-the-labs-own-site"
SET_ASIDE = f"""
    mkdir {ASIDE} && cp -p {AUTHORIZED} {ASIDE}/ && sed -i '/ leasehold-manager$/d' {AUTHORIZED}
    mkdir {ASIDE}/folder && find /var/lib/leasehold -mindepth 1 -maxdepth 1 -exec mv -t {ASIDE}/folder {{}} +
"""
PUT_BACK = f"""
    mv {ASIDE}/authorized_keys {AUTHORIZED} && find /var/lib/leasehold -mindepth 1 -delete
    find {ASIDE}/folder -mindepth 1 -maxdepth 1 -exec mv -t /var/lib/leasehold {{}} +; rm -r {ASIDE}
"""


@dataclass
class Desk:
    """An operator's desk: a site's configuration, and the commands typed there."""

    lab: Lab
    config: Path
    virt: str = ""  # what the helper found out about guests, which takes it long where KVM hangs

    def __call__(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """`leasehold WORDS`, with `typed` on standard input; whatever it ends with."""
        return subprocess.run(
            [LEASEHOLD, *words],
            input=typed,
            capture_output=True,
            text=True,
            timeout=200,
            cwd=ROOT,
            env={**os.environ, "LEASEHOLD_CONFIG": str(self.config)},
        )

    def add(self, *more: str, typed: str = "", role: str = "compute") -> subprocess.CompletedProcess[str]:
        words = ("host", "add", NAME, self.address, "--role", role, "--identity", str(self.lab.operator_key))
        if self.virt and "--dry-run" not in more:
            self.on_host("sh", "-c", f"cat > {VIRT}", text=self.virt)
        done = self(*words, *more, typed=typed)
        self.virt = self.virt or self.on_host("sh", "-c", f"cat {VIRT} || true")
        return done

    def remove(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self("host", "remove", NAME, "--identity", str(self.lab.operator_key), *more)

    @property
    def address(self) -> str:
        return self.lab.address(self.lab.host(NAME))

    @property
    def host_key(self) -> str:
        return keys.host_key(self.lab, self.lab.host(NAME))

    @cached_property
    def database(self) -> Database:
        return Database(f"sqlite:///{self.config.parent}/leasehold.sqlite")

    def on_host(self, *argv: str, text: str | None = None) -> str:
        return hosts.on(self.lab, self.lab.host(NAME), list(argv), text=text).stdout


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A site with keys of its own and no hosts; the host is afterwards as it was before.

    The lab's own site may have added the host for the tests that ran before these: here it is nobody's.
    """
    folder = tmp_path_factory.mktemp("site")
    described = json.loads((lab.state / "lab.json").read_text())
    desk = Desk(lab, folder / "leasehold.toml")
    desk.config.write_text(configuration(folder, described, None, {}))
    made = desk("init")
    assert made.returncode == 0, made.stderr
    before = snapshot(lab.name)[NAME]
    desk.on_host("sh", "-ec", SET_ASIDE)
    yield desk
    desk.on_host("sh", "-ec", PUT_BACK)
    desk.database.close()
    assert snapshot(lab.name)[NAME] == before


@pytest.fixture
def desk(site: Desk) -> Iterator[Desk]:
    """The site for one test: what it added is taken away again, and its own line and helper with it."""
    look = ("sh", "-c", f"cat {AUTHORIZED}; ls -A /var/lib/leasehold")
    before = site.on_host(*look)
    yield site
    left = site.remove()
    site.on_host("rm", "-f", VIRT)
    assert left.returncode in (0, 4), left.stderr
    assert site.on_host(*look) == before


def test_adding_a_host_pins_its_key_and_installs_the_helper_and_one_restricted_line(desk: Desk):
    before = desk.on_host("cat", AUTHORIZED)
    done = desk.add("--host-key", desk.host_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert fingerprint(desk.host_key) in done.stderr
    helper = build.zipapp()
    assert hashlib.sha256(helper).hexdigest() in desk.on_host("sha256sum", HELPER)
    after = desk.on_host("cat", AUTHORIZED)
    assert after.startswith(before)
    (line,) = after[len(before) :].splitlines()
    assert line.startswith(
        'restrict,command="/usr/bin/python3 -IS /var/lib/leasehold/helper.pyz serve --mark lh '
    )
    assert "--public-bridge" not in line
    assert desk.on_host("stat", "-c", "%a %U", AUTHORIZED, HELPER, "/var/lib/leasehold").split("\n")[:3] == [
        "600 root",
        "700 root",
        "711 root",
    ]
    shown = json.loads(desk("host", "show", NAME, "--json").stdout)
    assert shown["host_key"] == desk.host_key
    assert shown["roles"] == ["compute"]
    assert shown["vcpus"] >= 1
    assert shown["memory_mib"] > 100
    assert shown["disk_mib"] > 100
    assert shown["facts"]["virt_type"] in ("qemu", "kvm")
    for probe in ("host key", "helper", "clock", "virsh", "virt_type", "memory_mib"):
        assert probe in done.stdout


def test_adding_again_changes_nothing_on_the_host(desk: Desk):
    assert desk.add("--yes").returncode == 0
    look = ("stat", "-c", "%i %Y %s", AUTHORIZED, HELPER)
    before = desk.on_host(*look)
    again = desk.add("--yes")
    assert again.returncode == 0
    assert "nothing had to be changed" in again.stderr
    assert desk.on_host(*look) == before


def test_a_changed_role_replaces_our_line_alone(desk: Desk):
    keys = desk.on_host("cat", AUTHORIZED)
    desk.add("--yes")
    desk.on_host("sh", "-c", f"echo '# behind ours' >> {AUTHORIZED}")
    done = desk.add("--yes", role="gateway")
    assert done.returncode == 0, done.stderr
    lines = desk.on_host("cat", AUTHORIZED).removeprefix(keys).splitlines()
    assert len(lines) == 2
    assert "--public-bridge br-public" in lines[0]
    assert lines[1] == "# behind ours"
    assert json.loads(desk("host", "show", NAME, "--json").stdout)["roles"] == ["gateway"]
    desk.on_host("sed", "-i", "/# behind ours/d", AUTHORIZED)


def test_the_managers_key_runs_the_helper_and_nothing_else(desk: Desk, tmp_path: Path):
    assert desk.add("--yes").returncode == 0
    known = tmp_path / "known_hosts"
    known.write_text(f"{desk.address} {desk.host_key}\n")
    base = [
        "ssh",
        "-F",
        "none",
        "-i",
        str(desk.config.parent / "ssh" / "id_ed25519"),
        "-o",
        f"UserKnownHostsFile={known}",
    ]
    base += ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10"]
    for command in ("id", "sh -c id", "internal-sftp", ""):
        run = subprocess.run(
            [*base, f"root@{desk.address}", *([command] if command else [])],
            capture_output=True,
            text=True,
            timeout=30,
            input="",
        )
        assert json.loads(run.stdout.splitlines()[0])["hello"] == "leasehold"
        assert "uid=" not in run.stdout
    through = subprocess.run(
        [*base, "-W", f"{desk.address}:22", f"root@{desk.address}"],
        capture_output=True,
        text=True,
        timeout=30,
        input="",
    )
    assert "SSH-2.0" not in through.stdout


def test_another_key_than_the_given_one_is_refused_and_nothing_is_done(desk: Desk, tmp_path: Path):
    wrong = new_key(tmp_path / "wrong")
    before = desk.on_host("cat", AUTHORIZED)
    for given in (wrong, fingerprint(wrong)):
        done = desk.add("--yes", "--host-key", given)
        assert done.returncode == 1
        assert "SHOWS ANOTHER HOST KEY" in done.stderr
    assert desk.on_host("cat", AUTHORIZED) == before
    assert json.loads(desk("host", "list", "--json").stdout) == []


def test_without_a_word_the_key_is_not_pinned(desk: Desk):
    for typed in ("", "n\n"):
        done = desk.add(typed=typed)
        assert done.returncode == 1
        assert fingerprint(desk.host_key) in done.stderr
    assert json.loads(desk("host", "list", "--json").stdout) == []
    assert desk.add(typed="y\n").returncode == 0


def test_a_changed_key_is_refused_loudly_until_the_new_one_is_named(desk: Desk):
    old = desk.host_key
    assert desk.add("--yes").returncode == 0
    new = fault.change_host_key(desk.lab.name, NAME)
    try:
        check = desk("host", "check", NAME)
        assert check.returncode == 1
        words = " ".join(check.stdout.replace("│", " ").split())
        for part in ("SHOWS ANOTHER HOST KEY", fingerprint(old)[:30], fingerprint(new)[:30]):
            assert part in words
        refused = desk.add("--yes")
        assert refused.returncode == 1
        assert "HAS CHANGED" in refused.stderr
        assert desk.add("--host-key", new).returncode == 0
        assert desk("host", "check", NAME).returncode == 0
    finally:
        fault.change_host_key(desk.lab.name, NAME)
    assert desk.add("--host-key", old).returncode == 0


def test_an_operators_key_that_the_host_does_not_know_is_said_to_be_so(desk: Desk, tmp_path: Path):
    new_key(tmp_path / "stranger")
    done = desk.add("--yes", "--identity", str(tmp_path / "stranger"))
    assert done.returncode == 1
    assert "--identity" in done.stderr
    missing = desk.add("--yes", "--identity", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "none" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_dry_run_changes_nothing(desk: Desk):
    before = desk.on_host("cat", AUTHORIZED)
    done = desk.add("--yes", "--dry-run")
    assert done.returncode == 0
    assert "restrict,command=" in done.stderr
    assert desk.on_host("cat", AUTHORIZED) == before
    assert desk.on_host("ls", "-A", "/var/lib/leasehold") == ""
    assert json.loads(desk("host", "list", "--json").stdout) == []
    desk.add("--yes")
    assert desk.remove("--dry-run").returncode == 0
    assert desk("host", "drain", NAME, "--dry-run").returncode == 0
    assert [row["state"] for row in json.loads(desk("host", "list", "--json").stdout)] == ["enabled"]


def test_a_host_without_a_tool_of_its_role_is_told_which(desk: Desk):
    desk.add("--yes")
    desk.on_host("mkdir", "-p", "/run/empty")
    virsh = desk.on_host("sh", "-c", "readlink -f $(command -v virsh)").strip()
    desk.on_host("sh", "-c", f": > /run/empty/virsh; mount --bind /run/empty/virsh {virsh}")
    try:
        done = desk("host", "check", NAME)
        assert done.returncode == 3
        assert "libvirt-clients" in done.stderr
    finally:
        desk.on_host("umount", virsh)
        desk.on_host("rm", "-r", "/run/empty")
    assert desk("host", "check", NAME).returncode == 0


def test_a_frozen_host_fails_the_check_in_time(desk: Desk):
    desk.add("--yes")
    fault.stop_host(desk.lab.name, NAME)
    try:
        started = datetime.now(UTC)
        done = desk("host", "check", NAME, "--json")
        assert (datetime.now(UTC) - started).total_seconds() < 30
        assert done.returncode == 1
        (report,) = json.loads(done.stdout)
        assert report["facts"] is None
        assert "stopped answering" in report["probes"][0]["result"]
    finally:
        fault.start_host(desk.lab.name, NAME)


def test_drain_and_its_undoing(desk: Desk):
    desk.add("--yes")
    for words, state in (((), "drained"), ((), "drained"), (("--undo",), "enabled")):
        assert desk("host", "drain", NAME, *words).returncode == 0
        assert [row["state"] for row in json.loads(desk("host", "list", "--json").stdout)] == [state]


def test_a_host_in_use_is_not_removed_and_its_past_stays_on_record(desk: Desk):
    desk.add("--yes")
    with desk.database.writing() as session:
        row = host_by_name(session, NAME)
        assert row is not None
        host_id = row.id
        thing = Resource(
            host_id=host_id, pass_name="network", op="vxlan", name="lh7-br", label="net", args={}
        )
        thing.have = "present"
        session.add(thing)
    refused = desk.remove()
    assert refused.returncode == 1
    assert "in use" in refused.stderr
    assert "leasehold-manager" in desk.on_host("cat", AUTHORIZED)
    with desk.database.writing() as session:
        session.get_one(Resource, thing.id).have = "absent"
    assert desk.remove().returncode == 0
    assert json.loads(desk("host", "list", "--json").stdout) == []
    assert desk("host", "show", NAME).returncode == 4
    assert desk.add("--yes").returncode == 0
    with desk.database.reading() as session:
        again = host_by_name(session, NAME)
        assert again is not None
        assert (again.id, again.state) == (host_id, "enabled")


def test_a_removed_host_is_as_it_was_and_a_lost_one_can_be_forgotten(desk: Desk):
    desk.add("--yes")
    assert desk.remove().returncode == 0
    assert "leasehold-manager" not in desk.on_host("cat", AUTHORIZED)
    assert desk.on_host("ls", "-A", "/var/lib/leasehold") == ""
    assert desk.remove().returncode == 4
    desk.add("--yes")
    assert desk.remove("--forget").returncode == 0
    assert "leasehold-manager" in desk.on_host("cat", AUTHORIZED)
    desk.add("--yes")
