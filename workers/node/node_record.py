# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""open-iscsi's record of one target at one portal: where it lies and what stands in it.

The form is what `iscsiadm --mode node --op new` writes (open-iscsi 2.1); what is left out has its default.
"""

from __future__ import annotations

FOLDER = "/etc/iscsi/nodes"
PORT = 3260


def path(target: str, portal: str) -> str:
    """Where iscsiadm looks for the record of a target whose portal group is not known beforehand."""
    return f"{FOLDER}/{target}/{portal},{PORT}"


def text(target: str, portal: str, user: str, password: str, mutual: str | None, wait_s: int) -> str:
    """The record. A dead portal is noticed after ten seconds; then reads and writes wait for `wait_s`.

    With `mutual` the target has to show that secret as well, under the same name. Without, it is tgtd's: its 1.0.85
    takes SHA256 where that is offered, and has no room for the answer.
    """
    values = {
        "node.name": target,
        "node.tpgt": -1,
        "node.startup": "manual",  # only a pass logs in
        "node.discovery_type": "static",
        "iface.iscsi_ifacename": "default",
        "iface.transport_name": "tcp",
        "node.session.nr_sessions": 1,
        "node.session.initial_login_retry_max": 2,
        "node.session.auth.authmethod": "CHAP",
        "node.session.auth.chap_algs": "MD5" if mutual is None else "SHA256,MD5",
        "node.session.auth.username": user,
        "node.session.auth.password": password,
        "node.session.timeo.replacement_timeout": wait_s,
        "node.conn[0].address": portal,
        "node.conn[0].port": PORT,
        "node.conn[0].startup": "manual",
        "node.conn[0].timeo.login_timeout": 10,
        "node.conn[0].timeo.noop_out_interval": 5,
        "node.conn[0].timeo.noop_out_timeout": 5,
    }
    if mutual is not None:
        values |= {"node.session.auth.username_in": user, "node.session.auth.password_in": mutual}
    lines = [f"{name} = {value}" for name, value in values.items()]
    return "\n".join(["# BEGIN RECORD 2.1.8", *lines, "# END RECORD", ""])
