# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""What a request says: its JSON body, its query, its If-Match and Idempotency-Key."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from app.api.fields import Fields, take
from app.domain.errors import InvalidRequest

# No amount of ours has so many digits; Python refuses to read numbers that are longer by far.
MOST_DIGITS = 18
ETAG = re.compile(r'"([0-9]{1,9})"')
LONGEST_KEY = 255


def json_object() -> dict[str, Any]:
    """The object that was sent; none at all is an empty one.

    UnsupportedMediaType where it is not said to be JSON, BadRequest where it is none or no object.
    """
    data = request.get_data(cache=False)
    if not data:
        return {}
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    try:
        found = parse(data)
    except ValueError as why:
        raise BadRequest(f"The body is not JSON: {why}") from None
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object: { ... }.")
    return found


def parse(text: str | bytes) -> object:
    """What the JSON says; ValueError in words where it is none."""
    try:
        # NaN and Infinity are no JSON, but read here they are refused with the name of their field.
        return json.loads(text, parse_int=_integer, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def fields(wanted: Fields) -> dict[str, Any]:
    """The body's fields; InvalidRequest names those that are wrong."""
    return _sound(*take(json_object(), wanted))


def query(wanted: Fields) -> tuple[dict[str, Any], dict[str, str]]:
    """What of the query could be read, and what is wrong with the rest."""
    values, wrong = take(request.args.to_dict(), wanted)
    twice = {name: "Give it once." for name in request.args if len(request.args.getlist(name)) > 1}
    return values, wrong | twice


def sound_query(wanted: Fields) -> dict[str, Any]:
    """The query's fields; InvalidRequest names those that are wrong."""
    return _sound(*query(wanted))


def version() -> int | None:
    """The version in If-Match, None where there is none; BadRequest where it is no ETag of ours."""
    given = request.headers.get("If-Match")
    if given is None:
        return None
    found = ETAG.fullmatch(given.strip())
    if found is None:
        raise BadRequest('If-Match must be one ETag as it was answered, like "3".')
    return int(found[1])


def request_key(body: dict[str, Any]) -> str | None:
    """What to know this request by if it comes again: digests of its Idempotency-Key and of its body."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    if not 1 <= len(given) <= LONGEST_KEY:
        raise InvalidRequest({"Idempotency-Key": f"A key has 1 to {LONGEST_KEY} characters."})
    content = json.dumps(body, sort_keys=True)
    return _digest(given) + _digest(content)


def _sound(values: dict[str, Any], wrong: dict[str, str]) -> dict[str, Any]:
    if wrong:
        raise InvalidRequest(wrong)
    return values


def _integer(text: str) -> int:
    # What is cut off is far beyond every limit either way.
    return int(text[:MOST_DIGITS])


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _digest(text: str) -> str:
    """Half of a SHA-256: two of them make a key of the 64 characters there are for it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
