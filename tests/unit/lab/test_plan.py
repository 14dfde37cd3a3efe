# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Labs by their names: what each consists of does not get into the way of another."""

import io
import tarfile

import pytest

from lab import rootfs
from lab.plan import LABS, Lab, lab


def test_names_fit_a_link_and_numbers_are_each_lab_s_own():
    assert max(map(len, LABS)) <= 7
    numbers = [number for number, _ in LABS.values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", LABS)
def test_hosts_of_a_lab_are_told_apart(name: str):
    the_lab: Lab = lab(name)
    for identify in (the_lab.netns, the_lab.address, the_lab.uuid, lambda host: the_lab.mac(host, "trunk")):
        assert len({identify(host) for host in the_lab.hosts}) == len(the_lab.hosts)
    # The longest of its ports on the switch.
    assert max(len(f"{host.name}-underlay") for host in the_lab.hosts) <= 15


def test_machine_hosts_boot_what_their_daemons_need():
    machines = [host for host in lab("machine").hosts if host.kind == "machine"]
    assert {host.name for host in machines if "xen" in host.daemons} == {"x1", "x2"}


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no lab 'nosuch'; there are demo, "):
        lab("nosuch")
    with pytest.raises(ValueError, match="no host 'c1' in the lab; there are x1, x2, st1"):
        lab("machine").host("c1")


def test_archive_is_root_s_with_the_modes_asked_for():
    packed = rootfs.archive(
        {"/root/.ssh/authorized_keys": ("key\n", 0o600), "etc/hostname": (b"x1\n", 0o644)}
    )
    assert len(packed) % 512 == 0, "it is the content of a disk"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert {(entry.name, entry.mode, entry.uid, entry.gid) for entry in tar} == {
            ("root/.ssh/authorized_keys", 0o600, 0, 0),
            ("etc/hostname", 0o644, 0, 0),
        }
        hostname = tar.extractfile("etc/hostname")
        assert hostname is not None
        assert hostname.read() == b"x1\n"


def test_every_package_of_the_root_file_system_is_named_once():
    packages = rootfs.packages()
    assert len(packages) > 10
    assert len(set(packages)) == len(packages)
