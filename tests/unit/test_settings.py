# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the environment overrides, in sections and at the top."""

from __future__ import annotations

import pytest

from app.domain.errors import SiteError
from app.settings import load

LIO = {"EXPORT": "lio", "VOLUME": "lvm", "ATTACH": "open_iscsi"}


def test_the_environment_overrides_keys_of_sections_and_at_the_top() -> None:
    environment = {"LEASEHOLD_WEB__SESSION_HOURS": "8", "LEASEHOLD__SITE": "Elsewhere", "LEASEHOLD_GATE": "x"}
    found = load(environ=environment)
    assert (found.web.session_hours, found.site) == (8, "Elsewhere")


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ({"VOLUME": "zfs"}, "choose file or lvm or lvm_thick"),
        ({"EXPORT": "lio"}, 'goes with volume "lvm" or "lvm_thick" and with attach'),
        ({"EXPORT": "lio", "VOLUME": "lvm"}, 'goes with volume "lvm" or "lvm_thick" and with attach'),
        ({"ATTACH": "nbd"}, "choose qemu or open_iscsi"),
        ({"WIPE": "shred"}, "choose discard or zero or none"),
        (LIO | {"IQN_BASE": "iqn.2026-11.lab"}, "storage.iqn_base: the kernel's target wants"),
        (LIO | {"IQN_BASE": "iqn.2026-13.org.example"}, "storage.iqn_base: the kernel's target wants"),
        (LIO | {"IQN_BASE": "iqn.2026-11.org.Example:x"}, "storage.iqn_base: the kernel's target wants"),
        ({"VOLUME_GROUP": "-f"}, "storage.volume_group must be a name"),
        ({"FULL_PERCENT": "101"}, "storage.full_percent must lie in 1..100"),
        ({"WAIT_S": "0"}, "storage.wait_s must lie in"),
        ({"PORTALS": "100.64.0.1/10"}, "storage.portals: 100.64.0.1/10 has host bits set"),
        ({"PORTALS": "100.64.0.0/20"}, "too few addresses for 4096 VLANs: /18 is the least"),
        ({"PORTALS": "10.0.0.0/8"}, "10.0.0.0/8 overlaps network.private or network.public"),
    ],
)
def test_drivers_that_do_not_go_together_are_said(storage: dict[str, str], says: str) -> None:
    with pytest.raises(SiteError, match=says):
        load(environ={f"LEASEHOLD_STORAGE__{key}": value for key, value in storage.items()})


def test_numbers_that_something_else_has_are_left_out_of_the_range() -> None:
    assert load(environ={"LEASEHOLD_NETWORK__EXCLUDE_IDS": "1013,1500"}).network.exclude_ids == (1013, 1500)
    with pytest.raises(SiteError, match="exclude_ids: 2000 does not lie within"):
        load(environ={"LEASEHOLD_NETWORK__EXCLUDE_IDS": "1000,2000"})
    with pytest.raises(SiteError, match="exclude_ids is 'none'"):
        load(environ={"LEASEHOLD_NETWORK__EXCLUDE_IDS": "none"})


def test_guests_of_xen_want_the_logins_of_their_host() -> None:
    with pytest.raises(SiteError, match='hypervisor is "xen"'):
        load(environ={"LEASEHOLD__HYPERVISOR": "xen"})
    xen = {"LEASEHOLD__HYPERVISOR": "xen", "LEASEHOLD_STORAGE__ATTACH": "open_iscsi"}
    assert load(environ=xen).hypervisor == "xen"


def test_drivers_that_go_together_are_taken() -> None:
    for volume, export, attach in (
        ("file", "tgt", "qemu"),
        ("file", "tgt", "open_iscsi"),
        ("lvm", "tgt", "qemu"),
        ("lvm", "tgt", "open_iscsi"),
        ("lvm", "lio", "open_iscsi"),
        ("lvm_thick", "lio", "open_iscsi"),
        ("lvm_thick", "tgt", "qemu"),
    ):
        names = {"VOLUME": volume, "EXPORT": export, "ATTACH": attach}
        found = load(environ={f"LEASEHOLD_STORAGE__{key}": value for key, value in names.items()})
        assert (found.storage.volume, found.storage.export, found.storage.attach) == (volume, export, attach)
