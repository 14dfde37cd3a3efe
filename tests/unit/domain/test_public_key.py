# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Which public keys are taken, and what is said of the others."""

from __future__ import annotations

import base64
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import public_key
from tests.factories import KEY


def ssh_key(kind: str, *fields: bytes) -> str:
    blob = b"".join(struct.pack(">I", len(f)) + f for f in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xff" * 128), "1024 bits"),
        (ssh_key("ssh-dss", b"x"), "DSA"),
        (ssh_key("ssh-ed25519", b"short"), "32 bytes"),
        (ssh_key("ssh-foo", b"x"), "not accepted"),
        ("ssh-rsa " + KEY.split()[1], "does not say"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ('command="evil" ' + KEY, "damaged"),
        (KEY + "\nssh-ed25519 AAAA", "not an OpenSSH"),
        ("", "not an OpenSSH"),
    ],
)
def test_a_key_that_is_none_or_weak_is_refused(key: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        public_key.check(key)


def test_a_sound_rsa_key_is_taken() -> None:
    key = ssh_key("ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xff" * 384)
    assert public_key.check(key + "  me@home ") == key + " me@home"


@given(st.text())
def test_no_text_makes_the_key_check_stumble(text: str) -> None:
    with suppress(ValueError):
        assert public_key.check(text).isprintable()
