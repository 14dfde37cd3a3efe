# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A host's address in a cluster's network, on a real host with a guest beside it on the bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.site.scratch_host import ScratchHost, changed

pytestmark = [pytest.mark.site, pytest.mark.timeout(300)]

ADDRESS = "198.18.255.11"
VXLAN = {
    "link": "lh7-vx",
    "bridge": "lh7-br",
    "vni": 77,
    "local": ADDRESS,
    "peers": [],
    "mtu": 1450,
    "alias": "leasehold:lh7",
}
DISKS_AT = "100.64.4.3"
AT = {
    "bridge": "lh7-br",
    "address": f"{DISKS_AT}/22",
    "alias": "leasehold:lh7",
    "serves": True,
    "logs_in": True,
}


@contextmanager
def guest_on(host: ScratchHost, bridge: str) -> Iterator[tuple[str, ...]]:
    """A guest's plain interface on the bridge, with an address beside the host's; yields what to put before a
    command for it to run there."""
    # Not by ``ip netns``, which wants / to be a mount: in a chroot it is none.
    argv = host.command(["unshare", "--net", "sh", "-c", "echo $$; exec sleep 300"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid = holder.stdout.readline().strip()
        there = ("nsenter", f"--net=/proc/{pid}/ns/net")
        host.run("ip", "link", "add", "lh7-t1", "type", "veth", "peer", "name", "eth0", "netns", pid)
        try:
            host.run("ip", "link", "set", "lh7-t1", "master", bridge, "up")
            inside = """set -e
                ip address add 100.64.4.9/22 dev eth0
                ip link set eth0 up
                ip route add default dev eth0"""
            host.run(*there, "sh", "-c", inside)
            yield there
        finally:
            host.run("ip", "link", "del", "lh7-t1")
            holder.kill()


LISTEN = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
while True:
    listener.accept()[0].close()
"""
CONNECT = """
import socket, sys
ip, port, own_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
try:
    socket.create_connection((ip, port), 2, ("0.0.0.0", own_port)).close()
    print("connected")
except OSError:
    print("not")
"""


def connects(host: ScratchHost, where: Sequence[str], ip: str, port: int, own_port: int = 0) -> bool:
    """Whether a connection is made from the host, or from where the words before the command lead."""
    words = ("/usr/bin/python3", "-c", CONNECT, ip, str(port), str(own_port))
    return host.run(*where, *words).strip() == "connected"


@contextmanager
def listening(host: ScratchHost, *where: str, port: int) -> Iterator[None]:
    argv = host.command([*where, "/usr/bin/python3", "-c", LISTEN, "0.0.0.0", str(port)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield
        process.kill()


def test_an_address_in_a_cluster_s_network_is_for_disks_alone(clean):
    clean.one("vxlan", "present", VXLAN)
    assert len(changed(clean, "address", "present", AT)) == 2
    with guest_on(clean, "lh7-br") as guest, listening(clean, port=4022):
        assert connects(clean, (), DISKS_AT, 4022), "the host itself gets there"
        assert connects(clean, guest, DISKS_AT, 3260), "a guest's own network may reach the portal"
        assert not connects(clean, guest, DISKS_AT, 4022), "and nothing else of the host"
        assert not connects(clean, guest, DISKS_AT, 4022, own_port=3260)
        assert not connects(clean, guest, ADDRESS, 3260), "nor any of it at the host's other addresses"
        with listening(clean, *guest, port=3260):
            assert connects(clean, (), "100.64.4.9", 3260), "the host's own login goes out"
        mended = changed(clean, "address", "present", {**AT, "serves": False})
        assert mended == ("nft --file -",)
        assert not connects(clean, guest, DISKS_AT, 3260), "a host that exports nothing has no portal"
    assert len(changed(clean, "address", "absent", AT)) == 2
    changed(clean, "vxlan", "absent", VXLAN)
