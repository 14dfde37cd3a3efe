# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What manager and helper say to each other: JSON lines, read into frozen dataclasses at this edge.

The helper greets when it starts and whenever it reads an empty line. So an empty line behind a batch of requests asks
for the sign that all of them have been seen to.

The manager imports this module too, so that both ends read and write the same shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PROTOCOL = 2
MAX_LINE = 4 * 1024 * 1024  # a request carries a site roll or a FAI configuration space, as text
MAX_SEEN = 16 * 1024

CODES = (
    "bad_request",  # the request is not of the form its operation takes
    "out_of_remit",  # well formed, but the forced command does not allow it
    "not_ours",  # something of that name is there and does not carry our mark
    "tool_missing",  # a program is not installed on the host
    "tool_failed",  # a program or the kernel refused
    "no_space",
    "lost",  # what stood there is gone, and what was in it with it: only a person may go on
    "timeout",
    "busy",  # somebody else is at it, or something else must go or come first
    "not_converged",  # everything was done, and yet something is left to do
    "image_failed",  # an image build ended with an error
    "report_failed",  # a guest reported that its check did not pass
    "bug",  # the helper itself is wrong
)
RETRYABLE = frozenset(
    {"tool_missing", "tool_failed", "no_space", "timeout", "busy", "not_converged", "image_failed"}
)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_OP = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True)
class Error:
    """Why a request was not done: one of CODES, words for the operator, and whether trying again can help."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True)
class Request:
    """One thing that shall be `present` or `absent` on the host; `facts` has neither want nor args."""

    id: str
    op: str
    want: str = "present"
    args: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The request as one line, without the newline."""
        return json.dumps(asdict(self), ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True)
class Reply:
    """The answer to the request of the same id.

    `state` is what is there now: "present", "absent", "pending" (nothing left to do but to wait, `why` says
    for what) or "unknown" (an error). `did` lists what was done, in order, in words without secrets.
    """

    id: str | None
    ok: bool
    state: str
    changed: bool = False
    did: tuple[str, ...] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None
    error: Error | None = None

    def to_json(self) -> str:
        """The reply as one line, without the newline; `seen` is dropped where it would pass MAX_SEEN."""
        data = asdict(self)
        if len(json.dumps(data["seen"])) > MAX_SEEN:
            data["seen"] = {"dropped": f"more than {MAX_SEEN} bytes"}
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True)
class Hello:
    """The helper's greeting. `boot_id` tells a reboot of the host; `time` is its clock, in Unix seconds."""

    protocol: int
    helper: str
    boot_id: str
    time: float

    def to_json(self) -> str:
        """The greeting as one line, without the newline."""
        return json.dumps({"hello": "leasehold", **asdict(self)}, separators=(",", ":"))


@dataclass(frozen=True)
class Remit:
    """What this helper may touch, as its forced command says and no request can widen."""

    mark: str
    dir: str
    ops: tuple[str, ...]
    public_bridges: tuple[str, ...] = ()
    volume_group: str | None = None
    thin_pool: str | None = None


class Refused(Exception):
    """Raised where a request cannot be done; carries the Error that the reply will hold.

    `clean_up` are commands still to be run once the error is known (a failed build's remains, for example).
    """

    def __init__(self, code: str, message: str, clean_up: tuple[Any, ...] = ()) -> None:
        if code not in CODES:
            raise ValueError(f"{code!r} is no error code of the protocol")
        super().__init__(message)
        self.error = Error(code, message, code in RETRYABLE)
        self.clean_up = clean_up


def parse_request(line: str) -> Request:
    """The Request in `line`; raises Refused("bad_request") naming what is wrong with it."""
    data = _object(line)
    id_ = data.get("id")
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        raise _bad('"id" must be a string of 1 to 64 letters, digits or ._:-')
    op = data.get("op")
    if not isinstance(op, str) or not _OP.fullmatch(op):
        raise _bad('"op" must be the name of an operation, such as "file"')
    want = data.get("want", "present")
    if want not in ("present", "absent"):
        raise _bad('"want" must be "present" or "absent"')
    args = data.get("args", {})
    if not isinstance(args, dict):
        raise _bad('"args" must be an object')
    unknown = sorted(set(data) - {"id", "op", "want", "args"})
    if unknown:
        raise _bad(f"unknown member {unknown[0][:40]!r}; a request has id, op, want and args")
    return Request(id_, op, want, args)


def request_id(line: str) -> str | None:
    """The id in a line that parse_request refused, if it has a usable one, to match the refusal to it."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    id_ = data.get("id") if isinstance(data, dict) else None
    return id_ if isinstance(id_, str) and _ID.fullmatch(id_) else None


def parse_reply(line: str) -> Reply:
    """The Reply in `line`; raises ValueError naming what is wrong. Unknown members are ignored."""
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("a reply must be a JSON object")
    error = data.get("error")
    if error is not None:
        if not isinstance(error, dict) or not isinstance(error.get("code"), str):
            raise ValueError('"error" must be null or an object with a code')
        error = Error(error["code"], str(error.get("message", "")), error.get("retryable") is True)
    id_, ok, state = data.get("id"), data.get("ok"), data.get("state")
    if not (id_ is None or isinstance(id_, str)) or not isinstance(ok, bool):
        raise ValueError('"id" must be a string or null and "ok" true or false')
    if state not in ("present", "absent", "pending", "unknown"):
        raise ValueError('"state" must be present, absent, pending or unknown')
    did, seen, why = data.get("did", []), data.get("seen", {}), data.get("why")
    if not isinstance(did, list) or not all(isinstance(item, str) for item in did):
        raise ValueError('"did" must be a list of strings')
    if not isinstance(seen, dict) or not (why is None or isinstance(why, str)):
        raise ValueError('"seen" must be an object and "why" a string or null')
    if ok is (error is not None):
        raise ValueError("a reply is either ok or has an error")
    return Reply(id_, ok, state, data.get("changed") is True, tuple(did), seen, why, error)


def is_hello(line: str) -> bool:
    """Whether the line is a greeting and no reply; nothing is said of what is in it."""
    return line.startswith('{"hello"')


def parse_hello(line: str) -> Hello:
    """The Hello in `line`; raises ValueError when it is none or of another protocol."""
    data = json.loads(line)
    if not isinstance(data, dict) or data.get("hello") != "leasehold":
        raise ValueError("that is not a helper's greeting")
    if data.get("protocol") != PROTOCOL:
        raise ValueError(f"the helper speaks protocol {data.get('protocol')!r}, this manager {PROTOCOL}")
    helper, boot_id, time = data.get("helper"), data.get("boot_id"), data.get("time")
    if not isinstance(helper, str) or not isinstance(boot_id, str) or not isinstance(time, int | float):
        raise ValueError("the greeting lacks helper, boot_id or time")
    return Hello(PROTOCOL, helper, boot_id, float(time))


def _object(line: str) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise _bad(f"the line has more than {MAX_LINE} characters")
    try:
        data = json.loads(line)
    except RecursionError:
        raise _bad("the line is nested too deeply") from None
    except ValueError as error:
        raise _bad(f"the line is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _bad("the line is not a JSON object")
    return data


def _bad(message: str) -> Refused:
    return Refused("bad_request", message)
