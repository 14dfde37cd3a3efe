# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A host to break things on: private network, mount and process namespaces with tgtd and libvirtd in them.

Everything in it hangs on one process: when that is killed, the kernel takes all else away, also after a crash.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workers.node import build
from workers.node.protocol import Reply, Request, parse_hello, parse_reply

DIR = "/var/lib/leasehold"
OPS = "vxlan,vlan,address,file,tgt,iso,domain,report,image"
PRIVATE = (
    *("/run", "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/var/log/tgtd"),
    DIR,
)
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = []
stdio_handler = "file"
"""
# The first process of the namespaces is a shell, because that reaps what is left to it.
INIT = r"""
set -eu
# In a chroot / is no mount point; what is mounted below it is.
mount --make-rprivate / 2> /dev/null || while read -r _ _ _ _ point _; do
    mount --make-private "$point" 2> /dev/null || :
done < /proc/self/mountinfo
for folder in $PRIVATE; do [ -d "$folder" ] || mkdir -p "$folder"; mount -t tmpfs -o mode=0755 tmpfs "$folder"; done
mkdir -p /run/tgtd /run/lock
ip link set lo up
ip address add 198.18.255.11/32 dev lo
printf %s "$QEMU_CONF" > /etc/libvirt/qemu.conf
printf 'unix_sock_group = "root"\nauth_unix_rw = "none"\nhost_uuid = "%s"\n' "$HOST_UUID" > /etc/libvirt/libvirtd.conf
while :; do tgtd -f --iscsi portal=0.0.0.0:3260 > /run/tgtd.log 2>&1 || :; sleep 0.2; done &
while :; do libvirtd > /run/libvirtd.log 2>&1 || :; sleep 0.2; done &
: > /run/up
while :; do sleep 1; done
"""


@dataclass(frozen=True)
class ScratchHost:
    """`helper` is the path of the zipapp, seen from inside and outside alike."""

    pid: int
    helper: Path

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it must be started to run on the host."""
        # --root, for in a chroot the namespace begins above our /.
        where = [f"--target={self.pid}", "--net", "--mount", "--root", "--wd", "--pid"]
        return ["nsenter", *where, "--", *argv]

    def run(self, *argv: str, check: bool = True, text: str | None = None) -> str:
        """What a program on the host prints."""
        done = subprocess.run(self.command(argv), input=text, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}{done.stdout}"
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of the host, seen from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def serve(self, *options: str) -> list[str]:
        """The helper's argv as the forced command has it; `options` are put at its end."""
        argv = ["/usr/bin/python3", str(self.helper), "serve", "--mark", "lh", "--dir", DIR, "--ops", OPS]
        return self.command([*argv, "--public-bridge", "br-public", *options])

    def ask(self, *wanted: tuple[str, str, Mapping[str, Any]], timeout_s: float = 100) -> list[Reply]:
        """One session with the helper: the replies to (op, want, args) in turn."""
        lines = [Request(str(n), *request).to_json() + "\n" for n, request in enumerate(wanted)]
        done = subprocess.run(
            self.serve(), input="".join(lines), capture_output=True, text=True, timeout=timeout_s
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        hello, *replies = done.stdout.splitlines()
        parse_hello(hello)
        return [parse_reply(reply) for reply in replies]

    def one(self, op: str, want: str, args: Mapping[str, Any]) -> Reply:
        """The reply to one request, which must be ok."""
        (reply,) = self.ask((op, want, args))
        assert reply.ok, json.dumps(str(reply.error))
        return reply


@contextmanager
def scratch_host(folder: Path) -> Iterator[ScratchHost]:
    """A fresh host, gone at the end whatever happened; `folder` holds its helper."""
    helper = folder / "helper.pyz"
    helper.write_bytes(build.zipapp())
    environment = {**os.environ, "PRIVATE": " ".join(PRIVATE), "QEMU_CONF": QEMU_CONF}
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    outer = subprocess.Popen(
        [*unshare, "--propagation", "unchanged", "bash", "-c", INIT, "lhnode-host"],
        env={**environment, "HOST_UUID": str(uuid.uuid4())},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        inner = int(_wait(lambda: children.read_text().split()[:1])[0])
        host = ScratchHost(inner, helper)
        _wait(lambda: host.path("/run/up").exists())
        _wait(lambda: _works(host, "tgtadm", "--mode", "target", "--op", "show"))
        _wait(lambda: _works(host, "virsh", "-c", "qemu:///system", "list"))
        yield host
    finally:
        outer.send_signal(signal.SIGKILL)  # its child, the first process of the namespaces, goes with it
        outer.wait(10)


def _works(host: ScratchHost, *argv: str) -> bool:
    return subprocess.run(host.command(argv), capture_output=True, timeout=60).returncode == 0


def _wait(true: Any, timeout_s: float = 30) -> Any:
    until = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < until, "the scratch host did not come up"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[ScratchHost]:
    with scratch_host(tmp_path_factory.mktemp("node")) as host:
        yield host


@pytest.fixture
def clean(host) -> Iterator[ScratchHost]:
    """The host, which must be as it was when the test is over."""
    before = everything(host)
    yield host
    assert everything(host) == before


def everything(host: ScratchHost) -> dict[str, Any]:
    """What operations can leave behind."""
    virsh = ("virsh", "-q", "-c", "qemu:///system")
    kept = {"lock", "jobs", "images", "volumes", "iso", "domains", "virt.json"}
    return {
        "nft": host.run("nft", "list", "tables"),
        "links": sorted(link["ifname"] for link in json.loads(host.run("ip", "-json", "link"))),
        "targets": host.run("tgtadm", "--mode", "target", "--op", "show"),
        "accounts": host.run("tgtadm", "--mode", "account", "--op", "show"),
        "domains": host.run(*virsh, "list", "--all"),
        "secrets": host.run(*virsh, "secret-list"),
        "files": sorted(
            path
            for path in host.run("find", DIR, "-mindepth", "1", "-printf", "%P\n").splitlines()
            if path not in kept and not path.endswith(".log")
        ),
        "loops": host.run("losetup", "-n", "-O", "BACK-FILE", "-l").count("node-0123456789ab"),
    }


def changed(host: ScratchHost, op: str, want: str, args: dict[str, Any]) -> tuple[str, ...]:
    """What was done for one request; the same again must be no work."""
    first, again = host.ask((op, want, args), (op, want, args))
    assert first.ok, first.error
    assert first.state == want
    assert (again.ok, again.state, again.changed) == (True, want, False), again
    return first.did
