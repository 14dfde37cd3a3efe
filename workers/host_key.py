# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The key of a host that is added: the host shows it, and a person vouches for it, now or beforehand."""

from __future__ import annotations

import time

import click

from app.domain.errors import SiteError
from workers.engine import ssh
from workers.engine.ssh import fingerprint, key_blob

LOOK_S = 20.0


def agreed_key(
    name: str, address: str, port: int, *, given: str | None, pinned: str | None, yes: bool
) -> str:
    """The host's key as one line, vouched for: by `given`, a key line or a SHA256 fingerprint; by `yes` or a person
    who is asked where none is `pinned` yet; or because it is the one that is pinned.

    A changed key takes `given` or a person. SiteError when the host shows none or another, click.Abort when the person
    says no.
    """
    try:
        shown = ssh.shown_host_key(address, port, time.monotonic() + LOOK_S)
    except ssh.Broken as broken:
        raise SiteError(f"{name}: {broken.message}") from None
    _agree(name, shown, given, pinned, yes)
    return shown


def _agree(name: str, shown: str, given: str | None, pinned: str | None, yes: bool) -> None:
    """Have a person, or the key given beforehand, vouch for the key that the host shows."""
    words = f"{shown.split()[0]} {fingerprint(shown)}"
    click.echo(f"{name} shows the host key {words}", err=True)
    changed = pinned is not None and key_blob(pinned) != key_blob(shown)
    if changed and pinned is not None:
        click.echo(
            f"WARNING: THE HOST KEY OF {name} HAS CHANGED. Pinned until now: {fingerprint(pinned)}. The host was "
            "installed anew, or somebody stands between.",
            err=True,
        )
    if given is not None:
        try:
            right = (
                given == fingerprint(shown)
                if given.startswith("SHA256:")
                else key_blob(given) == key_blob(shown)
            )
        except ValueError as why:
            raise click.BadParameter(str(why), param_hint="--host-key") from None
        if not right:
            raise SiteError(
                f"{name} SHOWS ANOTHER HOST KEY than the one given ({given}): nothing was done. Look at the host's own "
                "console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
            )
    elif changed and yes:
        raise SiteError(
            f"{name}: --yes does not pin a changed key; give the new one with --host-key. Nothing was done."
        )
    elif not yes and (changed or pinned is None):
        click.confirm(
            "Is this its key (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there)?", abort=True, err=True
        )
