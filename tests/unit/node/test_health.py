# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel and LVM print of sound and of failing disks, and the sentences that come of it."""

import json
from pathlib import Path

import pytest

from workers.node import health
from workers.node.steps import Output
from workers.node.thin import Place

LVM = Path(__file__).parents[2] / "data" / "lvm-2.03.16"
PLACE = Place("lh", "vgs1", "root", 0, 90)
SOUND = """Personalities : [raid1] [raid6] [raid5] [raid4]
md0 : active raid1 sdb1[1] sda1[0]
      1046528 blocks super 1.2 [2/2] [UU]

md1 : active (auto-read-only) raid5 sdd1[3] sdc1[1] sda2[0]
      2093056 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/3] [UUU]
      bitmap: 0/1 pages [0KB], 65536KB chunk

md2 : active raid0 sdf1[1] sde1[0]
      2093056 blocks super 1.2 512k chunks

unused devices: <none>
"""


def test_sound_arrays_are_not_spoken_of():
    assert health.arrays(SOUND) == []
    assert health.arrays("Personalities : \nunused devices: <none>\n") == []
    assert health.arrays("") == []


@pytest.mark.parametrize(
    ("sound", "ill", "says"),
    [
        ("sda1[0]\n      1046528 blocks super 1.2 [2/2] [UU]", "sda1[0](F)\n      1046528 blocks super 1.2 [2/1] [_U]",
         "md array md0 has 1 of its 2 disks, sda1 failed"),
        ("[3/3] [UUU]", "[3/2] [UU_]\n      [==>..................]  recovery = 12.6% (132096/1046528) finish=0.3min"
         " speed=44032K/sec", "md array md1 has 2 of its 3 disks, recovery at 12.6%"),
        ("sdb1[1] sda1[0]", "sdc9[2](F) sdb1[1] sda1[0]", "md array md0: sdc9 failed"),
        ("md2 : active raid0 sdf1[1] sde1[0]", "md2 : inactive sdf1[1](S)", "md array md2 is inactive"),
    ],
)  # fmt: skip
def test_an_array_that_lost_a_disk_is_named_with_it(sound: str, ill: str, says: str):
    assert sound in SOUND
    assert health.arrays(SOUND.replace(sound, ill)) == [says]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("lvs-whole.json", []),
        (
            "lvs-disk-missing.json",
            [
                "volume group vgs1 misses 1 of its disks",
                "volumes of vgs1 are not well: data (partial)",
            ],
        ),
    ],
)
def test_a_volume_group_that_lost_a_disk_tells_it_and_which_volumes_suffer(file: str, says: list[str]):
    assert health.volumes(PLACE, Output(0, (LVM / file).read_text())) == says


def test_of_many_volumes_a_few_are_named_and_a_failing_lvm_tells_nothing():
    rows = [
        {"vg_missing_pv_count": "2", "lv_name": f"lh{number}-home", "lv_health_status": "partial"}
        for number in range(8)
    ]
    (missing, ill) = health.volumes(PLACE, Output(0, json.dumps({"report": [{"lv": rows}]})))
    assert missing.endswith("misses 2 of its disks")
    assert ill.endswith("lh5-home (partial) and 2 more")
    assert health.volumes(PLACE, Output(5, "", "no such volume group")) == []


def test_the_query_asks_for_the_group_the_pool_is_in():
    argv = health.query(PLACE).argv
    assert argv[-1] == "vgs1"
    assert 'lv_name=root || lv_health_status!=""' in argv
