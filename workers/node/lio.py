# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernel's own iSCSI target, by Debian's rtslib: one export looked at, made, removed, saved.

rtslib is not safe in parallel, so each change holds the lock that targetcli holds too. It is the host's own package
and is loaded when it is first needed. An export is a target, its first portal group, and a backstore of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from workers.node.protocol import Refused
from workers.node.steps import GetLio, LioExport, LioRemove, LioSave, LioSeen

LOCK = "/run/targetcli.lock"
LOCK_WAIT_S = 10
SAVED = "/etc/rtslib-fb-target/saveconfig.json"
DEBIAN = "/usr/lib/python3/dist-packages"  # the helper starts without the host's packages
PORT = 3260
# Who is not listed does not come in, who is listed shows a secret, and a guest's discards reach the thin pool.
CLOSED = {"authentication": "1", "generate_node_acls": "0", "demo_mode_discovery": "0"}
NAMESPACE = uuid.UUID("5f1d5d6e-6c1c-5b0e-9c39-7c1f0f2b8a11")


def key(*secrets: str) -> str:
    """What LioSeen.key is for one initiator with these CHAP names and secrets."""
    return hashlib.sha256("\n".join(secrets).encode()).hexdigest()[:16]


def look(query: GetLio) -> LioSeen:
    """The export as the kernel has it."""
    with _library() as rtslib:
        store, target = _backstore(rtslib, query.backstore), _target(rtslib, query.target)
        is_saved = _dump(store, target) == _saved(query)
        device = store.udev_path if store else None
        group = next(iter(target.tpgs), None) if target else None
        if group is None:
            return LioSeen(device, target is not None, is_saved=is_saved)
        access = sorted(group.node_acls, key=lambda acl: acl.node_wwn)
        chap = [
            key(acl.chap_userid, acl.chap_password, acl.chap_mutual_userid, acl.chap_mutual_password)
            for acl in access
        ]
        return LioSeen(
            device,
            True,
            group.enable,
            all(group.get_attribute(name) == value for name, value in CLOSED.items()),
            tuple(sorted((lun.lun, lun.storage_object.name) for lun in group.luns)),
            tuple(sorted(f"{portal.ip_address}:{portal.port}" for portal in group.network_portals)),
            tuple(acl.node_wwn for acl in access if [lun.mapped_lun for lun in acl.mapped_luns] == [0]),
            ",".join(chap),
            is_saved,
        )


def export(command: LioExport) -> None:
    """Make or mend it; the way in is opened last. Raises Refused."""
    with _library() as rtslib, _lock():
        store = _backstore(rtslib, command.backstore)
        if store is None:
            serial = str(uuid.uuid5(NAMESPACE, command.target))
            store = rtslib.BlockStorageObject(command.backstore, dev=command.device, wwn=serial)
            with suppress(rtslib.RTSLibError):  # a disk below that knows no discard
                store.set_attribute("emulate_tpu", "1")
        group = rtslib.TPG(rtslib.Target(rtslib.FabricModule("iscsi"), command.target), 1)
        for name, value in CLOSED.items():
            group.set_attribute(name, value)
        for acl in [acl for acl in group.node_acls if acl.node_wwn not in command.initiators]:
            acl.delete()
        here = (command.portal, PORT)
        for portal in [p for p in group.network_portals if (p.ip_address, p.port) != here]:
            portal.delete()
        for lun in [lun for lun in group.luns if (lun.lun, lun.storage_object.name) != (0, store.name)]:
            lun.delete()
        if not list(group.luns):
            rtslib.LUN(group, 0, store)
        for initiator in command.initiators:
            acl = rtslib.NodeACL(group, initiator)
            acl.chap_userid = acl.chap_mutual_userid = command.user
            acl.chap_password, acl.chap_mutual_password = command.password, command.mutual
            if not list(acl.mapped_luns):
                rtslib.MappedLUN(acl, 0, 0)
        group.enable = True
        rtslib.NetworkPortal(group, command.portal, PORT)


def remove(command: LioRemove) -> None:
    """Close the way in, which ends the sessions, and take all away."""
    with _library() as rtslib, _lock():
        target = _target(rtslib, command.target)
        if target is not None:
            for group in target.tpgs:
                group.enable = False
            target.delete()
        store = _backstore(rtslib, command.backstore)
        if store is not None:
            store.delete()


def save(command: LioSave) -> None:
    """Replace this export in the saved configuration, and nothing else in it; old or new after a crash."""
    new = f"{SAVED}.leasehold"
    with _library() as rtslib, _lock():
        os.makedirs(os.path.dirname(SAVED), 0o755, exist_ok=True)
        if os.path.exists(SAVED):
            shutil.copy2(SAVED, new)
        rtslib.RTSRoot().save_to_file(new, so_path=f"/backstores/block/{command.backstore}")
        os.rename(new, SAVED)


@contextmanager
def _library() -> Iterator[Any]:
    """rtslib, with the kernel's modules loaded; what it raises becomes Refused."""
    if DEBIAN not in sys.path:
        sys.path.append(DEBIAN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import rtslib_fb as rtslib

            # It remembers which backstores there are; a helper that is kept would not see what others made since.
            rtslib.RTSRoot().invalidate_caches()
    except ImportError:
        raise Refused(
            "tool_missing", "rtslib is not installed on this host: install the Debian package targetcli-fb"
        ) from None
    except rtslib.RTSLibError as error:
        raise Refused("tool_failed", f"the kernel's iSCSI target does not start: {error}") from None
    try:
        yield rtslib
    except rtslib.RTSLibError as error:
        raise Refused("tool_failed", f"the kernel's iSCSI target refused: {error}") from None


@contextmanager
def _lock() -> Iterator[None]:
    with open(LOCK, "w") as file:
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Refused("busy", f"targetcli, or another helper, holds {LOCK}") from None
                time.sleep(0.1)
        yield


def _backstore(rtslib: Any, name: str) -> Any:
    try:
        return rtslib.BlockStorageObject(name)
    except rtslib.RTSLibError:
        return None


def _target(rtslib: Any, name: str) -> Any:
    try:
        return rtslib.Target(rtslib.FabricModule("iscsi"), name, "lookup")
    except rtslib.RTSLibError:
        return None


def _dump(store: Any, target: Any) -> list[Any]:
    """What the saved configuration should hold, in JSON's own types."""
    return json.loads(json.dumps([store.dump() if store else None, target.dump() if target else None]))


def _saved(query: GetLio) -> list[Any]:
    """What it does hold: the backstore and the target, each None where it is not there."""
    try:
        with open(SAVED) as file:
            held = json.load(file)
    except FileNotFoundError:
        return [None, None]
    except ValueError:
        raise Refused("tool_failed", f"{SAVED} is not JSON: put {SAVED}'s backup in its place") from None
    blocks = [one for one in held.get("storage_objects", []) if one.get("plugin") == "block"]
    return [
        next((one for one in blocks if one.get("name") == query.backstore), None),
        next((one for one in held.get("targets", []) if one.get("wwn") == query.target), None),
    ]
