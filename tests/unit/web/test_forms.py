# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The shape of what is typed into forms."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.request import User
from app.web.forms import moment, names, users, whole_number

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(("text", "number"), [("4", 4), (" 12 ", 12), ("007", 7), ("0", 0)])
def test_a_whole_number_is_read(text: str, number: int):
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "+1", "1.0", "1e3", "NaN", "1_000", "0x10", "٣", "９", "1\n2", "9" * 400]
)
def test_anything_else_is_no_number(text: str):
    with pytest.raises(ValueError, match="number"):
        whole_number(text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-12-01T09:00", (2026, 12, 1, 8, 0)),
        ("2026-07-01 09:00", (2026, 7, 1, 7, 0)),
        ("2026-12-01T09:00:00", (2026, 12, 1, 8, 0)),
        ("2026-12-01T09:00Z", (2026, 12, 1, 9, 0)),
        ("2026-12-01T09:00+09:00", (2026, 12, 1, 0, 0)),
        (" 2026-12-01T09:00 ", (2026, 12, 1, 8, 0)),
        # Clocks go back at 03:00 summer time: 02:30 comes twice, and the first is meant.
        ("2026-10-25T02:30", (2026, 10, 25, 0, 30)),
    ],
)
def test_a_time_is_read_in_the_zone_or_with_its_offset(text: str, utc: tuple[int, int, int, int, int]):
    assert moment(text, BERLIN) == datetime(*utc, tzinfo=UTC)
    assert moment(text, BERLIN).tzinfo is UTC


def test_a_time_the_clocks_leave_out_is_refused():
    with pytest.raises(ValueError, match="the clocks go forward"):
        moment("2026-03-29T02:30", BERLIN)


@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}([+-][0-9]{2}:[0-9]{2})?")
)
def test_any_text_is_a_utc_time_or_a_value_error(text: str):
    try:
        read = moment(text, BERLIN)
    except ValueError as why:
        told = str(why)
    else:
        told = "a date and time" if read.tzinfo is UTC else "no zone"
    assert "date and" in told or "There is no" in told


def test_names_stand_between_commas_and_spaces():
    assert names(" red,blue  green,\tblack\n") == ("red", "blue", "green", "black")
    assert names("") == ()


def test_a_user_may_have_several_lines():
    text = "# the class\nalice ssh-ed25519 AAAA a@b\r\n\r\nbob ssh-rsa BBBB\ralice  ssh-ed25519 CCCC\n"
    assert users(text) == (
        User("alice", ("ssh-ed25519 AAAA a@b", "ssh-ed25519 CCCC")),
        User("bob", ("ssh-rsa BBBB",)),
    )


def test_a_line_without_a_key_is_told_by_its_number():
    with pytest.raises(ValueError, match="Line 3: give a login name, a space, and a public key"):
        users("alice ssh-ed25519 AAAA\n\nbob\n")
