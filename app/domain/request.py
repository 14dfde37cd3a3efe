# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a person may ask for: one validation behind web, API and command line alike."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.errors import InvalidRequest
from app.domain.placement import POLICIES
from app.domain.slot import Slot, utc

# A cluster's and a node's name end up in host names, so they are DNS labels (RFC 1123), kept short enough
# that `<cluster>-<node>` still is one.
LABEL = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
NAME_LENGTH = 30
# What useradd(8) of Debian accepts by default.
USER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
RESERVED_USERS = frozenset(
    [
        *(
            "root",
            "daemon",
            "bin",
            "sys",
            "sync",
            "games",
            "man",
            "lp",
            "mail",
            "news",
            "uucp",
            "proxy",
            "backup",
        ),
        *(
            "list",
            "irc",
            "nobody",
            "sshd",
            "munge",
            "slurm",
            "dnsmasq",
            "messagebus",
            "debian",
            "statd",
            "www-data",
        ),
        *("systemd-network", "systemd-timesync", "systemd-resolve"),
    ]
)
TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
MAX_TAGS = 10
MAX_USERS = 500
MAX_KEYS_A_USER = 20
# NIST SP 800-57 part 1 rev. 5, table 2: below 112 bits of strength from 2014 on is disallowed.
RSA_MIN_BITS = 2048


@dataclass(frozen=True)
class Limits:
    """What this site lets one request ask for at the most."""

    nodes: int = 1000
    vcpus: int = 64
    memory_mib: int = 1 << 20
    memory_min_mib: int = 384
    disk_gib: int = 1 << 14
    disk_min_gib: int = 3
    length: timedelta = timedelta(days=366)
    ahead: timedelta = timedelta(days=730)


@dataclass(frozen=True)
class User:
    """A person who exists only inside the virtual cluster: login name and public keys."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """What decides how much room a cluster takes, and where."""

    node_names: tuple[str, ...]
    vcpus: int
    memory_mib: int
    disk_gib: int
    home_gib: int
    policy: str = "spread"
    tags: tuple[str, ...] = ()

    def of(self, number: int) -> Shape:
        """The same with this many compute nodes: the first of those named, then node1, node2, ..."""
        more = (name for name in map("node{}".format, itertools.count(1)) if name not in self.node_names)
        return replace(self, node_names=(*self.node_names, *itertools.islice(more, max(0, number)))[:number])


@dataclass(frozen=True)
class Request:
    """A virtual cluster as asked for, valid by construction when it comes from `validate`."""

    name: str
    slot: Slot
    node_names: tuple[str, ...]
    vcpus: int
    memory_mib: int
    disk_gib: int
    home_gib: int
    rolls: tuple[str, ...]
    users: tuple[User, ...]
    note: str = ""
    policy: str = "spread"
    tags: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """What of it decides how much room it takes."""
        sizes = (self.vcpus, self.memory_mib, self.disk_gib, self.home_gib)
        return Shape(self.node_names, *sizes, policy=self.policy, tags=self.tags)


def validate(
    raw: Mapping[str, object], *, now: datetime, rolls: Collection[str], limits: Limits = Limits()
) -> Request:
    """The request in `raw`, or InvalidRequest with one message for each field that is wrong.

    `raw` holds name (str), start and end (aware datetimes; start None means now), node_count (int),
    node_names (sequence of str, may be empty: node1..nodeN), vcpus, memory_mib, disk_gib, home_gib (ints),
    rolls (names), users (sequence of User) and note; also, if wanted, policy (spread or pack) and tags that the
    compute hosts must have. `rolls` is what this site offers.
    """
    wrong: dict[str, str] = {}
    name = _label(raw.get("name"), "name", "The cluster's name", wrong)
    slot = _slot(raw.get("start"), raw.get("end"), now, limits, wrong)
    shape = _shape(raw, limits, wrong)
    chosen = tuple(dict.fromkeys(_texts(raw.get("rolls"))))
    unknown = [roll for roll in chosen if roll not in rolls]
    if unknown:
        wrong["rolls"] = f"There is no roll {unknown[0]!r} here. Choose among: {', '.join(sorted(rolls))}."
    users = _users(raw.get("users"), wrong)
    note = raw.get("note") or ""
    if not isinstance(note, str) or len(note) > 2000 or "\x00" in note:
        wrong["note"] = "A note is text of at most 2,000 characters."
    if wrong:
        raise InvalidRequest(wrong)
    assert slot is not None
    return Request(
        name=name,
        slot=slot,
        node_names=shape.node_names,
        vcpus=shape.vcpus,
        memory_mib=shape.memory_mib,
        disk_gib=shape.disk_gib,
        home_gib=shape.home_gib,
        rolls=chosen,
        users=users,
        note=str(note).strip(),
        policy=shape.policy,
        tags=shape.tags,
    )


def validate_shape(raw: Mapping[str, object], *, limits: Limits = Limits()) -> Shape:
    """The shape in `raw`, by the rules and in the words of `validate`."""
    wrong: dict[str, str] = {}
    shape = _shape(raw, limits, wrong)
    if wrong:
        raise InvalidRequest(wrong)
    return shape


def _shape(raw: Mapping[str, object], limits: Limits, wrong: dict[str, str]) -> Shape:
    count = _number(raw.get("node_count"), "node_count", "compute nodes", 1, limits.nodes, wrong)
    nodes = _node_names(_texts(raw.get("node_names")), count, wrong)
    vcpus = _number(raw.get("vcpus"), "vcpus", "vCPUs a node", 1, limits.vcpus, wrong)
    memory = _number(
        raw.get("memory_mib"),
        "memory_mib",
        "MiB of memory a node",
        limits.memory_min_mib,
        limits.memory_mib,
        wrong,
    )
    disk = _number(
        raw.get("disk_gib"), "disk_gib", "GiB of disk a node", limits.disk_min_gib, limits.disk_gib, wrong
    )
    home = _number(raw.get("home_gib"), "home_gib", "GiB for /home", 1, limits.disk_gib, wrong)
    policy = str(raw.get("policy") or "spread")
    if policy not in POLICIES:
        wrong["policy"] = f"There is no policy {policy[:40]!r}. Choose among: {', '.join(POLICIES)}."
    tags = tuple(dict.fromkeys(_texts(raw.get("tags"))))
    if len(tags) > MAX_TAGS or not all(TAG.fullmatch(tag) for tag in tags):
        wrong["tags"] = (
            f"At most {MAX_TAGS} tags of lower-case letters, digits, dots, underscores and hyphens."
        )
    return Shape(nodes, vcpus, memory, disk, home, policy, tags)


def check_public_key(line: str) -> str:
    """The OpenSSH public key line, tidied; ValueError says why it is not one or is too weak.

    The key's inside is read by RFC 4253 section 6.6: a length-prefixed type that must equal the line's first word,
    then for RSA the exponent and the modulus.
    """
    words = line.strip().split(None, 2)
    if len(words) < 2 or not line.isprintable():
        raise ValueError("this is not an OpenSSH public key line (expected 'ssh-ed25519 AAAA... comment')")
    kind, body = words[0], words[1]
    if "PRIVATE" in line:
        raise ValueError("this is a private key: keep it to yourself and paste the .pub file instead")
    try:
        blob = base64.b64decode(body, validate=True)
        fields = _ssh_strings(blob)
    except (binascii.Error, struct.error, ValueError):
        raise ValueError("the key is damaged: its base64 part cannot be read") from None
    if not fields or fields[0] != kind.encode():
        raise ValueError(f"the key's inside does not say {kind!r}: it was cut or pasted together")
    if kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else 0
        if bits < RSA_MIN_BITS:
            raise ValueError(
                f"this RSA key has {bits} bits; use at least {RSA_MIN_BITS}, or better an ed25519 key"
            )
    elif kind == "ssh-ed25519":
        if len(fields) != 2 or len(fields[1]) != 32:
            raise ValueError("the ed25519 key is damaged: it must hold 32 bytes")
    elif kind == "ssh-dss":
        raise ValueError("DSA keys are too weak; make one with: ssh-keygen -t ed25519")
    elif kind not in KEY_KINDS:
        raise ValueError(f"keys of type {kind!r} are not accepted; make one with: ssh-keygen -t ed25519")
    return " ".join(words)


KEY_KINDS = frozenset(
    {
        "ssh-rsa",
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)


def _ssh_strings(blob: bytes) -> list[bytes]:
    fields, at = [], 0
    while at < len(blob):
        (size,) = struct.unpack_from(">I", blob, at)
        at += 4
        if at + size > len(blob):
            raise ValueError("a field runs past the end")
        fields.append(blob[at : at + size])
        at += size
    return fields


def _label(value: object, field: str, what: str, wrong: dict[str, str]) -> str:
    if isinstance(value, str) and len(value) <= NAME_LENGTH and LABEL.fullmatch(value):
        return value
    wrong[field] = (
        f"{what} must start with a lower-case letter and hold only lower-case letters, digits and hyphens,"
        f" at most {NAME_LENGTH} of them."
    )
    return ""


def _number(value: object, field: str, what: str, least: int, most: int, wrong: dict[str, str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    wrong[field] = f"Ask for {least:,} to {most:,} {what}."
    return 0


def _slot(start: object, end: object, now: datetime, limits: Limits, wrong: dict[str, str]) -> Slot | None:
    begin, until = _moment(now if start is None else start), _moment(end)
    if begin is None:
        wrong["start"] = "Give the start as a date and a time, like 2026-12-01 09:00."
    elif begin < now.replace(second=0, microsecond=0):
        wrong["start"] = "The start has passed. Choose a later one, or leave it empty to start now."
    elif begin > now + limits.ahead:
        wrong["start"] = f"Book at most {limits.ahead.days} days ahead."
    if until is None:
        wrong["end"] = "Give the end as a date and a time, like 2026-12-01 17:00."
    if begin is None or until is None or "start" in wrong:
        return None
    if until <= begin:
        wrong["end"] = "The end must be after the start."
    elif until <= now:
        wrong["end"] = "The end has passed already."
    elif until - begin > limits.length:
        wrong["end"] = f"A slot lasts at most {limits.length.days} days."
    return None if "end" in wrong else Slot(begin, until)


def _moment(value: object) -> datetime | None:
    """The time in UTC: two times of one zone would be compared by its clocks, which go back once a year.

    None for what is no time, says no zone, or lies outside the calendar.
    """
    try:
        return utc(value) if isinstance(value, datetime) else None
    except (ValueError, OverflowError):
        return None


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(item) for item in value)
    return ()


def _node_names(given: tuple[str, ...], count: int, wrong: dict[str, str]) -> tuple[str, ...]:
    if not given:
        return tuple(f"node{i}" for i in range(1, count + 1))
    bad = [name for name in given if len(name) > NAME_LENGTH or not LABEL.fullmatch(name)]
    twice = [name for name in given if given.count(name) > 1]
    if bad:
        _label(bad[0], "node_names", f"The node name {bad[0][:40]!r}", wrong)
    elif twice:
        wrong["node_names"] = f"Two nodes are called {twice[0]!r}: give each its own name."
    elif "frontend" in given:
        wrong["node_names"] = "'frontend' is the frontend's own name: choose another for the compute node."
    elif count and len(given) != count:
        wrong["node_names"] = f"{len(given)} names for {count} nodes: give one for each, or none."
    return given


def _users(value: object, wrong: dict[str, str]) -> tuple[User, ...]:
    users = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not users:
        wrong["users"] = "Name at least one user with a public SSH key: nobody could log in otherwise."
    elif len(users) > MAX_USERS:
        wrong["users"] = f"At most {MAX_USERS} users."
    checked: list[User] = []
    for user in users:
        if not isinstance(user, User) or not USER_NAME.fullmatch(user.name):
            wrong.setdefault(
                "users", f"{getattr(user, 'name', user)!r:.50} is no login name (like 'alice' or 'b-2')."
            )
        elif user.name in RESERVED_USERS:
            wrong.setdefault("users", f"{user.name!r} belongs to the system: choose another login name.")
        elif user.name in {other.name for other in checked}:
            wrong.setdefault("users", f"The user {user.name!r} is named twice: put all keys in one entry.")
        elif not 1 <= len(user.keys) <= MAX_KEYS_A_USER:
            wrong.setdefault("users", f"Give {user.name!r} 1 to {MAX_KEYS_A_USER} public SSH keys.")
        else:
            try:
                checked.append(User(user.name, tuple(check_public_key(key) for key in user.keys)))
            except ValueError as why:
                wrong.setdefault("users", f"Key of {user.name!r}: {why}.")
    return tuple(checked)
