# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.node.protocol import (
    CODES,
    MAX_SEEN,
    PROTOCOL,
    Error,
    Hello,
    Refused,
    Reply,
    Request,
    is_hello,
    parse_hello,
    parse_reply,
    parse_request,
    request_id,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=4), st.sampled_from(["present", "absent"]))
def test_a_request_comes_out_as_it_went_in(args, want):
    request = Request("17", "file", want, args)
    assert "\n" not in request.to_json()
    assert parse_request(request.to_json()) == request


@given(
    st.dictionaries(st.text(), ANYTHING, max_size=4), st.lists(st.text(), max_size=3), st.sampled_from(CODES)
)
def test_a_reply_comes_out_as_it_went_in(seen, did, code):
    good = Reply("17", True, "pending", True, tuple(did), seen, "waiting", None)
    bad = Reply("17", False, "unknown", False, tuple(did), seen, None, Error(code, "why\n", True))
    for reply in (good, bad):
        assert "\n" not in reply.to_json()
        assert parse_reply(reply.to_json()) == reply


def test_a_greeting_comes_out_as_it_went_in():
    hello = Hello(PROTOCOL, "abc", "boot", 1.5)
    assert parse_hello(hello.to_json()) == hello
    assert is_hello(hello.to_json())
    assert not is_hello(Reply("1", True, "present").to_json())
    with pytest.raises(ValueError, match="speaks protocol 1"):
        parse_hello(Hello(PROTOCOL - 1, "abc", "boot", 1.5).to_json())


@given(st.text())
def test_any_text_is_a_request_or_refused(text):
    try:
        code = parse_request(text).op and "bad_request"
    except Refused as refused:
        code = refused.error.code
    assert code == "bad_request"
    request_id(text)


def test_what_was_seen_is_dropped_when_it_is_too_much():
    reply = parse_reply(Reply("1", True, "present", seen={"x": "x" * MAX_SEEN}).to_json())
    assert list(reply.seen) == ["dropped"]


@pytest.mark.parametrize(
    "changes",
    [
        *({"ok": 1}, {"state": "fine"}, {"did": "x"}, {"did": [1]}, {"seen": []}, {"why": 1}, {"error": "x"}),
        *({"id": 1}, {"error": {"code": "bug"}}, {"ok": False}),
    ],
)
def test_a_reply_of_another_form_is_refused(changes):
    reply = json.loads(Reply("1", True, "present").to_json()) | changes
    with pytest.raises(ValueError):
        parse_reply(json.dumps(reply))


def test_an_error_has_a_code_of_the_protocol():
    with pytest.raises(ValueError, match="no error code"):
        Refused("oops", "?")
