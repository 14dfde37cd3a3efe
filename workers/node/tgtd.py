# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Speaks to tgtd's management socket, for the one thing that tgtadm cannot do without showing a secret.

The layout is `struct tgtadm_req` and `struct tgtadm_rsp` of tgt's usr/tgtadm.h, the numbers are its enums and
those of usr/tgtadm_error.h; unchanged from 1.0.85 (Debian 12) to 1.0.97. tgtd reads the request from a peer
with its own uid and gid only.
"""

from __future__ import annotations

import socket
import struct

from workers.node.protocol import Refused

SOCKET = "/run/tgtd/socket.0"
TIMEOUT_S = 10

# mode, op, lld, len, tid, sid, lun, cid, host_no, device_type, ac_dir, pack, force; native, 8 bytes aligned
_REQUEST = struct.Struct("@II64sIiQQIIIIII")
_RESPONSE = struct.Struct("@II")
_MODE_ACCOUNT = 7
_OP_NEW = 0
_ERRORS = {14: "this account already exists", 17: "invalid request"}


def add_account(user: str, password: str) -> None:
    """Make the account; raises Refused, never with the password in it."""
    body = f"user={user},password={password}".encode() + b"\0"
    head = _REQUEST.pack(
        _MODE_ACCOUNT, _OP_NEW, b"iscsi", _REQUEST.size + len(body), 0, 0, 0, 0, 0, 0, 0, 0, 0
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
        talk.settimeout(TIMEOUT_S)
        try:
            talk.connect(SOCKET)
            talk.sendall(head + body)
            answer = talk.recv(_RESPONSE.size, socket.MSG_WAITALL)
        except TimeoutError:
            raise Refused("timeout", f"tgtd did not answer on {SOCKET} within {TIMEOUT_S} s") from None
        except OSError as error:
            raise Refused(
                "tool_failed",
                f"tgtd does not listen on {SOCKET} ({error.strerror}): is the service tgt running?",
            ) from None
    if len(answer) < _RESPONSE.size:
        raise Refused("tool_failed", f"tgtd closed {SOCKET} without an answer to the new account {user}")
    code, _ = _RESPONSE.unpack(answer)
    if code:
        raise Refused("tool_failed", f"tgtd refused the account {user}: {_ERRORS.get(code, f'error {code}')}")
