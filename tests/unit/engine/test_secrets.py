# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Secrets derived from the site key: stable, distinct, of the form each tool takes; the key file guarded."""

import base64

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from app.domain.errors import SiteError
from workers.engine.secrets import derive, host_public_key, load_site_key

KEY = bytes(range(32))

# Fixed for good: a change of these means that every running cluster gets other secrets with the next pass.
CHAP = "iVj1uUXXc4DU9HhL"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+gUrXZjmFp8mtA7cXuSffVrtzvDYazzWOMWkOFXNwQ"


def test_a_name_gives_the_same_secret_in_every_release():
    assert derive(KEY, "chap:lh7-frontend-root") == CHAP
    assert host_public_key(KEY, "lh7") == HOST_KEY


def test_names_and_keys_give_distinct_secrets():
    names = [f"{kind}:lh{number}" for kind in ("chap", "munge", "hostkey") for number in range(50)]
    made = {derive(key, name) for key in (KEY, KEY[::-1]) for name in names}
    assert len(made) == 2 * len(names)


def test_chap_secret_is_16_letters_and_digits():
    secret = derive(KEY, "chap:lh7-node1-root")
    assert len(secret) == 16
    assert secret.isascii()
    assert secret.isalnum()


def test_munge_key_is_base64_of_128_bytes():
    assert len(base64.b64decode(derive(KEY, "munge:lh7"), validate=True)) == 128


def test_host_key_is_one_that_openssh_reads_and_matches_its_public_half():
    text = derive(KEY, "hostkey:lh7")
    assert text == derive(KEY, "hostkey:lh7")
    private = load_ssh_private_key(text.encode(), None)
    public = load_ssh_public_key(host_public_key(KEY, "lh7").encode())
    assert private.public_key() == public


@pytest.mark.parametrize("name", ["", "chap", "chap:", "root:lh7", ":lh7", "lh7"])
def test_a_name_of_no_kind_is_refused(name):
    with pytest.raises(ValueError, match="names no secret"):
        derive(KEY, name)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_site_key_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "site.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    assert load_site_key(path) == KEY
    path.chmod(mode)
    with pytest.raises(SiteError, match="chmod 0600"):
        load_site_key(path)


@pytest.mark.parametrize("size", [0, 31, 33, 1000])
def test_site_key_of_another_size_is_refused(tmp_path, size):
    path = tmp_path / "site.key"
    path.write_bytes(b"k" * size)
    path.chmod(0o600)
    with pytest.raises(SiteError, match="32 bytes"):
        load_site_key(path)


def test_a_missing_site_key_names_the_file_and_the_remedy(tmp_path):
    with pytest.raises(SiteError, match=r"none\.key.*leasehold init"):
        load_site_key(tmp_path / "none.key")
