# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Secrets of the clusters, derived by name from the one key file of the site; none is stored.

A name is "KIND:WHAT", for example "chap:lh7-frontend-root". The same name gives the same bytes every time, so
that a repeated step changes nothing. Lose or change the site key and every running cluster's secrets change
with it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import string
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from app.domain.errors import SiteError

KEY_BYTES = 32
# RFC 7143 asks for at least 96 bits and some initiators take 16 characters at most; these are 95.3 bits.
CHAP_CHARACTERS = 16
MUNGE_BYTES = 128  # what mungekey makes
ALPHABET = (
    string.ascii_letters + string.digits
)  # nothing that a shell, a URL or a JSON string treats specially
PEM_WIDTH = 70  # as ssh-keygen writes it


def load_site_key(path: Path) -> bytes:
    """The site's key; raises SiteError when the file is missing, of the wrong size, or open to other
    users."""
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SiteError(f"the site key {path} cannot be read: {reason}; `leasehold init` makes it") from None
    if mode & 0o077:
        raise SiteError(
            f"the site key {path} is open to other users (mode {mode:04o}); run: chmod 0600 {path}"
        )
    if len(key) != KEY_BYTES:
        raise SiteError(f"the site key {path} must hold {KEY_BYTES} bytes; restore it from the backup")
    return key


def derive(key: bytes, name: str) -> str:
    """The secret of that name; raises ValueError for a name whose kind is not in KINDS.

    chap: 16 letters and digits. munge: base64 of 128 bytes. hostkey: an ed25519 private key as OpenSSH writes
    it.
    """
    kind, _, what = name.partition(":")
    if kind not in KINDS or not what:
        raise ValueError(
            f"{name!r} names no secret; one does it as KIND:WHAT, with KIND of {', '.join(KINDS)}"
        )
    return KINDS[kind](key, name)


def host_public_key(key: bytes, cluster: str) -> str:
    """The public half ("ssh-ed25519 AAAA...") of derive(key, "hostkey:CLUSTER")."""
    return "ssh-ed25519 " + base64.b64encode(_public_blob(_host_key(key, f"hostkey:{cluster}"))).decode()


def _chap(key: bytes, name: str) -> str:
    # 256 bits modulo 62^16 (95.3 bits): the remainder is uniform for every purpose.
    number = int.from_bytes(_bytes(key, name, 32))
    characters = []
    for _ in range(CHAP_CHARACTERS):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)


def _munge(key: bytes, name: str) -> str:
    return base64.b64encode(_bytes(key, name, MUNGE_BYTES)).decode()


def _host_private_key(key: bytes, name: str) -> str:
    """OpenSSH's PROTOCOL.key, unencrypted; the check integers, random in ssh-keygen, come from the key
    too."""
    private = _host_key(key, name)
    public = _public_blob(private)
    check = hashlib.sha256(public).digest()[:4]
    seed = private.private_bytes_raw()
    inner = (
        check
        + check
        + public
        + _string(seed + private.public_key().public_bytes_raw())
        + _string(b"leasehold")
    )
    inner += bytes(range(1, 1 + -len(inner) % 8))
    none = _string(b"none") + _string(b"none") + _string(b"")
    blob = b"openssh-key-v1\0" + none + (1).to_bytes(4) + _string(public) + _string(inner)
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + PEM_WIDTH] for at in range(0, len(text), PEM_WIDTH)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


KINDS = {"chap": _chap, "munge": _munge, "hostkey": _host_private_key}


def _host_key(key: bytes, name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_bytes(key, name, 32))


def _public_blob(private: Ed25519PrivateKey) -> bytes:
    return _string(b"ssh-ed25519") + _string(private.public_key().public_bytes_raw())


def _string(data: bytes) -> bytes:
    """A string as SSH writes it (RFC 4251, 5)."""
    return len(data).to_bytes(4) + data


def _bytes(key: bytes, name: str, length: int) -> bytes:
    """`length` bytes that only the key and the whole name determine (HKDF-Expand with SHA-256, RFC 5869)."""
    return HKDFExpand(algorithm=SHA256(), length=length, info=b"leasehold 1 " + name.encode()).derive(key)
