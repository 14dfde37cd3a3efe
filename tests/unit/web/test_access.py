# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""How to get in."""

from __future__ import annotations

from app.db.reservation import ClusterUser, Reservation
from app.web.access import access, fingerprint

# Made by `ssh-keygen -t ed25519`, its fingerprint by `ssh-keygen -lf` of OpenSSH 9.2.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAw2Kj+qdtn6jBNHz+7lUf/bNpfizwVBDoNprwmMb94v"
FINGERPRINT = "SHA256:Jwdk8v/d5JIX/vr5hRlwhl5iQ3H/Hvi9dx6+Zari9Gc"


def cluster(**over: object) -> Reservation:
    users = [ClusterUser(name="alice", uid=2001, keys=[]), ClusterUser(name="bob", uid=2002, keys=[])]
    return Reservation(users=users, **over)


def test_each_user_gets_a_command_and_all_get_the_host_key():
    way = access(cluster(public_address="198.19.0.101", host_public_key=f"{KEY} root@frontend\n"))
    assert way is not None
    assert way.commands == ("ssh -p 22 alice@198.19.0.101", "ssh -p 22 bob@198.19.0.101")
    assert way.known_hosts == f"198.19.0.101 {KEY}"
    assert way.fingerprint == FINGERPRINT


def test_without_an_address_there_is_no_way_in():
    assert access(cluster(host_public_key=KEY)) is None


def test_without_a_recorded_key_the_rest_is_shown():
    way = access(cluster(public_address="198.19.0.101"))
    assert way is not None
    assert (way.known_hosts, way.fingerprint) == (None, None)


def test_a_key_that_cannot_be_read_has_no_fingerprint():
    assert fingerprint("ssh-ed25519") is None
    assert fingerprint("ssh-ed25519 ***") is None
