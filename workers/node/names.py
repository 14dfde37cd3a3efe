# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads an operation's arguments: every name by an allow-list and against the remit, before anything else.

A name that is not of its form is a bad_request; one that is, but lacks our mark, is out_of_remit. Messages show a
refused value cut and escaped: it may be hostile.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from workers.node.protocol import Refused, Remit

# One name inside a cluster: a DNS label, at most 40 characters.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
_KEY = r"[1-9][0-9]{0,8}"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IMAGE = re.compile(r"[a-z][a-z0-9]{0,20}-[0-9a-f]{12}")
_IQN_PREFIX = r"iqn\.[0-9]{4}-[0-9]{2}\.[a-z0-9]+(?:[.-][a-z0-9]+)*:"
_INITIATOR = re.compile(
    # A month, and the domain that somebody had in it, backwards and of two parts at the least; then what they like.
    r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*){2,}(?::[a-z0-9](?:[a-z0-9.:-]{0,126}[a-z0-9])?)?"
    r"|eui\.[0-9a-f]{16}|naa\.[125][0-9a-f]{15}"
)
_LINK = re.compile(r"[a-z][a-z0-9._-]{0,14}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_EDITION = re.compile(r"[0-9a-f]{8}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/=._-]{12,128}")
_EVENT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
MAX_ISCSI_NAME = 223
MAX_INITIATORS = 4096  # a host for each guest that a cluster has a MAC address for
MAX_LINK = 15  # IFNAMSIZ of the kernel, less its NUL


def take(args: Mapping[str, Any], **types: type | tuple[type, ...]) -> list[Any]:
    """The values of exactly these arguments, in order; bad_request when one lacks, is unknown or no such type."""
    unknown = sorted(set(args) - set(types))
    if unknown:
        raise bad(f"unknown argument {show(unknown[0])}")
    values = []
    for name, type_ in types.items():
        if name not in args:
            raise bad(f'argument "{name}" is missing')
        value = args[name]
        allowed = type_ if isinstance(type_, tuple) else (type_,)
        if not isinstance(value, type_) or (isinstance(value, bool) and bool not in allowed):
            raise bad(f'argument "{name}" is of the wrong type: {show(value)}')
        values.append(value)
    return values


def marked(value: str, remit: Remit, what: str, max_length: int = 63) -> str:
    """`value` if it is a name such as lh7-frontend with the remit's mark."""
    if len(value) > max_length or not re.fullmatch(rf"[a-z]{{1,8}}{_KEY}-{_LABEL}", value):
        raise bad(f"{what} must be a name like {remit.mark}7-node1, not {show(value)}")
    if not re.fullmatch(rf"{re.escape(remit.mark)}{_KEY}-{_LABEL}", value):
        raise Refused("out_of_remit", f"{what} {value} does not carry this host's mark {remit.mark}")
    return value


def refuse_if_lost(stood: bool, where: str) -> None:
    """Refuses to make a volume a second time: it would be there again without what was written to it."""
    if stood:
        raise Refused(
            "lost",
            f"{where} stood here and is gone, and nothing was put in its place: mount or bring back the disk that it is"
            " on, or end the cluster, or take its node out of it",
        )


def key_of(name: str) -> str:
    """The reservation's key in a marked name: lh7 of lh7-frontend."""
    return name.partition("-")[0]


def same_key(*names: str) -> str:
    """The one key of these marked names; bad_request when they belong to different reservations."""
    keys = sorted({key_of(name) for name in names})
    if len(keys) != 1:
        raise bad(f"names of different reservations in one request: {', '.join(keys)}")
    return keys[0]


def alias_for(value: str, key: str) -> str:
    """`value` if it is the ownership mark of that key."""
    if value != f"leasehold:{key}":
        raise bad(f"alias must be leasehold:{key}, not {show(value)}")
    return value


def target(value: str, remit: Remit) -> str:
    """`value` if it is an iSCSI name that ends in a marked name."""
    prefix, colon, name = value.partition(":")
    if len(value) > MAX_ISCSI_NAME or not colon or not re.fullmatch(_IQN_PREFIX, prefix + colon):
        raise bad(f"target must be a name like iqn.2026-11.org.example:{remit.mark}7-root, not {show(value)}")
    marked(name, remit, "the target's name")
    return value


def is_initiator(value: str) -> bool:
    """Whether it is an initiator's iSCSI name (RFC 7143, 4.2.7) that the kernel's target takes and keeps as it is: its
    library refuses some (normalize_wwn in rtslib 2.1.75), and writes others anew in lower case."""
    return len(value) <= MAX_ISCSI_NAME and _INITIATOR.fullmatch(value) is not None


def initiator(value: str) -> str:
    """`value` if it is an initiator's name, see is_initiator; it is the host's own and carries no mark."""
    if not is_initiator(value):
        raise bad(
            f"initiator must be of the form of iqn.1993-08.org.debian:01:7c1f0f2b8a11, not {show(value)}"
        )
    return value


def one_or_more(value: str | list[Any], what: str) -> list[str]:
    """`value` as a list of different texts: one by itself, or 1 to MAX_INITIATORS of them."""
    several = [value] if isinstance(value, str) else value
    if not all(isinstance(one, str) for one in several) or len(set(several)) != len(several):
        raise bad(f"{what} must be a text or a list of different ones, not {show(value)}")
    within(len(several), 1, MAX_INITIATORS, f"the number of {what}s")
    return several


def image(value: str) -> str:
    """`value` if it is the name of a golden image: its kind, a dash, 12 hexadecimal digits."""
    return _match(_IMAGE, value, "image", "frontend-3fa9c01b22de")


def uuid(value: str) -> str:
    """`value` if it is a UUID in lower case."""
    return _match(_UUID, value, "uuid", "0d9f4e34-6c52-5e0d-9e0e-5b1d3c0a7f11")


def mac(value: str) -> str:
    """`value` if it is a MAC address in lower case."""
    return _match(_MAC, value, "MAC address", "02:00:00:00:00:01")


def event(value: str) -> str:
    """`value` if it is the name of an event that a guest may report."""
    return _match(_EVENT, value, "event", "ready")


def password(value: str) -> str:
    """`value` if it can be a CHAP secret; the message never shows it. 12 characters is the least RFC 7143 allows."""
    if not _PASSWORD.fullmatch(value):
        raise bad("password must have 12 to 128 characters out of A-Z a-z 0-9 + / = . _ -")
    return value


def foreign_link(value: str, remit: Remit) -> str:
    """`value` if it is the name of a link of the host itself, which we build upon and never change."""
    _match(_LINK, value, "parent", "eth1")
    if re.match(rf"{re.escape(remit.mark)}{_KEY}-", value):
        raise Refused("out_of_remit", f"parent {value} is a link of ours, not of the host")
    return value


def address(value: Any, what: str) -> str:
    """`value` if it is an IPv4 address of a single host."""
    try:
        parsed = ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise bad(f"{what} must be an IPv4 address, not {show(value)}") from None
    if parsed.is_multicast or parsed.is_unspecified or parsed == ipaddress.IPv4Address("255.255.255.255"):
        raise bad(f"{what} must be the address of one host, not {parsed}")
    return str(parsed)


def interface(value: str, what: str) -> ipaddress.IPv4Interface:
    """`value` if it is a host's IPv4 address in a network of more than two, like 100.64.4.3/22."""
    ip, _, length = value.partition("/")
    address(ip, what)
    if not re.fullmatch(r"[0-9]|[12][0-9]|30", length):
        raise bad(f"{what} must have a prefix length from 0 to 30, not {show(value)}")
    parsed = ipaddress.IPv4Interface(value)
    if parsed.ip in (parsed.network.network_address, parsed.network.broadcast_address):
        raise bad(f"{what} must be the address of one host, not {parsed}")
    return parsed


def within(value: int, low: int, high: int, what: str) -> int:
    """`value` if low <= value <= high."""
    if not low <= value <= high:
        raise bad(f"{what} must be from {low} to {high}, not {show(value)}")
    return value


def file_name(value: Any, what: str) -> str:
    """`value` if it is a plain relative path: parts of letters, digits and ._+@-, none of them . or .. or an option."""
    parts = value.split("/") if isinstance(value, str) else []
    good = all(re.fullmatch(r"[A-Za-z0-9_.@][A-Za-z0-9._+@-]{0,99}", part) for part in parts)
    if not parts or not good or {".", ".."} & set(parts) or len(value) > 200:
        raise bad(f"{what} must be a relative path of plain names, not {show(value)}")
    return str(value)


def edition(value: str | None) -> str | None:
    """`value` if it can be the edition of a site roll, or None where none is asked for."""
    return None if value is None else _match(_EDITION, value, "edition", "3f9a12cd")


def bad(message: str) -> Refused:
    """A bad_request."""
    return Refused("bad_request", message)


def show(value: Any) -> str:
    """A refused value, fit for a message: escaped, at most 60 characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _match(pattern: re.Pattern[str], value: str, what: str, example: str) -> str:
    if not pattern.fullmatch(value):
        raise bad(f"{what} must be of the form of {example}, not {show(value)}")
    return value
