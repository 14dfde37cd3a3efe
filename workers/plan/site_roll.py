# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The site roll: all that makes one cluster different from another, as the files of the frontend's NoCloud ISO.

All text is written by json.dumps (JSON is YAML), never pasted into a template, so that no name or key a person
typed can end a value early. Format of the three NoCloud files:
https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html and network-config-format-v2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

EDITION_DIGITS = 8
# Not printable in YAML 1.1, or a line break there: https://yaml.org/spec/1.1/#c-printable
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Frontend:
    """The frontend's name and its two sides."""

    name: str
    private_address: str
    private_mac: str
    public_address: str
    public_mac: str
    public_prefix: int
    public_gateway: str


@dataclass(frozen=True)
class Node:
    """One compute node, in the order of its number, and the group it was booked in."""

    name: str
    group: str
    mac: str
    address: str
    vcpus: int
    memory_mib: int


@dataclass(frozen=True)
class User:
    """A person with an account on every machine of the cluster; the first one may use sudo on the frontend."""

    name: str
    uid: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Site:
    """One cluster. `munge_key` (base64 text) and `host_key` (OpenSSH format) are names of secrets, not the secrets.

    `instance` is another in each slot of the same cluster: a frontend that was one before takes its addresses anew.
    """

    cluster: str
    instance: str
    frontend: Frontend
    private_network: str
    mtu: int
    nodes: tuple[Node, ...]
    users: tuple[User, ...]
    rolls: tuple[str, ...]
    dns: tuple[str, ...]
    outside_check: str
    munge_key: str
    host_key: str


def site_roll(site: Site) -> dict[str, str | Mapping[str, str]]:
    """The files of the ISO by path; a value is text, or {"secret": NAME} for what is filled in just before sending.

    leasehold/edition names the content of all others: by it the frontend knows a new one, and says which it follows.
    """
    whole = asdict(site)
    for apart in ("instance", "munge_key", "host_key"):
        del whole[apart]
    files: dict[str, str | Mapping[str, str]] = {
        "user-data": "#cloud-config\n" + _json(_user_data(site)),
        # dsmode local: all is done in the first of cloud-init's stages, before the network, and the others are masked.
        "meta-data": _json(
            {"instance-id": site.instance, "local-hostname": site.frontend.name, "dsmode": "local"}
        ),
        "network-config": _json(_network_config(site)),
        "leasehold/site.json": _json(whole),
        "leasehold/munge.key": {"secret": site.munge_key},
        "leasehold/ssh_host_ed25519_key": {"secret": site.host_key},
    }
    edition = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:EDITION_DIGITS]
    return files | {"leasehold/edition": f"{edition}\n"}


def _user_data(site: Site) -> dict[str, object]:
    users = [
        {
            "name": user.name,
            "uid": user.uid,
            "shell": "/bin/bash",
            "lock_passwd": True,
            "ssh_authorized_keys": list(user.keys),
            **({"sudo": "ALL=(ALL) NOPASSWD:ALL"} if number == 0 else {}),
        }
        for number, user in enumerate(site.users)
    ]
    return {"users": users, "disable_root": True, "ssh_pwauth": False}


def _network_config(site: Site) -> dict[str, object]:
    frontend = site.frontend
    private_prefix = site.private_network.partition("/")[2]
    return {
        "version": 2,
        "ethernets": {
            "public": {
                "match": {"macaddress": frontend.public_mac},
                "set-name": "public",
                "addresses": [f"{frontend.public_address}/{frontend.public_prefix}"],
                "gateway4": frontend.public_gateway,
                "nameservers": {"addresses": list(site.dns)},
            },
            "private": {
                "match": {"macaddress": frontend.private_mac},
                "set-name": "private",
                "mtu": site.mtu,
                "addresses": [f"{frontend.private_address}/{private_prefix}"],
            },
        },
    }


def _json(value: object) -> str:
    """JSON that is YAML too: raw where YAML knows no pair of surrogates, escaped where YAML takes no raw character."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
