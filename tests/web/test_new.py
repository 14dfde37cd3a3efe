# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Asking for a cluster by the form (R2, R32), and what bad input gets (F22)."""

from __future__ import annotations

import html
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.db.account import Account
from app.db.reservation import Reservation
from app.domain.shape_input import KEYS
from tests.browse import hidden_fields
from tests.factories import public_key
from tests.web.conftest import Site

# The fields of a node group; `filled` takes those of the first by their own names.
OF_GROUP = frozenset(KEYS - {"appliance", "name"})


def filled(**over: Any) -> dict[str, Any]:
    """The form as a careful person fills it in, with one group; `over` also takes `groups_1_vcpus` and the like."""
    end = datetime.now(UTC) + timedelta(hours=2)
    fields = {
        "name": "vc-42",
        "start": "",
        "end": f"{end:%Y-%m-%dT%H:%M}",
        "node_count": "2",
        "node_names": "",
        "vcpus": "1",
        "memory_mib": "512",
        "disk_gib": "4",
        "home_gib": "2",
        "rolls": ["nfs", "slurm"],
        "users": f"alice {public_key(1)} alice@laptop\nbob {public_key(2)}\nalice {public_key(3)}",
        "note": "A class.",
    } | over
    return {shown(name): value for name, value in fields.items()}


def shown(field: str) -> str:
    """What the field of the first group is called on the page; any other is called as it is."""
    return f"groups-0-{field}" if field in OF_GROUP else field.replace("groups_1_", "groups-1-")


def count(site: Site) -> int:
    with site.database.reading() as session:
        return session.scalar(select(func.count()).select_from(Reservation)) or 0


def errors(page: str) -> dict[str, str]:
    """The error summary: field -> message."""
    found = re.findall(r'<li><a href="#([\w-]+)">(.*?)</a></li>', page)
    return {name: html.unescape(message) for name, message in found}


def test_a_request_is_stored_as_typed_and_its_page_opens(site: Site):
    answer = site.visitor("anna").post("/reservations/new", filled(node_names="red, blue"))
    assert answer.status_code == 200
    assert re.fullmatch(rf"{site.base}/reservations/\d+", answer.url)
    assert "Needs approval by a cluster provider" in answer.text
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
        assert (row.name, row.owner.name, row.state) == ("vc-42", "anna", "requested")
        assert [(n.name, n.vcpus, n.memory_mib, n.disk_gib) for n in row.nodes[1:]] == [
            ("red", 1, 512, 4),
            ("blue", 1, 512, 4),
        ]
        assert (row.home_gib, row.rolls, row.note) == (2, ["nfs", "slurm"], "A class.")
        assert {user.name: len(user.keys) for user in row.users} == {"alice": 2, "bob": 1}


def test_the_form_offers_the_rolls_a_person_may_choose_all_chosen(sqlite_site: Site):
    page = sqlite_site.visitor("anna").get("/reservations/new").text
    boxes = re.findall(r'<input type="checkbox"[^>]*value="(\w+)" (checked)?>', page)
    assert boxes == [("nfs", "checked"), ("slurm", "checked")]


def test_a_date_field_holds_only_what_a_browser_keeps_in_it(sqlite_site: Site):
    visitor = sqlite_site.visitor("anna")
    exact = visitor.get("/reservations/new?start=2026-12-01T09:00:30Z").text
    assert re.search(r'id="start" name="start" type="text" value="2026-12-01T09:00:30Z"', exact)
    assert re.search(r'id="end" name="end" type="datetime-local" value="\d{4}-\d\d-\d\dT\d\d:00"', exact)


def test_times_are_read_in_the_accounts_zone(site: Site):
    zone = ZoneInfo("Asia/Tokyo")
    with site.database.writing() as session:
        session.get_one(Account, site.accounts["anna"].id).time_zone = zone.key
    start = datetime.now(zone).replace(second=0, microsecond=0, tzinfo=None) + timedelta(days=1)
    typed = filled(start=f"{start:%Y-%m-%dT%H:%M}", end=f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    answer = site.visitor("anna").post("/reservations/new", typed)
    assert "JST" in answer.text
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
    assert row.start_at == start.replace(tzinfo=zone)


def test_everything_wrong_is_told_at_once_beside_its_field_and_nothing_typed_is_lost(site: Site):
    typed = filled(
        name="x; rm -rf /",
        start="2020-01-01 00:00",
        end="tomorrow",
        node_count="1e99",
        vcpus="-1",
        memory_mib="NaN",
        disk_gib="",
        home_gib="0",
        rolls=["nfs", "no-such-roll"],
        users="alice",
        note='precious <words> & "quotes"',
    )
    answer = site.visitor("anna").post("/reservations/new", typed)
    assert answer.status_code == 422
    told = errors(answer.text)
    assert set(told) == set(typed) - {"note", "groups-0-node_names"}
    for field, message in told.items():
        if field != "rolls":
            assert f'id="{field}-error"' in answer.text
            assert f'aria-describedby="{field}-hint {field}-error"' in answer.text or (
                f'aria-describedby="{field}-error"' in answer.text
            )
        assert html.escape(message, quote=False)[:20] in html.unescape(answer.text)
    page = html.unescape(answer.text)
    for field, text in typed.items():
        assert field == "rolls" or text in page, f"{field} was lost"
    assert count(site) == 0


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("name", "", "must start with a lower-case letter"),
        ("name", "a" * 300, "at most 30"),
        ("name", "../../etc/passwd", "must start with"),
        ("name", "$(reboot)", "must start with"),
        ("name", "-oProxyCommand=x", "must start with"),
        ("name", "vc\x0042", "must start with"),
        ("name", "vc-42\nvc-43", "must start with"),
        ("name", "vc-💥", "must start with"),
        ("node_count", "0", "Ask for 1 to 1,000 compute nodes"),
        ("node_count", "10000", "Ask for 1 to 1,000 compute nodes"),
        ("node_count", "²", "whole number"),
        ("node_count", "9" * 5000, "whole number"),
        ("memory_mib", "1048577", "Ask for"),
        ("vcpus", "1.5", "whole number"),
        ("node_names", "red red", "Two nodes are called"),
        ("node_names", "red", "1 names for 2 nodes"),
        ("node_names", "a/b c", "must start with"),
        ("end", "2000-01-01T00:00", "after the start"),
        ("end", "0001-01-01T00:00+23:59", "no such date"),
        ("end", "9999-12-31T23:59-23:59", "no such date"),
        ("end", "9999-12-31T23:59", "at most 366 days"),
        ("end", "2027-02-30T00:00", "no such date"),
        ("start", "2099-01-01T00:00", "at most 730 days ahead"),
        ("users", "", "at least one user"),
        ("users", "alice not-a-key", "Key of 'alice'"),
        ("users", f"root {public_key()}", "belongs to the system"),
        ("users", "alice ssh-rsa AAAA", "Key of 'alice'"),
        ("users", "alice ssh-ed25519 AAAA\x00", "Key of 'alice'"),
        ("users", "-----BEGIN OPENSSH PRIVATE KEY-----", "no login name"),
        ("rolls", ["nfs", "../base"], "no roll"),
        ("rolls", ["base"], "no roll 'base' here"),
        ("note", "x" * 2001, "at most 2,000"),
        ("note", "a\x00b", "at most 2,000"),
    ],
)
def test_bad_input_gets_a_message_at_its_field(sqlite_site: Site, field: str, typed: Any, message: str):
    answer = sqlite_site.visitor("anna").post("/reservations/new", filled(**{field: typed}))
    assert answer.status_code == 422
    told = errors(answer.text)
    assert list(told) == [shown(field)]
    assert message in told[shown(field)]
    assert count(sqlite_site) == 0


def test_a_name_in_use_is_refused_at_its_field(site: Site):
    visitor = site.visitor("anna")
    visitor.post("/reservations/new", filled())
    answer = visitor.post("/reservations/new", filled())
    assert answer.status_code == 422
    assert "already" in errors(answer.text)["name"]


def test_no_room_is_told_with_what_is_short_on_each_host_and_nothing_is_written(site: Site):
    answer = site.visitor("anna").post("/reservations/new", filled(memory_mib="200000"))
    assert answer.status_code == 409
    assert "There is no room for this in that slot" in answer.text
    for host in ("c1", "c2"):
        assert re.search(rf"<li>{host}: [\d,]+ of [\d,]+ MiB of memory free", answer.text)
    assert 'value="200000"' in answer.text
    assert count(site) == 0


def test_the_same_form_sent_twice_makes_one_reservation(site: Site):
    visitor = site.visitor("anna")
    fields = filled() | hidden_fields(visitor.get("/reservations/new").text, "/reservations/new")
    first = visitor.session.post(f"{site.base}/reservations/new", data=fields, timeout=30)
    second = visitor.session.post(f"{site.base}/reservations/new", data=fields, timeout=30)
    assert first.url == second.url
    assert count(site) == 1


def test_the_same_form_sent_five_times_at_once_makes_one_reservation(site: Site):
    visitor = site.visitor("anna")
    fields = filled() | hidden_fields(visitor.get("/reservations/new").text, "/reservations/new")
    cookies = visitor.session.cookies.get_dict()
    places = []

    def send() -> None:
        answer = visitor.session.post(
            f"{site.base}/reservations/new", data=fields, timeout=60, allow_redirects=False, cookies=cookies
        )
        places.append((answer.status_code, answer.headers.get("Location")))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(places) == {(303, places[0][1])}
    assert count(site) == 1


def test_a_form_that_was_mended_and_sent_again_is_a_new_request(site: Site):
    visitor = site.visitor("anna")
    fields = filled() | hidden_fields(visitor.get("/reservations/new").text, "/reservations/new")
    first = visitor.session.post(f"{site.base}/reservations/new", data=fields, timeout=30)
    second = visitor.session.post(
        f"{site.base}/reservations/new", data=fields | {"name": "vc-43"}, timeout=30
    )
    assert first.url != second.url
    assert count(site) == 2


def test_fields_that_are_not_on_the_form_are_ignored(site: Site):
    extra = {"state": "ready", "owner_id": "3", "id": "77", "hold_until": "2099-01-01", "request_key": "x"}
    site.visitor("anna").post("/reservations/new", filled() | extra)
    with site.database.reading() as session:
        row = session.scalars(select(Reservation)).one()
        assert (row.state, row.owner.name) == ("requested", "anna")


TEXT = st.text(max_size=200) | st.sampled_from(
    [
        "NaN",
        "1e99",
        "-1",
        "\x00",
        "\r\n\r\n",
        "🏳️‍🌈",
        "\u202e",
        "'; DROP TABLE node; --",
        "{{7*7}}",
        "%s%n",
        "０",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(set(filled()) - {"rolls"} | {"do", "groups-0-policy", "groups-0-tags"})),
        TEXT,
        min_size=1,
    )
)
def test_whatever_is_typed_is_answered_in_words(sqlite_site: Site, changes: dict[str, str]):
    answer = sqlite_site.visitor("anna").post("/reservations/new", filled() | changes)
    if answer.status_code == 422:
        assert set(errors(answer.text)) <= set(changes) | {"groups-0-node_names", "name"}
    else:
        assert answer.status_code in (200, 409)


def test_fewer_nodes_are_taken_down_to_the_least_that_was_typed(site: Site):
    visitor = site.visitor("anna")
    many = {"node_count": "5", "memory_mib": "16000"}
    answer = visitor.post("/reservations/new", filled(**many, least="2"))
    assert answer.status_code == 200
    assert "node: 2 of 2 to 5 × 1 vCPU" in answer.text
    answer = visitor.post("/reservations/new", filled(**many, least="6"))
    assert errors(answer.text) == {"groups-0-least": "Ask for 1 to 5 nodes at the least."}
    assert 'value="6"' in answer.text


def test_a_body_beyond_a_mebibyte_is_refused(sqlite_site: Site):
    answer = sqlite_site.visitor("anna").post("/reservations/new", filled(note="x" * (1 << 20)))
    assert answer.status_code == 413
    assert "1 MiB" in answer.text


def test_fields_of_almost_a_mebibyte_are_read(sqlite_site: Site):
    answer = sqlite_site.visitor("anna").post("/reservations/new", filled(note="x" * 900_000))
    assert answer.status_code == 422


def test_broken_rolls_are_the_operators_to_mend_and_other_pages_go_on(
    sqlite_site: Site, tmp_path, monkeypatch
):
    (tmp_path / "rolls" / "odd").mkdir(parents=True)
    (tmp_path / "rolls" / "odd" / "roll.toml").write_text("name = ")
    object.__setattr__(sqlite_site.settings, "rolls_dir", str(tmp_path / "rolls"))
    visitor = sqlite_site.visitor("anna")
    answer = visitor.get("/reservations/new")
    assert answer.status_code == 503
    assert "rolls/odd/roll.toml is not TOML" in answer.text
    assert visitor.get("/reservations").status_code == 200
