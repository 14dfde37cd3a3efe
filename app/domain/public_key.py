# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The OpenSSH public key lines that are taken."""

from __future__ import annotations

import base64
import binascii
import struct

# NIST SP 800-57 part 1 rev. 5, table 2: below 112 bits of strength from 2014 on is disallowed.
RSA_MIN_BITS = 2048
KINDS = frozenset(
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


def check(line: str) -> str:
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
    elif kind not in KINDS:
        raise ValueError(f"keys of type {kind!r} are not accepted; make one with: ssh-keygen -t ed25519")
    return " ".join(words)


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
