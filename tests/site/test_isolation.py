# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Two clusters at once on the same hosts with the same private subnet: neither hears the other (R13, R43, R44)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import lab as labs
from app.settings import Storage
from tests.site.life import ENDED_WITHIN_S, READY_WITHIN_S, Life
from workers.plan.naming import Names

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]

# Run on a host: asks on each bridge, as one more station there, who has the frontend's address, and shouts its name.
# Prints {bridge: {"answers": [MAC that answered], "heard": [names shouted that came by]}}.
STATION = """
import json, select, socket, struct, sys, time
bridges, mine = sys.argv[2:], sys.argv[1]
seen, sockets = {}, {}
for name in bridges:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((name, 0))
    sockets[sock] = name
    seen[name] = {"answers": set(), "heard": set()}
until = time.monotonic() + 4
asked = 0
while time.monotonic() < until:
    if time.monotonic() > until - 4 + asked:
        asked += 1
        for sock, name in sockets.items():
            mac = bytes.fromhex(open(f"/sys/class/net/{name}/address").read().strip().replace(":", ""))
            ask = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, bytes(4), bytes(6), bytes([10, 20, 0, 1]))
            sock.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + ask)
            sock.send(b"\\xff" * 6 + mac + b"\\x88\\xb5" + f"{mine}/{name}".encode().ljust(46, b"\\0"))
    for sock in select.select(list(sockets), [], [], 0.2)[0]:
        frame = sock.recv(2048)
        if frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2" and frame[28:32] == bytes([10, 20, 0, 1]):
            seen[sockets[sock]]["answers"].add(frame[22:28].hex(":"))
        if frame[12:14] == b"\\x88\\xb5":
            seen[sockets[sock]]["heard"].add(frame[14:].rstrip(b"\\0").decode())
print(json.dumps({name: {kind: sorted(found) for kind, found in one.items()} for name, one in seen.items()}))
"""


def test_two_clusters_on_the_same_hosts_do_not_hear_each_other(new_life: Callable[..., Life]) -> None:
    life = new_life()
    booked = [life.book(computes=2), life.book(computes=2)]
    with life.passes():
        for one in booked:
            life.wait(one, "ready", READY_WITHIN_S)
        shared = [{row.host_id for row in life.rows(one) if row.op == "domain"} for one in booked]
        assert shared[0] == shared[1], "both stand on the same gateway and compute hosts"
        names = [Names("lh", one, Storage().iqn_base) for one in booked]
        on_c1, on_c2 = (station(life, host, [name.bridge for name in names]) for host in ("c1", "c2"))
        for name in names:
            assert on_c1[name.bridge]["answers"] == [name.mac(0, 0)], "its own frontend answers, and no other"
            assert on_c2[name.bridge]["answers"] == [name.mac(0, 0)]
        heard = while_c1_shouts(life, [name.bridge for name in names])
        for name in names:
            assert f"c1/{name.bridge}" in heard[name.bridge], (
                "a shout crosses its own network to the other host"
            )
            assert {shout.partition("/")[2] for shout in heard[name.bridge]} == {name.bridge}
        for one in booked:
            life.cancel(one)
        for one in booked:
            life.wait(one, "ended", ENDED_WITHIN_S)
    life.assert_nothing_is_left(booked[0])


def station(life: Life, host: str, bridges: list[str]) -> dict[str, dict[str, list[str]]]:
    """What a station on each of these bridges of the host gets to hear."""
    argv = ["/usr/bin/python3", "-c", STATION, host, *bridges]
    said: dict[str, dict[str, list[str]]] = json.loads(
        labs.on(life.lab, life.lab.host(host), argv, timeout_s=30).stdout
    )
    return said


def while_c1_shouts(life: Life, bridges: list[str]) -> dict[str, list[str]]:
    """What stations on c2 hear while others shout on c1."""
    with ThreadPoolExecutor(1) as pool:
        shouting = pool.submit(station, life, "c1", bridges)
        heard = station(life, "c2", bridges)
        shouting.result()
    return {bridge: seen["heard"] for bridge, seen in heard.items()}
