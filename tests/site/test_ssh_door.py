# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The SSH door against a real sshd: replies, keys (fault F33), kept connections, secrets."""

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import replace
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
from workers.engine import ssh
from workers.engine.hosts import Connections, call_all
from workers.engine.ssh import Endpoint, fingerprint
from workers.node.protocol import Request

pytestmark = pytest.mark.timeout(90)


# What a sound host gives


def test_each_request_gets_its_reply_in_order(sshd: real.Sshd):
    answer = ask(sshd, *[wish(str(number), n=number) for number in range(20)])
    assert answer.failure is None
    assert [reply.id for reply in answer.replies] == [str(number) for number in range(20)]
    assert [reply.seen["args"]["n"] for reply in answer.replies] == list(range(20))
    assert answer.hello is not None
    assert answer.hello.helper == "odd"


def test_an_empty_batch_opens_no_connection(sshd: real.Sshd):
    answer = ask(sshd, to=Endpoint("nowhere", "127.0.0.1", 1, sshd.host_key))
    assert (answer.replies, answer.failure) == ((), None)


def test_large_requests_and_a_talkative_helper_do_not_block_each_other(sshd: real.Sshd):
    requests = [wish(str(n), "stderr", count=600_000, text="t" * 600_000) for n in range(4)]
    answer = ask(sshd, *requests)
    assert answer.failure is None
    assert all(reply.seen["length"] > 600_000 for reply in answer.replies)


# What makes no sense


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (wish("2", "exit", count=3, words="out of cheese"), "exit status 3: out of cheese"),
        (wish("2", "exit", count=0), "exit status 0: it said nothing"),
        (wish("2", "kill"), "exit status"),
    ],
)
def test_a_helper_that_ends_early_is_a_bad_reply(sshd: real.Sshd, request_: Request, words: str):
    answer = ask(sshd, wish("1"), request_, wish("3"))
    assert [reply.ok for reply in answer.replies] == [True, False, False]
    assert code(answer) == "bad_reply"
    assert answer.failure is not None
    assert words in answer.failure.message


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "[]",
        '{"id":"1"}',
        '{"id":"1","ok":true,"state":"perfect"}',
        '{"id":"1","ok":true,"state":"present","did":"a"}',
        '{"id":"nobody","ok":true,"state":"present"}',
        "[" * 100_000,
        '{"id":1,"ok":true,"state":"present"}',
        "\0\1\2",
        "\u202e",
    ],
)
def test_a_senseless_line_costs_only_its_own_request(sshd: real.Sshd, line: str):
    answer = ask(sshd, wish("1", "say", words=line), wish("2"), wish("3"))
    assert [reply.ok for reply in answer.replies] == [False, True, True]
    assert code(answer) == "bad_reply"
    assert answer.failure is not None
    assert answer.failure.message.isprintable()


def test_a_second_reply_to_the_same_request_does_not_replace_the_first(sshd: real.Sshd):
    second = '{"id":"1","ok":false,"state":"unknown","error":{"code":"bug","message":"late"}}'
    answer = ask(sshd, wish("1"), wish("2", "say", words=second), wish("3"))
    assert [reply.ok for reply in answer.replies] == [True, False, True]


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ("Welcome to Debian", "not served by our helper"),
        (json.dumps({"hello": "leasehold", "protocol": 1}), "protocol 1"),
        ("{}", "leasehold host add"),
    ],
)
def test_a_host_without_our_helper_is_said_to_be_so(tmp_path: Path, hello: str, words: str):
    (tmp_path / "hello").write_text(hello)
    helper = f'{HELPER} --hello \\"$(cat {tmp_path}/hello)\\"'
    with real.running(tmp_path / "d", helper) as server:
        answer = ask(server, wish("1"))
    assert (code(answer), answer.hello) == ("bad_reply", None)
    assert answer.failure is not None
    assert words in answer.failure.message


def test_a_host_without_a_forced_command_is_said_to_be_so(tmp_path: Path):
    with real.running(tmp_path / "d", "exec nonesuch-helper") as server:
        answer = ask(server, wish("1"))
    assert answer.failure is not None
    assert "exit status 127" in answer.failure.message
    assert "leasehold host add" in answer.failure.message


# Keys


def test_a_changed_host_key_is_refused_before_anything_is_sent(sshd: real.Sshd, tmp_path: Path):
    other = real.new_key(tmp_path / "other")
    log = sshd.log
    answer = ask(sshd, wish("1"), wish("2"), to=replace(endpoint(sshd), host_key=other))
    assert [reply.error and reply.error.code for reply in answer.replies] == ["host_key_changed"] * 2
    assert answer.failure is not None
    for words in (fingerprint(other), fingerprint(sshd.host_key), "leasehold host add h1 127.0.0.1"):
        assert words in answer.failure.message
    assert "Accepted" not in sshd.log.removeprefix(log)


def test_a_host_that_lost_its_pinned_type_of_key_is_refused(sshd: real.Sshd):
    rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDLk"
    answer = ask(sshd, wish("1"), to=replace(endpoint(sshd), host_key=rsa + "A" * 3))
    assert code(answer) == "host_key_changed"


def test_a_key_changed_between_two_calls_is_refused(tmp_path: Path):
    with real.running(tmp_path / "a", HELPER) as server:
        pinned = server.host_key
        assert code(ask(server, wish("1"))) is None
    with real.running(tmp_path / "b", HELPER) as server:
        assert (
            code(ask(server, wish("1"), to=replace(endpoint(server), host_key=pinned))) == "host_key_changed"
        )


def test_a_comment_behind_the_pinned_key_is_allowed(sshd: real.Sshd):
    to = replace(endpoint(sshd), host_key=sshd.host_key + " root@h1")
    assert code(ask(sshd, wish("1"), to=to)) is None


def test_an_unknown_manager_key_is_access_refused(sshd: real.Sshd, tmp_path: Path):
    real.new_key(tmp_path / "stranger")
    answer = ask(sshd, wish("1"), identity=tmp_path / "stranger")
    assert code(answer) == "access_refused"
    assert answer.failure is not None
    assert "authorized_keys" in answer.failure.message


def test_the_host_key_is_shown_to_whoever_asks(sshd: real.Sshd):
    assert ssh.shown_host_key("127.0.0.1", sshd.port, time.monotonic() + 10) == sshd.host_key


# Connections


def test_nobody_there_is_host_unreachable(sshd: real.Sshd):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = ask(sshd, wish("1"), to=endpoint(sshd, port=unused.getsockname()[1]))
    assert code(answer) == "host_unreachable"
    assert answer.failure is not None
    assert "refused" in answer.failure.message


@pytest.mark.parametrize("limit", [0, 10, 100, 1000, 1500, 2000])
def test_a_reset_at_any_point_is_a_failure(sshd: real.Sshd, limit: int):
    """The connection is reset after `limit` bytes of the host have passed, on their way through a relay."""

    def relay(connection: socket.socket) -> None:
        left = limit
        with socket.create_connection(("127.0.0.1", sshd.port), 5) as host:

            def upwards() -> None:
                with contextlib.suppress(OSError):
                    while data := connection.recv(65536):
                        host.sendall(data)

            up = threading.Thread(target=upwards, daemon=True)
            up.start()
            while left > 0 and (data := host.recv(min(left, 65536))):
                connection.sendall(data)
                left -= len(data)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)
            connection.close()

    with serving(relay) as port:
        answer = ask(sshd, wish("1", "hang"), to=endpoint(sshd, port=port), deadline_s=5)
    assert code(answer) == "host_unreachable"
    assert answer.seconds < 4


def test_a_kept_connection_serves_later_batches(sshd: real.Sshd):
    before = sshd.log.count("Accepted publickey")
    with Connections(identity=sshd.identity, reveal=no_secret) as door:
        for number in range(5):
            (answer,) = door.call_all({endpoint(sshd): [wish(str(number))]}, deadline_s=20)
            assert answer.failure is None
    assert sshd.log.count("Accepted publickey") - before == 1


def test_a_kept_helper_serves_later_batches(sshd: real.Sshd):
    with Connections(identity=sshd.identity, reveal=no_secret) as door:
        answers = [
            answer
            for number in range(3)
            for answer in door.call_all({endpoint(sshd): [wish("1", n=number), wish("2")]}, deadline_s=20)
        ]
    assert [answer.failure for answer in answers] == [None] * 3
    assert [answer.replies[0].seen["args"]["n"] for answer in answers] == [0, 1, 2]
    assert len({reply.seen["pid"] for answer in answers for reply in answer.replies}) == 1


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_kept_helper_that_does_not_greet_again_is_started_anew(
    sshd: real.Sshd, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
):
    monkeypatch.setattr("workers.engine.hosts.STALE_S", 1.0)
    to = endpoint(sshd)
    with Connections(identity=sshd.identity, reveal=no_secret) as door:
        (first,) = door.call_all({to: [wish("1")]}, deadline_s=20)
        os.kill(first.replies[0].seen["pid"], end)
        (second,) = door.call_all({to: [wish("1", n=2)]}, deadline_s=20)
    assert second.failure is None
    assert second.replies[0].seen["args"]["n"] == 2
    assert second.replies[0].seen["pid"] != first.replies[0].seen["pid"]
    if end is signal.SIGSTOP:
        os.kill(first.replies[0].seen["pid"], signal.SIGCONT)


def test_a_kept_helper_that_dies_at_work_is_a_failure(sshd: real.Sshd):
    to = endpoint(sshd)
    with Connections(identity=sshd.identity, reveal=no_secret) as door:
        (first,) = door.call_all({to: [wish("1")]}, deadline_s=20)
        (second,) = door.call_all({to: [wish("1"), wish("2", "kill"), wish("3")]}, deadline_s=20)
        (third,) = door.call_all({to: [wish("1")]}, deadline_s=20)
    assert [code(answer) for answer in (first, second, third)] == [None, "bad_reply", None]
    assert [reply.ok for reply in second.replies] == [True, False, False]


def test_a_lost_kept_connection_is_opened_anew(tmp_path: Path):
    with (
        real.running(tmp_path / "d", HELPER) as server,
        Connections(identity=server.identity, reveal=no_secret) as door,
    ):
        for number in range(3):
            (answer,) = door.call_all({endpoint(server): [wish(str(number))]}, deadline_s=20)
            assert answer.failure is None
            for session in server.sessions():
                os.kill(session, signal.SIGKILL)


def test_a_kept_connection_outlives_the_deadline_of_the_call_before(sshd: real.Sshd):
    before = sshd.log.count("Accepted publickey")
    with Connections(identity=sshd.identity, reveal=no_secret) as door:
        (first,) = door.call_all({endpoint(sshd): [wish("1")]}, deadline_s=1.5)
        time.sleep(1.7)
        (second,) = door.call_all({endpoint(sshd): [wish("2")]}, deadline_s=10)
    assert (first.failure, second.failure) == (None, None)
    assert sshd.log.count("Accepted publickey") - before == 1


def test_threads_and_descriptors_stay_flat_over_fifty_calls(sshd: real.Sshd):
    def count() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    with serving(silence) as port:
        hung, down = endpoint(sshd, "hung", port), endpoint(sshd, "down", 1)
        wrong = replace(endpoint(sshd, "wrong"), host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA")
        batches = {to: [wish("1")] for to in (endpoint(sshd), down, wrong)}
        list(call_all(batches, identity=sshd.identity, reveal=no_secret, deadline_s=10))
        before = count()
        for number in range(50):
            every = {hung: [wish("1")], **batches} if number % 10 == 0 else batches
            answers = call_all(every, identity=sshd.identity, reveal=no_secret, deadline_s=1)
            if number % 7:
                assert len(list(answers)) == len(every)
            else:
                next(answers)
                del answers  # nobody waits for the rest
        limit = time.monotonic() + 5
        while count() != before and time.monotonic() < limit:
            time.sleep(0.1)
        assert count() == before


# Secrets


def test_a_secret_is_filled_in_where_it_is_named_and_masked_where_it_comes_back(sshd: real.Sshd):
    names = []

    def reveal(name: str) -> str:
        names.append(name)
        return "hunter2hunter2\nsecond-line-of-it"

    request = wish("1", files={"a": {"secret": "munge:lh7"}, "b": [{"secret": "chap:x"}, "plain"]})
    length = wish("2", "length", key={"secret": "chap:x"})
    died = wish("3", "exit", count=1, words={"secret": "chap:x"})
    answer = ask(sshd, request, length, died, reveal=reveal)
    assert names == ["munge:lh7", "chap:x", "chap:x", "chap:x"]
    assert answer.replies[0].seen["args"]["files"] == {"a": "***", "b": ["***", "plain"]}
    assert answer.replies[1].seen["length"] == len(
        json.dumps({"do": "length", "key": "hunter2hunter2\nsecond-line-of-it"})
    )
    assert "hunter2" not in repr(answer)
    assert "second-line" not in repr(answer)
    assert answer.failure is not None
    assert "***" in answer.failure.message


def test_a_secret_that_is_not_to_be_had_costs_only_its_own_request(sshd: real.Sshd):
    answer = ask(sshd, wish("1"), wish("2", key={"secret": "chap:gone"}), wish("3"))
    assert [reply.ok for reply in answer.replies] == [True, False, True]
    assert answer.replies[1].error is not None
    assert answer.replies[1].error.code == "secret_missing"
    assert answer.failure is None


def test_what_only_looks_like_a_secret_is_left_alone(sshd: real.Sshd):
    answer = ask(sshd, wish("1", a={"secret": "x", "more": 1}, b={"secret": 7}, c="secret"))
    assert answer.replies[0].seen["args"] == {
        "do": "echo", "a": {"secret": "x", "more": 1}, "b": {"secret": 7}, "c": "secret"
    }  # fmt: skip


def test_nothing_of_all_this_is_printed(sshd: real.Sshd, capfd: pytest.CaptureFixture[str]):
    with serving(banner_then_silence) as port:
        ask(sshd, wish("1"), to=endpoint(sshd, port=port), deadline_s=0.5)
    ask(sshd, wish("1", "kill"))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert "paramiko" in sys.modules
