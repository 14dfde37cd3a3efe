# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""`leasehold host`: the hosts of the site, from the first look at one to its leave.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but a host lacks something or is not well, 4 no such host.
"""

from __future__ import annotations

import getpass
import hashlib
import ipaddress
import json
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.booking import host as booking
from app.booking import replace
from app.db import event, ledger, resource
from app.db.base import Database
from app.db.site import HOST_ROLES, Host, HostRole, host_by_name, hosts
from app.domain.errors import LeaseholdError, NotFound, SiteError
from app.settings import Settings, load
from workers.engine import bootstrap, probe
from workers.engine.run_pass import endpoint, note_boot
from workers.engine.ssh import Endpoint, fingerprint, key_blob
from workers.host_key import agreed_key
from workers.host_print import show_host, show_hosts, show_report, summary, tell
from workers.node import build

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,253}")
INCOMPLETE, UNKNOWN = 3, 4


class Group(click.Group):
    """A group whose commands end with one plain sentence on an error a person can mend."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LeaseholdError as why:
            click.echo(f"Error: {why}", err=True)
            sys.exit(UNKNOWN if isinstance(why, NotFound) else 1)


@click.group(cls=Group)
@click.option(
    "--config", type=click.Path(), envvar="LEASEHOLD_CONFIG", help="The TOML file of the site's settings."
)
@click.pass_context
def host(ctx: click.Context, config: str | None) -> None:
    """Look after the hosts that clusters are built on. Also: leasehold host set, leasehold maintenance."""
    ctx.obj = load(config)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
operator_key = click.option(
    "--identity",
    type=click.Path(path_type=Path),
    default=lambda: Path.home() / ".ssh" / "id_ed25519",
    show_default="~/.ssh/id_ed25519",
    help="Your own private key, with which root may be logged in to on the host.",
)


@host.command()
@click.argument("name")
@click.argument("address")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(HOST_ROLES))
@click.option("--port", type=click.IntRange(1, 65535), default=22, show_default=True)
@click.option("--data-address", help="Its IP address for tunnels, where that is not the SSH address.")
@click.option(
    "--storage-address",
    help="Its IP address for iSCSI, on any interface, where that is not the data address.",
)
@click.option("--host-key", help='The key it must show: "ssh-ed25519 AAAA..." or its SHA256 fingerprint.')
@click.option("--yes", is_flag=True, help="Pin the key it shows without asking.")
@operator_key
@dry_run
@as_json
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    address: str,
    roles: tuple[str, ...],
    port: int,
    data_address: str | None,
    storage_address: str | None,
    host_key: str | None,
    yes: bool,
    identity: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Add a host, bring the helper, the roles and the key of one up to date, or put another machine in its place.

    Its key is shown and pinned, the helper is put there together with a line in root's authorized_keys that
    lets the manager run it and nothing else, and what the host has is probed and stored. What stands on a host of
    that name is looked at anew; what another machine lacks of it is made there by the passes, but for volumes, which
    are told to be lost.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter(f"{name!r}: lower-case letters, digits and hyphens", param_hint="NAME")
    if not ADDRESS.fullmatch(address):
        raise click.BadParameter(f"{address!r} is neither an IP address nor a name", param_hint="ADDRESS")
    database = Database(settings.database)
    with database.reading() as session:
        known = host_by_name(session, name)
    if known is not None and known.address == address:
        data_address = data_address or known.data_address
        storage_address = storage_address or known.storage_address
    addresses = (_ip(data_address or address), _ip(storage_address) if storage_address else None)
    pinned = known.host_key if known else None
    shown = agreed_key(name, address, port, given=host_key, pinned=pinned, yes=yes)
    to = Endpoint(name, address, port, shown)
    key = bootstrap.public_key(Path(settings.ssh_key_file))
    bridges = [settings.network.public_bridge]
    line = bootstrap.forced_line(
        key,
        folder=settings.host_dir,
        mark=settings.mark,
        roles=roles,
        public_bridges=bridges,
        storage=settings.storage,
    )
    helper = build.zipapp()
    done = bootstrap.bring(
        to, identity, folder=settings.host_dir, line=line, key=key, helper=helper, dry_run=dry_run
    )
    tell(name, done, dry_run)
    if dry_run:
        click.echo(f"authorized_keys: {line}", err=True)
        return
    click.echo(
        f"{name}: looking at what it has; the first time it starts a guest to see how they run", err=True
    )
    report = _look_at(to, settings, frozenset(roles))
    if report.facts is None:
        show_report(report, as_json)
        raise SiteError(f"{name} was not added: the manager cannot use it yet, see above.")
    with database.writing() as session:
        _store(session, to, addresses, roles, report, settings)
        report = probe.beside(report, _facts(session), frozenset(roles), settings)
        over = booking.overbooked(session, settings, name, datetime.now(UTC))
    show_report(report, as_json)
    click.echo(f"{name} is added as {', '.join(sorted(roles))}.", err=True)
    for words in over:
        click.echo(f"{name}: {words}: `leasehold host drain {name}` moves what is not built yet", err=True)
    sys.exit(INCOMPLETE if over or not report.is_well else 0)


@host.command("list")
@as_json
@click.pass_obj
def list_hosts(settings: Settings, as_json: bool) -> None:
    """Print all hosts."""
    with Database(settings.database).reading() as session:
        rows = [summary(row) for row in hosts(session) if row.roles]
    show_hosts(rows, as_json)


@host.command()
@click.argument("name")
@as_json
@click.pass_obj
def show(settings: Settings, name: str, as_json: bool) -> None:
    """Print all that is known of one host."""
    with Database(settings.database).reading() as session:
        row = _row(session, name)
        known = {**summary(row), "host_key": row.host_key, "fingerprint": fingerprint(row.host_key)}
        known |= {"data_address": row.data_address, "storage_address": row.storage_address}
        known |= {"boot_id": row.boot_id, "facts": row.facts}
    show_host(known, as_json)


@host.command()
@click.argument("names", nargs=-1)
@as_json
@click.pass_obj
def check(settings: Settings, names: tuple[str, ...], as_json: bool) -> None:
    """Probe hosts (all, where none is named) as the manager reaches them; print every probe."""
    database = Database(settings.database)
    with database.reading() as session:
        rows = [_row(session, name) for name in names] or [row for row in hosts(session) if row.roles]
    reports = [_look_at(endpoint(row), settings, row.role_names) for row in rows]
    with database.writing() as session:
        for row, report in zip(rows, reports, strict=True):
            if report.facts is not None:
                _store_facts(session, session.get_one(Host, row.id), report, settings)
        facts = _facts(session)
    reports = [
        probe.beside(report, facts, row.role_names, settings)
        for row, report in zip(rows, reports, strict=True)
    ]
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        for report in reports:
            show_report(report, False)
    if any(report.facts is None for report in reports):
        sys.exit(1 if len(reports) == 1 else INCOMPLETE)
    sys.exit(0 if all(report.is_well for report in reports) else INCOMPLETE)


@host.command()
@click.argument("name")
@click.option("--undo", is_flag=True, help="Let new machines and volumes be placed there again.")
@dry_run
@click.pass_obj
def drain(settings: Settings, name: str, undo: bool, dry_run: bool) -> None:
    """Place nothing on a host any more: what is booked there and not built yet moves, what stands there stays."""
    database = Database(settings.database)
    with database.writing() as session:
        row, state = _row(session, name), "enabled" if undo else "drained"
        if row.state != state and not dry_run:
            row.state = state
            _record(session, row, f"host_{state}", f"{name} is {state}.")
    click.echo(f"{name} {'would be' if dry_run else 'is'} {state}.", err=True)
    if not undo and not dry_run:
        sys.exit(_move_off(database, settings, row))


@host.command()
@click.argument("name")
@dry_run
@click.pass_obj
def lost(settings: Settings, name: str, dry_run: bool) -> None:
    """Declare a host dead: what is booked there and not built yet moves; clusters that stand there are degraded.

    The passes go on trying to reach it. As soon as it answers it is a host like any other again, and what it still
    holds is seen to.
    """
    database = Database(settings.database)
    with database.writing() as session:
        row, now = _row(session, name), datetime.now(UTC)
        if row.lost_at is None and not dry_run:
            row.lost_at = now
            _record(session, row, "host_lost", f"{name} is lost.")
    click.echo(f"{name} {'would be' if dry_run else 'is'} lost.", err=True)
    if not dry_run:
        sys.exit(_move_off(database, settings, row))


@host.command()
@click.argument("name")
@operator_key
@click.option(
    "--forget", is_flag=True, help="Do not log in to it: it is gone for good, or cleaned up already."
)
@dry_run
@click.pass_obj
def remove(settings: Settings, name: str, identity: Path, forget: bool, dry_run: bool) -> None:
    """Take the helper and the manager's line off a host and forget it; refused while anything is booked
    there."""
    database = Database(settings.database)
    with database.writing(ledger=True) as session:
        row = _row(session, name)
        _refuse_if_in_use(session, row)
        to = endpoint(row)
        if not dry_run:
            row.state = "drained"  # nothing is placed there from here on, whatever happens below
    if not forget:
        key = bootstrap.public_key(Path(settings.ssh_key_file))
        done = bootstrap.take_away(to, identity, folder=settings.host_dir, key=key, dry_run=dry_run)
        tell(name, done, dry_run)
    if dry_run:
        click.echo(f"{name} would be removed.", err=True)
        return
    with database.writing(ledger=True) as session:
        row = _row(session, name)
        _refuse_if_in_use(session, row)
        _record(session, row, "host_removed", f"{name} is removed.")
        try:
            with session.begin_nested():
                session.delete(row)
        except IntegrityError:
            # Past reservations stood there and stay on record; without a role it is no host of the site any
            # more.
            row.roles, row.boot_id = [], None
    click.echo(f"{name} is removed.", err=True)


def _move_off(database: Database, settings: Settings, row: Host) -> int:
    """Move what is booked on the host and not built yet, tell of each, and give the exit status."""
    actor, now = f"operator:{getpass.getuser()}", datetime.now(UTC)
    moved = replace.move_off(database, settings, now=now, actor=actor, host_id=row.id)
    for one in moved:
        click.echo(f"{one.name}: {one.why or '; '.join(one.moves)}", err=True)
    if len(moved) == replace.MOST:
        click.echo("The schedule pass moves what is left.", err=True)
    return INCOMPLETE if any(one.why for one in moved) else 0


def _look_at(to: Endpoint, settings: Settings, roles: frozenset[str]) -> probe.Report:
    helper = hashlib.sha256(build.zipapp()).hexdigest()
    return probe.look_at(to, settings, helper, roles)


def _ip(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(address, None, socket.AF_INET)[0][4][0])
    except OSError as why:
        raise SiteError(f"{address} is not known: {why.strerror}. Give the IP address.") from None


def _store(
    session: Session,
    to: Endpoint,
    addresses: tuple[str, str | None],
    roles: Sequence[str],
    report: probe.Report,
    settings: Settings,
) -> None:
    row = host_by_name(session, to.name)
    kind = "host_added" if row is None or not row.roles else "host_updated"
    words = (
        f"{to.name} at {to.address} port {to.port} as {', '.join(sorted(roles))}, {fingerprint(to.host_key)}"
    )
    is_another = row is not None and key_blob(row.host_key) != key_blob(to.host_key)
    if row is None:
        row = Host(name=to.name, added_at=datetime.now(UTC))
        session.add(row)
    elif not row.roles:
        row.state = "enabled"
    else:
        _refuse_misfit(session, row, addresses, report.facts or {}, settings)
        if is_another:
            kind, words = "host_replaced", f"{words}, in the place of {fingerprint(row.host_key)}"
    row.address, row.port, row.host_key = to.address, to.port, to.host_key
    row.data_address, row.storage_address = addresses
    for gone in [role for role in row.roles if role.role not in roles]:
        row.roles.remove(gone)
    row.roles += [HostRole(role=role) for role in sorted(set(roles)) if role not in row.role_names]
    row.failures, row.suspect_until, row.last_error = 0, None, None
    row.failing_since = row.lost_at = None
    session.flush()
    _store_facts(session, row, report, settings, is_another)
    _record(session, row, kind, words)


def _store_facts(
    session: Session, row: Host, report: probe.Report, settings: Settings, is_another: bool = False
) -> None:
    facts, now = report.facts or {}, datetime.now(UTC)
    row.facts, row.last_seen_at = {**facts, "told_at": now.isoformat(timespec="seconds")}, now
    row.vcpus, row.memory_mib = int(facts["vcpus"]), int(facts["memory_mib"])
    row.capabilities = probe.capabilities(facts)
    if report.boot_id is not None:
        note_boot(session, row, report.boot_id, f"operator:{getpass.getuser()}", now)
    # What is free counts as the whole only while nothing of ours takes part of it; on another machine nothing does yet.
    is_taken = ledger.is_host_taken(session, row.id) or resource.is_on_host(session, row.id)
    if is_another or not is_taken:
        told = {"lvm": "pool", "lvm_thick": "group"}.get(settings.storage.volume)
        room = (facts.get(told) or {}).get("free_mib", 0) if told else facts["disk_free_mib"]
        row.disk_mib = int(room)


def _facts(session: Session) -> dict[str, dict[str, Any]]:
    """What was last seen of each host that the site uses, by name."""
    return {row.name: row.facts for row in hosts(session) if row.roles}


def _row(session: Session, name: str) -> Host:
    row = host_by_name(session, name)
    if row is None or not row.roles:
        raise NotFound(f"There is no host {name!r}; `leasehold host list` names them.")
    return row


def _refuse_if_in_use(session: Session, row: Host) -> None:
    if ledger.is_host_taken(session, row.id) or resource.is_on_host(session, row.id):
        raise SiteError(
            f"{row.name} is in use: something is booked or stands there. Run `leasehold host drain {row.name}`, then "
            "wait for its reservations to end or cancel them."
        )


def _refuse_misfit(
    session: Session,
    row: Host,
    addresses: tuple[str, str | None],
    facts: dict[str, Any],
    settings: Settings,
) -> None:
    """Refuse a machine that cannot carry what stands, or is to stand, on the host in whose place it comes."""
    wrong = probe.misfits(row.facts, facts, settings)
    held = (row.data_address, row.storage_address)
    for option, old, new in zip(("--data-address", "--storage-address"), held, addresses, strict=True):
        if old != new:
            wrong.append(
                f"they reach it at {old or row.data_address}: give that with {option}, not {new or addresses[0]}"
            )
    if wrong and resource.is_of_clusters(session, row.id):
        raise SiteError(
            f"{row.name} was not changed, as clusters are built on it and {'; '.join(wrong)}. Or end them first."
        )


def _record(session: Session, row: Host, kind: str, message: str) -> None:
    event.record(session, datetime.now(UTC), f"operator:{getpass.getuser()}", kind, message, host_id=row.id)


if __name__ == "__main__":
    host.main(prog_name="leasehold host")
