# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The helper as it is shipped, spoken to as the manager does: lines into a process, lines out of it."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.node import build, install
from workers.node.protocol import MAX_LINE, Reply, Request, is_hello, parse_hello, parse_reply

REMIT = (
    "--mark",
    "lh",
    "--ops",
    "file,lvm,golden,iso,vxlan,vlan,tgt,lio,open_iscsi,domain,report,image",
    "--public-bridge",
    "br-public",
    "--volume-group",
    "vg0",
    "--thin-pool",
    "pool",
)
FILE = {"volume": "lh7-node1-root", "size_mib": 1, "image": None}
GOOD: dict[str, dict[str, Any]] = {
    "file": FILE,
    "vxlan": {
        "link": "lh7-vx",
        "bridge": "lh7-br",
        "vni": 7,
        "local": "198.18.255.11",
        "peers": [],
        "mtu": 1450,
        "alias": "leasehold:lh7",
    },
    "vlan": {
        "link": "lh7-vl",
        "bridge": "lh7-br",
        "vid": 7,
        "parent": "eth1",
        "mtu": 1500,
        "alias": "leasehold:lh7",
    },
    "tgt": {
        "target": "iqn.2026-11.org.leasehold:lh7-node1-root",
        "volume": "lh7-node1-root",
        "store": "file",
        "initiator": "198.18.255.11",
        "user": "lh7-node1-root",
        "password": "not-a-real-secret",
    },
    "lvm": {**FILE, "wipe": "discard", "pool_mib": 0, "full_percent": 90},
    "golden": {"image": "node-0123456789ab", "pool_mib": 0, "full_percent": 90},
    "lio": {
        "target": "iqn.2026-11.org.leasehold:lh7-node1-root",
        "volume": "lh7-node1-root",
        "portal": "198.18.255.14",
        "initiator": "iqn.1993-08.org.debian:01:7c1f0f2b8a11",
        "user": "lh7-node1-root",
        "password": "not-a-real-secret",
        "mutual": "not-a-real-mutual",
    },
    "open_iscsi": {
        "target": "iqn.2026-11.org.leasehold:lh7-node1-root",
        "portal": "198.18.255.14",
        "lun": 0,
        "user": "lh7-node1-root",
        "password": "not-a-real-secret",
        "mutual": "not-a-real-mutual",
        "wait_s": 3600,
    },
    "iso": {"iso": "lh7-frontend", "label": "cidata", "files": {"meta-data": ""}},
    "domain": {
        "domain": "lh7-node1",
        "uuid": "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11",
        "xml": "<domain/>",
        "chap": [],
        "ready_event": "ready",
    },
    "report": {"domain": "lh7-node1", "event": "ready"},
    "image": {
        "image": "node-0123456789ab",
        "size_mib": 1,
        "classes": ["BASE"],
        "files": {"build": ""},
        "modes": {},
    },
}
# What a hostile or broken manager may put where a name, an address, a path or a secret belongs.
HOSTILE = [
    *("", " ", "-", "--", "-rf", "--force", "-oProxyCommand=touch CANARY", ".", "..", "../..", "/", "~root"),
    *(
        "; touch CANARY",
        "$(touch CANARY)",
        "`touch CANARY`",
        "| touch CANARY",
        "&& touch CANARY",
        "a\ntouch CANARY",
    ),
    *(
        "lh7-node1-root; touch CANARY",
        "lh7-node1-root\n",
        "lh7-node1-root\0",
        "lh7-$(touch CANARY)",
        "lh7-../../x",
    ),
    *(
        "lh7-node1-root/../../../etc/shadow",
        "/etc/shadow",
        "lh7-",
        "lh-node1",
        "lh0-node1",
        "lh07-node1",
        "LH7-node1",
    ),
    *(
        "xx7-node1-root",
        "lh7-nöde",
        "lh7-node1\u202e",
        "lh7-" + "a" * 300,
        "lh7--",
        "lh7-a_b",
        "lh7-a b",
        "lh7-a,b",
    ),
    *(
        "%s%n",
        "{0.__class__}",
        "' OR 1=1 --",
        "<x/>",
        "&lt;",
        "]]>",
        "\\",
        "*",
        "?",
        "[a-z]",
        "lh7-*",
        "\x1b[2J",
    ),
    *(
        "lh7-node1-root,password=x",
        "user=root",
        "iqn.2026-11.org.leasehold:",
        "iqn.2026-11.org.leasehold:root",
    ),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "127.1", "1.2.3.4/8", "localhost"),
]
NOT_TEXT: list[Any] = [None, True, -1, 0, 1e99, 10**400, [], {}, [[]], {"secret": "chap:x"}]


@pytest.fixture(scope="module")
def helper(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("helper") / "helper.pyz"
    path.write_bytes(build.zipapp())
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "leasehold"


def serve(helper: Path, folder: Path, *remit: str) -> list[str]:
    return [sys.executable, "-I", str(helper), "serve", "--dir", str(folder), *(remit or REMIT)]


def talk(helper: Path, folder: Path, lines: bytes, *remit: str) -> list[Reply]:
    argv = serve(helper, folder, *remit)
    done = subprocess.run(argv, input=lines, capture_output=True, timeout=100, cwd=folder.parent)
    assert (done.returncode, done.stderr) == (0, b"")
    hello, *replies = done.stdout.decode().splitlines()
    assert parse_hello(hello).helper == hashlib.sha256(helper.read_bytes()).hexdigest()
    return [parse_reply(reply) for reply in replies]


def line(id_: str, op: str, args: dict, want: str = "present") -> bytes:
    return Request(id_, op, want, args).to_json().encode() + b"\n"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_same_sources_make_the_same_bytes(helper):
    assert build.zipapp() == helper.read_bytes()
    version = subprocess.run([sys.executable, helper, "version"], capture_output=True, text=True, timeout=60)
    assert version.stdout.strip() == hashlib.sha256(helper.read_bytes()).hexdigest()


def test_a_batch_is_answered_in_order_and_again_is_no_work(helper, folder):
    batch = line("1", "file", FILE) + line("2", "file", FILE) + line("3", "file", FILE, "absent")
    replies = talk(helper, folder, batch)
    assert [(r.id, r.ok, r.state, r.changed) for r in replies] == [
        ("1", True, "present", True),
        ("2", True, "present", False),
        ("3", True, "absent", True),
    ]
    assert files(folder) == set()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id":1,"op":"file"}', '"id"'),
        (b'{"id":"x y","op":"file"}', '"id"'),
        (b'{"id":"9"}', '"op"'),
        (b'{"id":"9","op":"../x"}', '"op"'),
        (b'{"id":"9","op":"format"}', "there is no operation format"),
        (b'{"id":"9","op":"file","want":"gone"}', '"want"'),
        (b'{"id":"9","op":"file","args":[]}', '"args"'),
        (b'{"id":"9","op":"file","args":{}}', '"volume" is missing'),
        (b'{"id":"9","op":"file","extra":1}', "'extra'"),
        (b'{"id":"9","op":"file","args":"' + b"x" * MAX_LINE + b'"}', f"over {MAX_LINE} bytes"),
    ],
)
def test_a_broken_line_is_refused_and_the_next_one_served(helper, folder, broken, says):
    refused, served = talk(helper, folder, broken + b"\n" + line("2", "file", FILE))
    assert refused.error is not None
    assert (refused.ok, refused.error.code, refused.error.retryable) == (False, "bad_request", False)
    assert says in refused.error.message
    assert refused.id in (None, "9")
    assert (served.id, served.ok) == ("2", True)


def test_an_empty_line_is_greeted(helper, folder):
    lines = b"\n" + line("1", "file", FILE) + b"\n"
    done = subprocess.run(serve(helper, folder), input=lines, capture_output=True, timeout=100)
    first, second, reply, third = done.stdout.decode().splitlines()
    assert [is_hello(said) for said in (first, second, reply, third)] == [True, True, False, True]
    assert {parse_hello(said).helper for said in (first, second, third)} == {parse_hello(first).helper}
    assert parse_reply(reply).ok


def test_what_the_forced_command_leaves_out_is_refused(helper, folder):
    (reply,) = talk(helper, folder, line("1", "file", FILE), "--mark", "lh", "--ops", "vxlan")
    assert reply.error is not None
    assert reply.error.code == "out_of_remit"
    assert files(folder) == set()


def test_another_mark_than_the_forced_command_s_is_refused(helper, folder):
    (reply,) = talk(helper, folder, line("1", "file", FILE), "--mark", "xy", "--ops", "file")
    assert reply.error is not None
    assert reply.error.code == "out_of_remit"
    assert "mark xy" in reply.error.message
    assert files(folder) == set()


@pytest.mark.parametrize("op", GOOD)
def test_hostile_values_are_refused_everywhere_and_touch_nothing(helper, folder, op):
    """Every argument of every operation, with every hostile text and every value of a wrong type."""
    batch = b""
    for name, good in GOOD[op].items():
        for value in [*HOSTILE, *NOT_TEXT]:
            if not harmless(name, good, value):
                batch += line(f"{name}:{len(batch)}", op, {**GOOD[op], name: value})
    replies = talk(helper, folder, batch)
    assert len(replies) == batch.count(b"\n") > 100
    refused = ("bad_request", "out_of_remit")
    let_through = [r for r in replies if r.error is None or r.error.code not in refused]
    assert let_through == []
    assert not list(folder.parent.rglob("CANARY*"))
    assert files(folder) == set()


def harmless(name: str, good: Any, value: Any) -> bool:
    """Whether the value is a good one there, after all: an empty list of peers, an odd but plain name of a link."""
    if isinstance(value, str) and name in ("parent", "password", "mutual", "label", "event", "ready_event"):
        return re.fullmatch(r"[A-Za-z0-9/][A-Za-z0-9._/=+-]*", value) is not None
    if name == "initiator" and value == "iqn.2026-11.org.leasehold:root":
        return good.startswith("iqn.")  # an initiator's name is the host's own
    if value == 0 and type(value) is type(good):
        return good == 0
    if value is None:
        return good is None or name in ("ready_event", "mutual")
    if name == "files" and value == {"secret": "chap:x"}:
        return "meta-data" in good  # a file of that name, as far as an ISO goes
    return value in ([], {}) and type(value) is type(good) and name in ("modes", "peers", "chap")


def test_secrets_are_in_no_answer(helper, folder):
    secret = "planted-canary-secret"
    tgt = {**GOOD["tgt"], "password": secret, "volume": "bad name"}
    chap = [{"uuid": "x", "usage": GOOD["tgt"]["target"], "password": secret}]
    batch = line("1", "tgt", tgt) + line("2", "domain", {**GOOD["domain"], "chap": chap})
    batch += line("3", "iso", {**GOOD["iso"], "files": {"key": secret, "../x": secret}})
    batch += line("4", "tgt", {**GOOD["tgt"], "password": secret + " "})
    replies = talk(helper, folder, batch)
    assert [reply.ok for reply in replies] == [False] * 4
    assert secret not in json.dumps([str(reply) for reply in replies])


@pytest.mark.parametrize(
    "remit",
    [
        ("--mark", "", "--ops", "file"),
        ("--mark", "l7", "--ops", "file"),
        ("--mark", "lh", "--ops", "../file"),
        ("--mark", "lh", "--ops", "file", "--public-bridge", "-br"),
        ("--mark", "lh", "--ops", "file", "--dir", "relative"),
        ("--mark", "lh", "--ops", "file", "--dir", "/"),
        ("--mark", "lh"),
    ],
)
def test_a_forced_command_that_makes_no_sense_does_not_start(helper, folder, remit):
    argv = serve(helper, folder, *remit)
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == b""


def test_a_manager_that_has_gone_is_no_error(helper, folder):
    pipe = subprocess.PIPE
    with subprocess.Popen(serve(helper, folder), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        parse_hello(process.stdout.readline().decode())
        process.stdout.close()
        process.stdin.write(line("1", "file", FILE) * 3)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert files(folder) == {"volumes/lh7-node1-root.raw"}


def test_the_unpacked_helper_is_the_same_and_is_loaded_compiled(helper: Path, folder: Path, tmp_path: Path):
    copy = tmp_path / "helper.pyz"
    copy.write_bytes(helper.read_bytes())
    install._unpack(str(copy))
    assert {path.name for path in tmp_path.iterdir()} == {"helper.pyz", "helper.pyz.d"}
    (packed,) = talk(helper, folder, line("1", "file", FILE))
    (unpacked,) = talk(copy, folder, line("1", "file", FILE))
    assert (packed.changed, unpacked.changed, unpacked.state) == (True, False, "present")
    told = subprocess.run(
        [sys.executable, "-IS", "-v", str(copy), "version"], capture_output=True, text=True, timeout=100
    ).stderr
    assert f"code object from '{copy}.d/workers/node/__pycache__/facts" in told
