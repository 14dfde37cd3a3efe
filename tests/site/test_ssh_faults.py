# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that hang, stall and flood: the SSH door ends in time and keeps what it has (faults F6, F7)."""

import os
import resource
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from tests.site import sshd as real
from tests.site.door import (
    HELPER,
    ask,
    banner_then_silence,
    code,
    endpoint,
    no_secret,
    serving,
    silence,
    wish,
)
from workers.engine.hosts import Connections, call_all

pytestmark = pytest.mark.timeout(90)


# Time: the deadline holds, and what came before it is kept


def test_a_hung_request_leaves_the_replies_before_it_and_times_out_the_rest(sshd: real.Sshd):
    started = time.monotonic()
    answer = ask(sshd, wish("a"), wish("b", "hang"), wish("c"), deadline_s=2)
    assert time.monotonic() - started < 3
    assert [reply.ok for reply in answer.replies] == [True, False, False]
    assert [reply.error and reply.error.code for reply in answer.replies] == [None, "timeout", "timeout"]
    assert all(reply.state == "unknown" for reply in answer.replies[1:])
    assert answer.failure is not None
    assert answer.failure.retryable
    assert answer.hello is not None


def test_one_hung_host_of_twenty_holds_up_nobody(sshd: real.Sshd):
    batches = {endpoint(sshd, f"h{n}"): [wish("1", "hang" if n == 7 else "echo")] for n in range(20)}
    started, at = time.monotonic(), {}
    for answer in call_all(batches, identity=sshd.identity, reveal=no_secret, deadline_s=8):
        at[answer.endpoint.name] = (time.monotonic() - started, code(answer))
    assert at.pop("h7")[1] == "timeout"
    assert len(at) == 19
    assert all(failed is None for _, failed in at.values())
    assert max(when for when, _ in at.values()) < 6
    assert time.monotonic() - started < 9


def test_more_hung_hosts_than_places_still_end_in_time(sshd: real.Sshd):
    batches = {endpoint(sshd, f"h{n}"): [wish("1", "hang")] for n in range(6)}
    started = time.monotonic()
    calls = call_all(batches, identity=sshd.identity, reveal=no_secret, deadline_s=2, max_hosts=2)
    assert [code(answer) for answer in calls] == ["timeout"] * 6
    assert time.monotonic() - started < 3.2


def test_a_stopped_sshd_times_out(tmp_path: Path):
    with real.running(tmp_path / "d", HELPER) as server:
        os.kill(server.pid, signal.SIGSTOP)
        started = time.monotonic()
        answer = ask(server, wish("1"), deadline_s=1.5)
        assert code(answer) == "timeout"
        assert time.monotonic() - started < 2.5


def stop_all(server: real.Sshd, by: signal.Signals) -> None:
    """Stop or kill the processes of all open connections."""
    for pid in server.sessions():
        os.kill(pid, by)


def test_a_stopped_session_times_out_and_the_kept_connection_is_given_up(tmp_path: Path):
    with real.running(tmp_path / "d", HELPER) as server:
        to = endpoint(server)
        with Connections(identity=server.identity, reveal=no_secret) as door:
            (first,) = door.call_all({to: [wish("1")]}, deadline_s=20)
            stop_all(server, signal.SIGSTOP)
            (second,) = door.call_all({to: [wish("2")]}, deadline_s=2)
            (third,) = door.call_all({to: [wish("3")]}, deadline_s=20)
        assert [code(answer) for answer in (first, second, third)] == [None, "timeout", None]


def test_a_session_stopped_in_the_middle_times_out(tmp_path: Path):
    sign = tmp_path / "sign"
    with real.running(tmp_path / "d", HELPER) as server:

        def stop() -> None:
            while not sign.exists():
                time.sleep(0.02)
            time.sleep(0.7)
            stop_all(server, signal.SIGSTOP)

        stopper = threading.Thread(target=stop)
        stopper.start()
        answer = ask(server, wish("1"), wish("2", "hang", sign=str(sign)), deadline_s=6)
        stopper.join()
        assert [reply.ok for reply in answer.replies] == [True, False]
        assert code(answer) == "timeout"


def test_a_session_that_dies_in_the_middle_leaves_the_replies_before_it(tmp_path: Path):
    sign = tmp_path / "sign"
    with real.running(tmp_path / "d", HELPER) as server:

        def kill() -> None:
            while not sign.exists():
                time.sleep(0.02)
            time.sleep(0.7)
            stop_all(server, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        answer = ask(server, wish("1"), wish("2", "hang", sign=str(sign)), deadline_s=10)
        killer.join()
        assert [reply.ok for reply in answer.replies] == [True, False]
        assert code(answer) == "host_unreachable"
        assert answer.seconds < 5


def slow_banner(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"S")
        time.sleep(0.05)


@pytest.mark.parametrize("serve", [silence, banner_then_silence, slow_banner])
def test_a_server_that_only_keeps_the_line_open_times_out(sshd: real.Sshd, serve):
    with serving(serve) as port:
        started = time.monotonic()
        answer = ask(sshd, wish("1"), wish("2"), to=endpoint(sshd, port=port), deadline_s=1.5)
    assert [reply.error and reply.error.code for reply in answer.replies] == ["timeout", "timeout"]
    assert time.monotonic() - started < 2.5


# Size


def endless_banner(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def endless_lines(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"hello\r\n" * 8192)


def endless_packet(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + struct.pack(">IB", (1 << 30) + 4, 4))
    endless_banner(connection)


@pytest.mark.parametrize("serve", [endless_banner, endless_lines, endless_packet])
def test_a_flood_before_the_log_in_is_cut(sshd: real.Sshd, serve):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(serve) as port:
        answer = ask(sshd, wish("1"), to=endpoint(sshd, port=port), deadline_s=10)
    assert code(answer) in ("bad_reply", "host_unreachable")
    assert answer.seconds < 9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_gigabyte_of_output_is_cut_and_earlier_replies_are_kept(sshd: real.Sshd):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = ask(sshd, wish("1"), wish("2", "flood", count=1_000_000), wish("3"), deadline_s=30)
    assert [reply.ok for reply in answer.replies] == [True, False, False]
    assert code(answer) == "bad_reply"
    assert answer.seconds < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_a_line_without_end_is_cut(sshd: real.Sshd):
    answer = ask(sshd, wish("1"), wish("2", "long-line", count=1_500_000))
    assert [reply.ok for reply in answer.replies] == [True, False]
    assert code(answer) == "bad_reply"
    assert answer.failure is not None
    assert "line" in answer.failure.message


def test_a_megabyte_on_stderr_is_drained(sshd: real.Sshd):
    answer = ask(sshd, wish("1", "stderr", count=1_000_000), wish("2"))
    assert answer.failure is None
