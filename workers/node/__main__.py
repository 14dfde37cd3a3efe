# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The helper's entry point: `serve` answers requests, one JSON line each; `job`, `wipe`, `fill` are detached work.

`serve` is what the forced command in root's authorized_keys runs. Its options are the remit; what the manager's
key asks for beyond that is refused. The command that the SSH client sent is not looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
import traceback
from typing import BinaryIO

from workers.node import converge, facts, fill, job, wipe
from workers.node.protocol import (
    MAX_LINE,
    PROTOCOL,
    Error,
    Hello,
    Refused,
    Remit,
    Reply,
    Request,
    parse_request,
    request_id,
)
from workers.node.run import Door


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command and give its exit status."""
    parser = argparse.ArgumentParser(
        "helper.pyz", description="Leasehold's helper on a host", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve_ = commands.add_parser("serve", help="answer requests on standard input", allow_abbrev=False)
    serve_.add_argument("--mark", required=True, type=_mark, help="what the names of our things begin with")
    serve_.add_argument("--dir", required=True, type=_dir, help="the directory that holds our files")
    serve_.add_argument(
        "--ops", required=True, type=_names, help="the operations allowed, with commas between"
    )
    serve_.add_argument(
        "--public-bridge", action="append", default=[], type=_link, help="may be given repeatedly"
    )
    serve_.add_argument("--volume-group", type=_volume, help="the volume group of our volumes")
    serve_.add_argument("--thin-pool", type=_volume, help="the thin pool in it")
    job_ = commands.add_parser("job", help="run one detached job to its end", allow_abbrev=False)
    job_.add_argument("dir")
    wipe_ = commands.add_parser("wipe", help="overwrite a volume with zeros", allow_abbrev=False)
    wipe_.add_argument("device")
    fill_ = commands.add_parser("fill", help="fill a volume with zeros and an image", allow_abbrev=False)
    fill_.add_argument("device")
    fill_.add_argument("image", nargs="?")
    commands.add_parser("version", help="print the helper's sha256")
    options = parser.parse_args(argv)
    os.umask(0o077)
    if options.command == "version":
        print(version())
        return 0
    if options.command == "job":
        return job.run(options.dir)
    if options.command == "wipe":
        wipe.wipe(options.device)
        return 0
    if options.command == "fill":
        fill.fill(options.device, options.image)
        return 0
    bridges = tuple(options.public_bridge)
    remit = Remit(options.mark, options.dir, options.ops, bridges, options.volume_group, options.thin_pool)
    return serve(remit, sys.stdin.buffer, sys.stdout.buffer)


def serve(remit: Remit, requests: BinaryIO, replies: BinaryIO) -> int:
    """Greet, then answer line by line until the end of input; one bad request does not disturb the next.

    An empty line is answered with the greeting.
    """
    os.makedirs(remit.dir, 0o700, exist_ok=True)
    door = Door(remit.dir)
    try:
        helper = version()
        _greet(replies, helper)
        while line := requests.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                while not line.endswith(b"\n") and (line := requests.readline(MAX_LINE)):
                    pass
                reply = Reply(None, False, "unknown", error=Error("bad_request", f"over {MAX_LINE} bytes"))
            elif not line.strip():
                _greet(replies, helper)
                continue
            else:
                reply = answer(line, remit, door)
            _send(replies, reply.to_json())
    except BrokenPipeError:
        # The manager has gone. What was done stays done; the next pass looks again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        door.close()
    return 0


def answer(line: bytes, remit: Remit, door: Door) -> Reply:
    """The reply to one line, whatever is in it."""
    text = line.decode("utf-8", "replace")
    try:
        request = parse_request(text)
    except Refused as refused:
        return Reply(request_id(text), False, "unknown", error=refused.error)
    try:
        return _answer(request, remit, door)
    except Refused as refused:
        return Reply(request.id, False, "unknown", error=refused.error)
    except Exception as error:
        # The text of an unforeseen exception may quote a secret, so its kind and its place must do.
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"{type(error).__name__} at {os.path.basename(where.filename)}:{where.lineno} in {request.op}"
        )
        return Reply(request.id, False, "unknown", error=Error("bug", message))


def version() -> str:
    """The sha256 of the zipapp that this runs from; "source" when it runs from a checkout."""
    path = sys.argv[0]
    if not path.endswith(".pyz"):
        return "source"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _answer(request: Request, remit: Remit, door: Door) -> Reply:
    if request.op == "facts":
        return Reply(request.id, True, "present", seen=facts.facts(remit, door))
    return converge.answer(request, remit, door)


def _greet(replies: BinaryIO, helper: str) -> None:
    _send(replies, Hello(PROTOCOL, helper, facts.boot_id(), time.time()).to_json())


def _send(replies: BinaryIO, line: str) -> None:
    replies.write(line.encode() + b"\n")
    replies.flush()


def _mark(value: str) -> str:
    if not re.fullmatch(r"[a-z]{1,8}", value):
        raise argparse.ArgumentTypeError("a mark is 1 to 8 letters a-z")
    return value


def _dir(value: str) -> str:
    if not value.startswith("/") or os.path.normpath(value) != value or value == "/":
        raise argparse.ArgumentTypeError("the directory is an absolute path without . and ..")
    return value


def _names(value: str) -> tuple[str, ...]:
    names = tuple(filter(None, value.split(",")))
    if not all(re.fullmatch(r"[a-z_]{1,32}", name) for name in names):
        raise argparse.ArgumentTypeError("operations are names like file,tgt")
    return names


def _link(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9._-]{0,14}", value):
        raise argparse.ArgumentTypeError("that is no name of a bridge")
    return value


def _volume(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9_.+-]{0,126}", value):
        raise argparse.ArgumentTypeError("that is no name of a volume group or a pool")
    return value


if __name__ == "__main__":
    sys.exit(main())
