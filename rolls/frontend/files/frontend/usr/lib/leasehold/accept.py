# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The acceptance test: is this cluster fit to be handed over? Tried until it is; the last report counts.

The rolls' own checks come first (`checks(site)` of their modules in site.d/: a list of (name, function without
arguments that returns a line of detail or raises CheckFailed)), then one visit to each node over SSH.
"""

import itertools
import json
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from configure import KEYS, LIB, load_rolls, read_site

PAUSE_S = 3
PATIENCE_S = 600  # nodes may take this long to come up before the test is reported as failed
# Nodes that were up before are told of a new edition at first and then every so many rounds.
TELL_EVERY = 10
TOKEN = Path("/home/.leasehold-check")


class CheckFailed(Exception):
    """What is not as it should be, in one line."""


def run(argv: list[str], *, text: str = "", timeout: int = 60) -> str:
    """The output of a command; CheckFailed with its last words when it fails or takes too long."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"{argv[0]} took more than {timeout} s") from None
    if done.returncode != 0:
        raise CheckFailed(f"{argv[0]}: status {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def visit_script(site: dict) -> str:
    """What a node is asked: the token in /home, every user's number, a file of the first user's, the way outside."""
    lines = [f"echo home $(cat {TOKEN})"]
    lines += [
        f"echo user {shlex.quote(user['name'])} $(id -u {shlex.quote(user['name'])})"
        for user in site["users"]
    ]
    for user in site["users"][:1]:
        name = shlex.quote(user["name"])
        lines.append(
            f'runuser -u {name} -- sh -c "hostname > /home/{name}/.leasehold-check" && '
            f"echo wrote $(cat /home/{name}/.leasehold-check)"
        )
    lines.append(
        f"ping -q -c 1 -W 5 {shlex.quote(site['outside_check'])} > /dev/null && echo outside reached"
    )
    return "\n".join(lines) + "\n"


def on_node(node: str, script: str) -> str:
    """What the script prints there, run by root's shell."""
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20"]
    return run(["ssh", *options, "-i", str(KEYS / "cluster"), f"root@{node}", "sh", "-s"], text=script)


def tell(site: dict, node: str) -> None:
    """Let a node that joined by another edition of the site roll join again; one that is not up yet joins by this."""
    try:
        socket.create_connection((node, 22), timeout=1).close()
    except OSError:
        return
    script = (
        f'[ "$(cat /run/leasehold/edition)" = {site["edition"]} ] || systemctl restart leasehold.service\n'
    )
    try:
        on_node(node, script)
    except CheckFailed as error:
        print(f"{node} does not follow yet: {error}", flush=True)


def judge(site: dict, token: str, seen: dict[str, list[str]]) -> list[tuple[str, list[str]]]:
    """(check, nodes that fail it) from what the visits brought back. Pure."""
    users = [f"user {user['name']} {user['uid']}" for user in site["users"]]
    return [
        (
            "home",
            [
                node
                for node, lines in seen.items()
                if f"home {token}" not in lines or (users and f"wrote {node}" not in lines)
            ],
        ),
        ("users", [node for node, lines in seen.items() if not set(users) <= set(lines)]),
        ("outside", [node for node, lines in seen.items() if "outside reached" not in lines]),
    ]


def visit_all(site: dict) -> list[dict]:
    """The checks that need a look from inside each node."""
    token = f"{time.time_ns():x}"
    TOKEN.write_text(token + "\n")
    TOKEN.chmod(0o644)
    started = time.monotonic()
    names = [node["name"] for node in site["nodes"]]
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            said = pool.map(lambda name: on_node(name, visit_script(site)).splitlines(), names)
            seen = dict(zip(names, said, strict=True))
    except CheckFailed as error:
        return [result("nodes", False, str(error), started)]
    checks = [result("nodes", True, f"{len(names)} nodes answer over SSH", started)]
    for name, failing in judge(site, token, seen):
        detail = f"not on {', '.join(failing)}" if failing else f"right on {len(names)} nodes"
        checks.append(result(name, not failing, detail, started))
    return checks


def result(name: str, ok: bool, detail: str, started: float) -> dict:
    return {"name": name, "ok": ok, "detail": detail[:300], "seconds": round(time.monotonic() - started, 1)}


def attempt(site: dict, checks: list[tuple[str, Callable[[], str]]]) -> list[dict]:
    """One round; it ends at the first check that fails, since those after it build on it."""
    results = []
    for name, check in checks:
        started = time.monotonic()
        try:
            results.append(result(name, True, check(), started))
        except CheckFailed as error:
            return [*results, result(name, False, str(error), started)]
    return results + visit_all(site)


def main() -> int:
    site = read_site()
    checks = [
        pair
        for roll in load_rolls()
        if hasattr(roll, "checks")
        for pair in roll.checks(site, run, CheckFailed)
    ]
    deadline = time.monotonic() + PATIENCE_S
    said = None
    for number in itertools.count():
        if number % TELL_EVERY == 0:
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(lambda node: tell(site, node["name"]), site["nodes"]))
        results = attempt(site, checks)
        ok = all(entry["ok"] for entry in results)
        if ok or time.monotonic() > deadline:
            report = {"event": "accepted", "edition": site["edition"], "ok": ok, "checks": results}
            run([str(LIB / "report"), json.dumps(report)])
            deadline = time.monotonic() + PATIENCE_S
        if ok:
            return 0
        if results[-1]["detail"] != said:
            said = results[-1]["detail"]
            print(f"not yet: {results[-1]['name']}: {said}", flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
