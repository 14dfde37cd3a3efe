# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0

from hypothesis import given
from hypothesis import strategies as st

from workers.node import reports


def test_the_last_report_of_an_event_counts():
    text = '{"event":"ready","n":1}\n{"event":"ready","n":2}\n{"event":"other"}\n'
    assert reports.find_event(text, "ready") == {"event": "ready", "n": 2}
    assert reports.find_event(text, "accepted") is None
    assert reports.find_event(None, "ready") is None


def test_an_edition_that_is_asked_for_must_be_the_report_s():
    text = (
        '{"event":"ready","edition":"3f9a12cd"}\n{"event":"ready","edition":"77aa00ff"}\n{"event":"ready"}\n'
    )
    assert reports.find_event(text, "ready", "3f9a12cd") == {"event": "ready", "edition": "3f9a12cd"}
    assert reports.find_event(text, "ready", "00000000") is None


def test_what_is_no_report_is_passed_over():
    good = '{"event":"ready"}'
    for noise in (
        "{",
        '["ready"]',
        '"ready"',
        '{"event":["ready"]}',
        "[" * 5000 + '"ready"',
        "\0\xff" + good,
    ):
        assert reports.find_event(f"{good}\n{noise}\n", "ready") == {"event": "ready"}
    huge = '{"event":"ready","x":"' + "x" * reports.MAX_REPORT + '"}'
    assert reports.find_event(huge, "ready") is None


@given(st.text())
def test_a_guest_s_words_are_made_printable(text):
    words = reports.last_words(text)
    assert len(words) <= 120
    assert words.isprintable()


def test_the_console_s_last_line_that_says_something_is_told():
    assert reports.last_words("a\r\n[ OK ] Reached target\r\n\x1b\r\n  \r\n") == "[ OK ] Reached target"
