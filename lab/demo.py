# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`make demo` and `make demo-down`: a whole virtual cluster on this machine, booked through the pages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import requests
from rich.console import Console
from rich.live import Live
from rich.table import Table

import lab
from lab import cron, site
from lab.browser import Person
from lab.run import LabError, run
from lab.site import ROOT, Site, leasehold

FOLDER = ROOT / "var" / "demo"
LISTEN = "127.0.0.1:8080"
ADDRESS = f"http://{LISTEN}"
CLUSTER = "demo"
# The first time two golden images are built, which takes most of this.
READY_WITHIN_S = 25 * 60
GONE_WITHIN_S = 5 * 60
COLOURS = {
    "done": "green",
    "to do": "dim",
    "waiting": "dim",
    "in progress": "yellow",
    "failed, tries again": "red",
}

console = Console(highlight=False)
T = TypeVar("T")


def up() -> None:
    """Make the site, book a cluster, watch it being built, say how to log in."""
    began = time.monotonic()
    if FOLDER.exists():
        console.print("A demo is there from before: ending it first.")
        down()
    described = step("four hosts as network namespaces", lambda: lab.up("demo", fresh=True))
    made = step("database, keys and accounts", lambda: site.make(FOLDER, described))
    (FOLDER / "accounts.json").write_text(json.dumps(made.passwords))
    (FOLDER / "accounts.json").chmod(0o600)
    step("cron, with a line for each pass", lambda: start_cron(made))
    step("the hosts added: key pinned, helper put there, probed", lambda: site.add_hosts(made, described))
    step(f"web server on {ADDRESS}", lambda: start_web(made))
    for name, password in made.passwords.items():
        console.print(f"   log in there as [bold]{name}[/] with password [bold]{password}[/]")
    page = step("a cluster booked in the form and approved on the page", lambda: book(made))
    watch(Person(ADDRESS, "alice", made.passwords["alice"]), page)
    said = login_command(made)
    console.print(
        f"\n[bold green]Ready[/] after {time.monotonic() - began:.0f} s. The frontend's login:\n\n   {said}\n"
    )
    console.print(
        f"then for instance: srun -N2 hostname\n\nIts page: {ADDRESS}{page}   The end: make demo-down"
    )


def down() -> None:
    """Cancel the demo's reservation on its page, watch it go, then remove the lab."""
    if (FOLDER / "accounts.json").exists():
        made = Site(FOLDER, json.loads((FOLDER / "accounts.json").read_text()))
        try:
            end_reservation(made)
        except (LabError, requests.RequestException) as why:
            console.print(f"[yellow]The reservation could not be ended properly: {why}[/]")
    cron.stop(FOLDER)
    stop_web()
    step("the lab removed", lambda: lab.down("demo"))
    shutil.rmtree(FOLDER, ignore_errors=True)


def step(what: str, work: Callable[[], T]) -> T:
    """Do one step and print how long it took."""
    began = time.monotonic()
    with console.status(what):
        result = work()
    console.print(f"[green]done[/] {what} [dim]({time.monotonic() - began:.1f} s)[/]")
    return result


def start_cron(made: Site) -> None:
    """Have the passes started each minute by a cron daemon of the demo's own."""
    (FOLDER / "cron.d").mkdir(exist_ok=True)
    leasehold(made, "cron", "install", "--file", str(FOLDER / "cron.d" / "leasehold"))
    cron.start(FOLDER)


def start_web(made: Site) -> None:
    """Start waitress and wait until it answers."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8080)) == 0:
            raise LabError(f"something else listens on {LISTEN} already; stop it first")
    with (FOLDER / "web.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.wsgi", "--listen", LISTEN],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=made.environment,
            start_new_session=True,
        )
    (FOLDER / "web.pid").write_text(str(process.pid))
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(f"{ADDRESS}/healthz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise LabError(f"the web server did not start: {(FOLDER / 'web.log').read_text()[-2000:]}")


def stop_web() -> None:
    """End the web server, if it is the one we started."""
    try:
        pid = int((FOLDER / "web.pid").read_text())
        ours = b"app.wsgi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if ours:
        run(["kill", str(pid)], check=False)


def book(made: Site) -> str:
    """Ask for 1 + 2 machines for the next hour as alice, approve as carol; return the page's path."""
    key = FOLDER / "user_key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice", "-f", str(key)])
    wish = {
        "name": CLUSTER,
        "start": "",
        "end": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"),
        "groups-0-node_count": "2",
        "groups-0-node_names": "",
        "groups-0-vcpus": "1",
        "groups-0-memory_mib": "512",
        "groups-0-disk_gib": "4",
        "home_gib": "1",
        "rolls": ["nfs", "slurm"],
        "users": f"alice {key.with_suffix('.pub').read_text().strip()}",
        "note": "The demo.",
    }
    page = Person(ADDRESS, "alice", made.passwords["alice"]).send(
        "/reservations/new", wish, action="/reservations/new"
    )
    Person(ADDRESS, "carol", made.passwords["carol"]).send("/admin/approvals", {}, action="/approve")
    return page.removeprefix(ADDRESS)


def watch(person: Person, page: str) -> None:
    """Show the steps live until the cluster is ready; LabError when that takes too long."""
    until = time.monotonic() + READY_WITHIN_S
    with Live(console=console, refresh_per_second=4) as live:
        while time.monotonic() < until:
            state, steps = person.state(page), person.steps(page)
            live.update(table(state, steps))
            if state == "ready":
                return
            if state not in ("requested", "approved", "building"):
                break
            time.sleep(1)
    raise LabError(f"the cluster did not become ready; see {ADDRESS}{page}")


def table(state: str, steps: list[dict[str, str]]) -> Table:
    """The steps as a table, as the page has them."""
    shown = Table(title=f"{CLUSTER}: {state}", title_justify="left", box=None)
    for column in ("step", "host", "state", "seconds"):
        shown.add_column(column, justify="right" if column == "seconds" else "left")
    for row in steps:
        colour = COLOURS.get(row["state"], "none")
        shown.add_row(row["step"], row["host"], f"[{colour}]{row['state']}[/]", row["seconds"])
    return shown


def login_command(made: Site) -> str:
    """The SSH command to the frontend, by the pinned host key that its page shows."""
    person = Person(ADDRESS, "alice", made.passwords["alice"])
    address, key = person.access(person.first_reservation())
    known = FOLDER / "known_hosts"
    known.write_text(f"{address} {key}\n")
    return f"ssh -i {FOLDER}/user_key -o UserKnownHostsFile={known} -o IdentitiesOnly=yes alice@{address}"


def end_reservation(made: Site) -> None:
    """Cancel on the page and wait until the passes have taken everything down."""
    person = Person(ADDRESS, "alice", made.passwords["alice"])
    page = person.first_reservation()
    if person.state(page) in ("ended", "cancelled", "rejected", "expired"):
        return
    person.send(f"{page}/cancel", {"name": CLUSTER}, action="/cancel")
    until = time.monotonic() + GONE_WITHIN_S
    with console.status("the cluster being taken down"):
        while time.monotonic() < until:
            if person.state(page) in ("ended", "cancelled"):
                console.print("[green]done[/] the cluster taken down by its own ending path")
                return
            time.sleep(1)
    raise LabError(f"it was not gone after {GONE_WITHIN_S} s")


def main() -> int:
    """`python -m lab.demo up|down`."""
    try:
        {"up": up, "down": down}[sys.argv[1]]()
    except (KeyError, IndexError):
        console.print("usage: python -m lab.demo up|down")
        return 2
    except LabError as why:
        console.print(f"[bold red]failed:[/] {why}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
