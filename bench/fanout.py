# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""P6 and P7. P6, many guests, is in bench/guests.py. P7 is one operation on 100 hosts through the SSH door.

The hosts are 100 names for one sshd on 127.0.0.1, whose forced command is a shell script that speaks the
helper's protocol and does nothing: what is measured is the way there and back. In turn with the door run
- the floor: bare paramiko, 32 threads, TCP_NODELAY, the same bytes, no deadline, no checks;
- asyncssh, 32 at once, in an environment and a process of its own;
- OpenSSH's ssh, 32 processes at once, its exchange set to curve25519 (its default costs far more).
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import paramiko

from bench import guests
from bench.measure import Cost, Result, compare, in_turn, publish, timed
from tests.site import sshd as real
from workers.engine.hosts import Connections, Endpoint, call_all
from workers.node.protocol import Request

HOSTS = 100
AT_ONCE = 32
ROUNDS = 7
PEERS = Path(__file__).parents[1] / ".cache" / "bench"
ASYNCSSH = "asyncssh==2.24.1"
NAMES = {"asyncssh": "asyncssh", "ssh": "OpenSSH ssh, curve25519"}
REQUEST = Request("1", "facts")
INPUT = REQUEST.to_json() + "\n"

HELPER = """#!/bin/sh
hello='{"hello":"leasehold","protocol":2,"helper":"null","boot_id":"b","time":1}'
echo "$hello"
while read -r line; do
    if [ -z "$line" ]; then echo "$hello"; continue; fi
    echo '{"id":"1","ok":true,"state":"present","changed":false,"did":[],"seen":{},"why":null,"error":null}'
done
"""

CAVEATS = [
    "sshd runs on the same cores and takes most of the wall time of fresh connections; CPU is the client's",
    "the floor is bare paramiko with 32 threads: no deadline, no cap, no check of replies",
    "kept: of all three the connection and the session in it stay open",
    "ssh's CPU counts its processes; kept, it would need a master process a host, so it has no kept form here",
]


def main() -> None:
    """Both, or the one that the argument names."""
    wanted = sys.argv[1:] or ["guests", "hosts"]
    if "hosts" in wanted:
        _hosts()
    if "guests" in wanted:
        subprocess.run(
            [PEERS.parents[1] / ".ci" / "setup", Path(__file__).with_name("packages.txt")], check=True
        )
        results, version = guests.measure()
        publish("fanout", results, versions={"ganeti": version}, caveats=guests.CAVEATS)


def _hosts() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-bench-")))
        script = folder / "helper"
        script.write_text(HELPER)
        script.chmod(0o755)
        server = stack.enter_context(real.running(folder / "sshd", str(script)))
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        asyncssh = stack.enter_context(_asyncssh(server, known))
        fresh = in_turn(
            {
                "ours": lambda: timed(lambda: _ours_fresh(server)),
                "floor": lambda: timed(lambda: _bare_fresh(server, known)),
                "asyncssh": lambda: asyncssh("fresh"),
                "ssh": lambda: timed(lambda: _openssh(server, known)),
            },
            ROUNDS,
        )
        door = stack.enter_context(Connections(identity=server.identity, reveal=str))
        bare = stack.enter_context(_bare_kept(server, known))
        kept = in_turn(
            {
                "ours": lambda: timed(lambda: _ours_kept(server, door)),
                "floor": lambda: timed(bare),
                "asyncssh": lambda: asyncssh("kept"),
            },
            ROUNDS,
        )
    versions = {
        "paramiko": paramiko.__version__,
        "asyncssh": ASYNCSSH.partition("==")[2],
        "ssh": _ssh_version(),
    }
    publish("fanout", _results("fresh", fresh) + _results("kept", kept), versions=versions, caveats=CAVEATS)


def _results(kind: str, costs: dict[str, list[Cost]]) -> list[Result]:
    results = []
    for measure in ("wall", "cpu"):
        figures = {name: [getattr(cost, measure) for cost in runs] for name, runs in costs.items()}
        name, floor = f"P7 100 hosts, {kind}, {measure}", figures["floor"]
        for peer in figures.keys() & NAMES.keys():
            result = compare(name, figures["ours"], peer=figures[peer], peer_name=NAMES[peer], floor=floor)
            results.append(result)
    return results


def _batches(server: real.Sshd) -> dict[Endpoint, list[Request]]:
    return {Endpoint(f"h{n}", "127.0.0.1", server.port, server.host_key): [REQUEST] for n in range(HOSTS)}


def _ours_fresh(server: real.Sshd) -> None:
    answers = list(call_all(_batches(server), identity=server.identity, reveal=str, deadline_s=60))
    assert len(answers) == HOSTS
    assert all(answer.failure is None for answer in answers), answers


def _ours_kept(server: real.Sshd, door: Connections) -> None:
    answers = list(door.call_all(_batches(server), deadline_s=60))
    assert len(answers) == HOSTS
    assert all(answer.failure is None for answer in answers), answers


def _bare_connect(server: real.Sshd, known: Path) -> paramiko.SSHClient:
    wire = socket.create_connection(("127.0.0.1", server.port), 60)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client = paramiko.SSHClient()
    client.load_host_keys(str(known))
    client.connect(
        "127.0.0.1",
        server.port,
        "root",
        sock=wire,
        key_filename=str(server.identity),
        allow_agent=False,
        look_for_keys=False,
        banner_timeout=60,
        auth_timeout=60,
        timeout=60,
    )
    return client


def _bare_run(client: paramiko.SSHClient) -> None:
    stdin, stdout, _ = client.exec_command("leasehold-helper")
    stdin.write(INPUT)
    stdin.channel.shutdown_write()
    assert len(stdout.read().splitlines()) == 2
    assert stdout.channel.recv_exit_status() == 0


def _bare_ask(session: tuple[paramiko.ChannelFile, paramiko.ChannelFile]) -> None:
    stdin, stdout = session
    stdin.write(INPUT)
    assert stdout.readline().startswith('{"id"')


def _bare_fresh(server: real.Sshd, known: Path) -> None:
    def one(_: int) -> None:
        with _bare_connect(server, known) as client:
            _bare_run(client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(HOSTS)))


@contextmanager
def _bare_kept(server: real.Sshd, known: Path) -> Iterator[Callable[[], object]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        clients = list(pool.map(lambda _: _bare_connect(server, known), range(HOSTS)))
        try:
            sessions = [client.exec_command("leasehold-helper")[:2] for client in clients]
            for _, stdout in sessions:
                stdout.readline()
            yield lambda: list(pool.map(_bare_ask, sessions))
        finally:
            for client in clients:
                client.close()


@contextmanager
def _asyncssh(server: real.Sshd, known: Path) -> Iterator[Callable[[str], Cost]]:
    python = PEERS / "asyncssh" / "bin" / "python"
    if not python.exists():
        print(f"installing {ASYNCSSH} into {python.parents[1]}")
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", "-q", ASYNCSSH], check=True, timeout=300)
    script = Path(__file__).with_name("fanout_asyncssh.py")
    words: list[object] = [python, script, server.port, known, server.identity, INPUT, HOSTS, AT_ONCE]
    argv = [str(word) for word in words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        ask, answers = peer.stdin, peer.stdout

        def run(kind: str) -> Cost:
            ask.write(kind + "\n")
            ask.flush()
            return Cost(*json.loads(answers.readline()))

        yield run
        ask.close()


def _openssh(server: real.Sshd, known: Path) -> None:
    options = [f"UserKnownHostsFile={known}", "BatchMode=yes", "KexAlgorithms=curve25519-sha256"]
    argv = ["ssh", "-F", "none", "-i", str(server.identity), "-p", str(server.port)]
    argv += [word for option in options for word in ("-o", option)] + ["root@127.0.0.1", "leasehold-helper"]

    def one(_: int) -> None:
        run = subprocess.run(argv, input=INPUT, capture_output=True, text=True, check=True, timeout=60)
        assert len(run.stdout.splitlines()) == 2

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(HOSTS)))


def _ssh_version() -> str:
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10).stderr.split(",")[0]


if __name__ == "__main__":
    main()
