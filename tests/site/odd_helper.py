# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""A host helper gone wrong: speaks the protocol, and does in each request what `args.do` says.

Run as a forced command by the tests of the SSH door: `odd_helper.py [--hello LINE]`.
"""

import json
import os
import signal
import sys
import time

HELLO = {"hello": "leasehold", "protocol": 2, "helper": "odd", "boot_id": str(os.getppid()), "time": 1.0}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def hang() -> None:
    """Say nothing for as long as the session lives; the test must leave no process behind."""
    session = os.getppid()
    while os.getppid() == session:
        time.sleep(0.2)
    os._exit(1)


def do(request: dict) -> None:
    args = request.get("args", {})
    what, count = args.get("do", "echo"), args.get("count", 0)
    if what == "hang":
        if "sign" in args:
            open(args["sign"], "w").close()
        hang()
    elif what == "flood":
        for _ in range(count):
            sys.stdout.write("x" * 1023 + "\n")
    elif what == "long-line":
        sys.stdout.write("y" * count)
        sys.stdout.flush()
        hang()
    elif what == "stderr":
        sys.stderr.write("z" * count)
        sys.stderr.flush()
    elif what == "exit":
        sys.stderr.write(args.get("words", "") + "\n")
        sys.stderr.flush()
        os._exit(count)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "say":
        say(args["words"])
        return
    seen = {"args": args, "pid": os.getpid()} if what == "echo" else {"length": len(json.dumps(args))}
    say(json.dumps({"id": request["id"], "ok": True, "state": "present", "changed": True, "seen": seen}))


hello = sys.argv[sys.argv.index("--hello") + 1] if "--hello" in sys.argv else json.dumps(HELLO)
say(hello)
for line in sys.stdin:
    if line.strip():
        do(json.loads(line))
    else:
        say(hello)
