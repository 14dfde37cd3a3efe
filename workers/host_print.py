# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What `leasehold host` prints: tables or JSON on standard output, what was done on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.db.site import Host
from workers.engine.bootstrap import Done
from workers.engine.probe import Report


def summary(row: Host) -> dict[str, Any]:
    """What is said of each host in the list, as JSON data."""
    seen = row.last_seen_at.isoformat(timespec="seconds") if row.last_seen_at else None
    return {
        "name": row.name,
        "address": row.address,
        "port": row.port,
        "roles": sorted(row.role_names),
        "state": "lost" if row.lost_at else row.state,
        "vcpus": row.vcpus,
        "memory_mib": row.memory_mib,
        "disk_mib": row.disk_mib,
        "tags": sorted({*row.tags, *row.capabilities}),
        "last_seen_at": seen,
        "last_error": row.last_error,
    }


def show_hosts(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """The list of hosts, each as `summary` has it."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(
        "Host", "Address", "Roles", "State", "vCPU", "Memory MiB", "Disk MiB", "Last seen", "Trouble"
    )
    for row in rows:
        words = (row["name"], f"{row['address']}:{row['port']}", " ".join(row["roles"]), row["state"])
        sizes = (str(row["vcpus"]), str(row["memory_mib"]), str(row["disk_mib"]))
        table.add_row(*words, *sizes, row["last_seen_at"] or "never", row["last_error"] or "")
    _console().print(table)


def show_host(known: Mapping[str, Any], as_json: bool) -> None:
    """All that is known of one host."""
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    table = Table(show_header=False)
    for key, value in known.items():
        table.add_row(key, value if isinstance(value, str) else json.dumps(value))
    _console().print(table)


def tell(name: str, done: Done, dry_run: bool) -> None:
    """What was done on the host, or would have been, a line each."""
    for words in done.did or ("nothing had to be changed there",):
        click.echo(f"{name}: {'not done (dry run): ' if dry_run and done.did else ''}{words}", err=True)
    for words in done.warnings:
        click.echo(f"{name}: warning: {words}", err=True)


def show_report(report: Report, as_json: bool) -> None:
    """Every probe of a host, then what it lacks for each role, and what is wrong with its disks."""
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2))
        return
    table = Table("Probe", "", "Result", "Command", "Exit", title=f"Host {report.host}", title_justify="left")
    for one in report.probes:
        mark = "[green]ok[/]" if one.ok else "[red]no[/]"
        words = "\n".join(filter(None, (one.result, one.stderr)))
        table.add_row(one.name, mark, words, one.command, "" if one.exit is None else str(one.exit))
    _console().print(table)
    for role, sentences in report.lacks.items():
        for sentence in sentences:
            click.echo(f"{report.host}: as {role}: {sentence}", err=True)
    for sentence in report.ails:
        click.echo(f"{report.host}: {sentence}", err=True)


def _console() -> Console:
    # Into a file or a pipe whole lines are worth more than a page's width.
    return Console(width=None if sys.stdout.isatty() else 200, markup=True, highlight=False)
