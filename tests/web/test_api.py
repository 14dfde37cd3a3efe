# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The API (R47): what the forms do, as JSON; and what bad input gets."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from app.api.operations import OPERATIONS
from app.db.reservation import Reservation
from tests.factories import book_now
from tests.web.api import Client, wanted
from tests.web.conftest import Site
from tests.web.test_new import count
from tests.web.test_queries import counted


def version(answer: requests.Response) -> dict[str, str]:
    return {"If-Match": answer.headers["ETag"]}


def test_a_cluster_is_asked_for_seen_and_approved(site: Site):
    anna, carla = Client(site, "anna"), Client(site, "carla")
    made = anna.send("POST", "/reservations", wanted(note="A class.", node_names=["red", "blue"]))
    assert made.status_code == 201
    assert made.json()["state"] == "requested"
    path = made.headers["Location"]
    seen = carla.get(path)
    assert seen.json()["owner"] == "anna"
    assert [node["name"] for node in seen.json()["nodes"]] == ["frontend", "red", "blue"]
    assert "Needs approval" in seen.json()["summary"]
    approved = carla.send("POST", f"{path}/approve", headers=version(seen))
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")
    assert anna.get(path).headers["ETag"] == approved.headers["ETag"] != seen.headers["ETag"]
    assert [one["kind"] for one in anna.get(f"{path}/events").json()["events"]] == ["approved", "requested"]


def test_a_request_is_answered_with_an_offer_that_its_owner_accepts(site: Site):
    anna, carla = Client(site, "anna"), Client(site, "carla")
    path = anna.send("POST", "/reservations", wanted(node_names=["red", "blue"])).headers["Location"]
    offer = {"message": "One is what there is.", "home_gib": 1}
    short = carla.send(
        "POST", f"{path}/offer", offer | {"end": "soon", "rolls": 3}, headers=version(carla.get(path))
    )
    assert (short.status_code, set(short.json()["fields"])) == (422, {"end", "rolls"})
    group = {"node_count": 1, "vcpus": 2, "memory_mib": 512, "disk_gib": 4}
    full = carla.send(
        "POST",
        f"{path}/offer",
        offer | {"groups": [group | {"node_count": 40}]},
        headers=version(carla.get(path)),
    )
    assert full.status_code == 409
    assert {one["kind"] for one in full.json()["alternatives"]} >= {"smaller"}
    made = carla.send("POST", f"{path}/offer", offer | {"groups": [group]}, headers=version(carla.get(path)))
    assert made.status_code == 200, made.text
    assert (made.status_code, made.json()["state"], made.json()["node_count"]) == (200, "requested", 2)
    seen = anna.get(path)
    (shown,) = seen.json()["offers"]
    assert (shown["made_by"], shown["is_open"], shown["answer"]) == ("carla", True, None)
    assert [one["node_names"] for one in shown["asked"]["groups"]] == [["red", "blue"]]
    assert [one["vcpus"] for one in shown["offered"]["groups"]] == [2]
    assert "carla offered something else" in seen.json()["summary"]
    assert carla.send("POST", f"{path}/offer/accept", headers=version(seen)).status_code == 403
    taken = anna.send("POST", f"{path}/offer/accept", headers=version(seen))
    assert (taken.status_code, taken.json()["state"], taken.json()["node_count"]) == (200, "approved", 1)
    assert anna.send("POST", f"{path}/offer/decline", headers=version(taken)).status_code == 409


def test_what_was_asked_for_is_stored_as_by_the_form(site: Site):
    body = wanted(name="by-api", start=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    made = Client(site, "anna").send("POST", "/reservations", body).json()
    with site.database.reading() as session:
        row = session.get_one(Reservation, made["id"])
        assert (row.name, row.home_gib, row.rolls, row.note) == ("by-api", 2, ["nfs", "slurm"], "")
        assert row.start_at == datetime.fromisoformat(body["start"])
        assert [(user.name, len(user.keys)) for user in row.users] == [("alice", 1)]
        assert [node.memory_mib for node in row.nodes if node.kind == "compute"] == [512, 512]


def test_several_groups_are_asked_for_and_fewer_offered(site: Site):
    anna, body = Client(site, "anna"), wanted()
    sizes = {name: body.pop(name) for name in ("node_count", "vcpus", "memory_mib", "disk_gib")}
    body["groups"] = [
        sizes | {"name": "small"},
        sizes | {"name": "big", "node_count": 30, "appliance": "devel"},
    ]
    offered = anna.get("/rolls").json()
    assert [one["name"] for one in offered["appliances"]] == ["compute", "devel"]
    refused = anna.send("POST", "/reservations", body)
    assert refused.status_code == 409
    (offer,) = [one for one in refused.json()["alternatives"] if one["kind"] == "smaller"]
    made = anna.send("POST", "/reservations", offer["request"])
    assert made.status_code == 201
    names = [node["name"] for node in anna.get(made.headers["Location"]).json()["nodes"]]
    assert {"frontend", "small1", "big1"} <= set(names)
    wrong = anna.send("POST", "/reservations", body | {"groups": [{"colour": "red"}]})
    assert "Group 1, colour" in wrong.json()["fields"]["groups"]


def test_nodes_come_and_go_by_group(site: Site):
    anna, carla = Client(site, "anna"), Client(site, "carla")
    path = f"/reservations/{book_now(site.database, site.accounts['anna'], node_count=3)}"

    def resize(who: Client, numbers: dict[str, Any], **more: Any) -> requests.Response:
        body = {"node_count": numbers} | more
        return who.send("PUT", f"{path}/nodes", body, headers=version(who.get(path)))

    fewer = resize(anna, {"node": 2}, leave=["node2"])
    assert (fewer.status_code, fewer.json()["node_count"]) == (200, 2), fewer.text
    assert [node["name"] for node in anna.get(path).json()["nodes"]] == ["frontend", "node1", "node3"]
    more = resize(carla, {"node": 3})
    assert (more.status_code, more.json()["node_count"]) == (200, 3)
    wrong = resize(anna, {"node": 0, "big": 2})
    assert (wrong.status_code, set(wrong.json()["fields"])) == (422, {"node_count"})
    assert set(resize(anna, {"node": "many"}, colour="red").json()["fields"]) == {"node_count", "colour"}
    full = resize(carla, {"node": 90})
    assert (full.status_code, "There is room for" in full.text) == (409, True)


def test_rejected_cancelled_extended_given_and_noted(site: Site):
    anna, ben, carla = (Client(site, name) for name in ("anna", "ben", "carla"))
    one, two = (f"/reservations/{book_now(site.database, site.accounts['anna'])}" for _ in range(2))
    latest = anna.get(f"{one}/end").json()["latest_end"]
    extended = anna.send("PUT", f"{one}/end", {"end": latest}, headers=version(anna.get(one)))
    assert (extended.status_code, extended.json()["end"]) == (200, latest)
    too_long = {"end": (datetime.fromisoformat(latest) + timedelta(days=1)).isoformat()}
    refused = anna.send("PUT", f"{one}/end", too_long, headers=version(extended))
    assert (refused.status_code, len(refused.json()["reasons"])) == (409, 1)
    assert anna.send("POST", f"{one}/notes", {"note": "For Tuesday."}).status_code == 204
    assert (
        anna.send("PUT", f"{one}/owner", {"owner": "ben"}, headers=version(anna.get(one))).status_code == 204
    )
    assert (anna.get(one).status_code, ben.get(one).json()["owner"]) == (404, "ben")
    rejected = carla.send("POST", f"{one}/reject", {"reason": "Too long."}, headers=version(carla.get(one)))
    assert (rejected.json()["state"], ben.get(one).json()["reason"]) == ("rejected", "Too long.")
    again = [anna.send("POST", f"{two}/cancel").status_code for _ in range(2)]
    assert again == [200, 200]
    assert anna.get(two).json()["cancel_requested_at"] is not None
    assert carla.send("POST", f"{one}/cancel").status_code == 409


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Not A Label"),
        ("name", 7),
        ("name", "\ud800"),
        ("node_count", 0),
        ("node_count", -3),
        ("node_count", 10**400),
        ("node_count", 1.5),
        ("node_count", True),
        ("node_count", "2"),
        ("vcpus", float("nan")),
        ("memory_mib", float("inf")),
        ("disk_gib", None),
        ("start", "2026-12-01T09:00:00"),
        ("start", "2026-12-01T09:00:00+99:00"),
        ("start", "2026-02-30T09:00:00Z"),
        ("start", "9999-12-31T23:59:59-12:00"),
        ("start", "2026-12-01T09:00:00[Mars/Olympus]"),
        ("end", "tomorrow"),
        ("end", None),
        ("end", 1e300),
        ("rolls", "slurm"),
        ("rolls", ["no-such-roll"]),
        ("rolls", [[]]),
        ("users", []),
        ("users", "alice"),
        ("users", [{"name": "alice"}]),
        ("users", [{"name": "alice", "keys": [5]}]),
        ("users", [{"name": "root", "keys": ["ssh-ed25519 AAAA"]}]),
        ("note", "n" * 2001),
        ("note", "\x00"),
        ("policy", "anywhere"),
        ("tags", ["No Tag!"]),
        ("colour", "red"),
    ],
)
def test_bad_input_is_told_at_its_field_and_changes_nothing(sqlite_site: Site, field: str, value: object):
    answer = _post_raw(Client(sqlite_site, "anna"), wanted(**{field: value}))
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == [field]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert count(sqlite_site) == 0


def _post_raw(client: Client, body: object) -> requests.Response:
    # requests itself refuses to send NaN.
    headers = {"Content-Type": "application/json"}
    return client.send("POST", "/reservations", headers=headers, data=json.dumps(body))


def test_all_that_is_wrong_is_told_at_once(sqlite_site: Site):
    body = {"name": "X", "start": "soon", "vcpus": 0, "users": [], "colour": "red"}
    answer = Client(sqlite_site, "anna").send("POST", "/reservations", body)
    assert set(answer.json()["fields"]) == {
        *(
            "name",
            "start",
            "end",
            "node_count",
            "vcpus",
            "memory_mib",
            "disk_gib",
            "home_gib",
            "users",
            "colour",
        )
    }


@pytest.mark.parametrize(
    ("content_type", "data", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b"\xff", 400),
        ("application/json", b'{"name": "a", "name": "b"}', 400),
        ("application/json", b"[" * 100_000, 400),
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"name=x", 415),
        ("application/json", b'"' + b"x" * (1 << 20) + b'"', 413),
    ],
)
def test_what_is_no_json_object_is_refused(sqlite_site: Site, content_type: str, data: bytes, status: int):
    answer = Client(sqlite_site, "anna").send(
        "POST", "/reservations", headers={"Content-Type": content_type}, data=data
    )
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert count(sqlite_site) == 0


def test_a_refusal_offers_what_can_be_sent_as_it_is(site: Site):
    anna, ben = Client(site, "anna"), Client(site, "ben")
    book_now(site.database, site.accounts["ben"], node_count=10, name="bens-secret")
    body = wanted(node_count=12)
    refused = anna.send("POST", "/reservations", body)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["reasons"]
    assert [one["what"] for one in problem["in_the_way"]] == ["another project"]
    assert "bens-secret" not in refused.text
    assert {one["kind"] for one in problem["alternatives"]} == {"later", "smaller"}
    for number, one in enumerate(problem["alternatives"]):
        assert (
            ben.send("POST", "/reservations", one["request"] | {"name": f"alt-{number}"}).status_code == 201
        )


def test_the_same_key_makes_one_reservation_and_no_other(site: Site):
    anna, body, key = Client(site, "anna"), wanted(), {"Idempotency-Key": "order-1"}
    answers: list[dict[str, Any]] = []

    def send() -> None:
        answers.append(anna.send("POST", "/reservations", body, headers=key).json())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["id"] for answer in answers}) == 1
    other = anna.send("POST", "/reservations", body | {"name": "another"}, headers=key)
    assert (other.status_code, list(other.json()["fields"])) == (422, ["Idempotency-Key"])
    assert count(site) == 1


def test_a_change_says_which_version_it_has_seen(site: Site):
    path = f"/reservations/{book_now(site.database, site.accounts['anna'])}"
    anna, carla = Client(site, "anna"), Client(site, "carla")
    seen = carla.get(path)
    assert carla.send("POST", f"{path}/approve").status_code == 428
    assert carla.send("POST", f"{path}/approve", headers={"If-Match": "*"}).status_code == 400
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert anna.send("PUT", f"{path}/end", {"end": end}, headers=version(anna.get(path))).status_code == 200
    stale = carla.send("POST", f"{path}/approve", headers=version(seen))
    assert stale.status_code == 412
    assert [(one["field"], one["by"]) for one in stale.json()["changed"]] == [("end", "anna")]
    assert carla.get(path).json()["state"] == "requested"


def test_the_list_is_paged_without_gaps_and_filtered(site: Site):
    made = [book_now(site.database, site.accounts["anna"], node_count=1, memory_mib=384) for _ in range(5)]
    anna = Client(site, "anna")
    found, path = [], "/reservations?limit=2"
    while path:
        page = anna.get(path).json()
        found += [row["id"] for row in page["reservations"]]
        path = page["next"]
    assert found == sorted(made, reverse=True)
    assert anna.get("/reservations?state=over").json() == {"reservations": [], "next": None}
    for bad in ("limit=0", "limit=1001", "state=gone", "after=-1", "sort=name", "limit=1&limit=2"):
        assert anna.get(f"/reservations?{bad}").status_code == 422


def test_a_list_takes_as_many_statements_for_many_as_for_few(site: Site):
    anna, taken = Client(site, "anna"), []
    anna.get("/reservations")
    for _ in range(2):
        for _ in range(4):
            book_now(site.database, site.accounts["anna"], node_count=1, memory_mib=384)
        with counted(site) as sent:
            assert anna.get("/reservations").status_code == 200
        taken.append(len(sent))
    assert taken[0] == taken[1] <= 2


def test_a_booking_asks_nothing_twice_and_takes_as_many_statements_for_many_nodes(site: Site):
    anna, taken = Client(site, "anna"), []
    anna.get("/reservations")
    for nodes in (1, 4):
        body = wanted(name=f"of-{nodes}", node_count=nodes, memory_mib=384)
        with counted(site) as sent:
            assert anna.send("POST", "/reservations", body).status_code == 201
        assert len(set(sent)) == len(sent)
        taken.append(len(sent))
    # Among them the lock.
    assert taken[0] == taken[1] <= 13


def test_availability_answers_the_three_questions(site: Site):
    anna = Client(site, "anna")
    free = anna.get("/availability?nodes=2&memory=1GiB&disk=4GiB&duration=PT4H").json()
    assert free["earliest"]["start"] == free["largest"]["start"]
    assert free["alternatives"] == []
    assert {(one["role"], one["resource"]) for one in free["free"]} >= {
        ("compute", "vcpu"),
        ("storage", "disk_mib"),
    }
    book_now(site.database, site.accounts["anna"], node_count=10)
    full = anna.get("/availability?nodes=12&duration=PT1H").json()
    assert full["largest"]["node_count"] < 12
    assert {one["kind"] for one in full["alternatives"]} == {"later", "smaller"}
    wrong = anna.get("/availability?nodes=many&memory=1&duration=P1Y&after=2026-12-01T09:00&colour=red")
    assert set(wrong.json()["fields"]) == {"nodes", "memory", "duration", "after", "colour"}


def groups_asked(*groups: dict[str, Any]) -> str:
    """The groups in a query, each with the usual sizes."""
    sizes = {"vcpus": 1, "memory_mib": 512, "disk_gib": 4}
    return json.dumps([sizes | one for one in groups])


def test_availability_is_asked_for_several_groups_and_what_it_offers_can_be_booked(site: Site):
    anna, carla = Client(site, "anna"), Client(site, "carla")
    hour = datetime.now(UTC) + timedelta(hours=1)
    both = ({"node_count": 2}, {"name": "big", "node_count": 9, "least": 2, "memory_mib": 4096, "vcpus": 2})

    def ask(*groups: dict[str, Any]) -> dict[str, Any]:
        asked = {"groups": groups_asked(*groups), "duration": "PT4H", "home": "3GiB"}
        asked["after"] = hour.isoformat()
        answer = anna.send("GET", "/availability", params=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    free = ask(*both)
    assert free["earliest"]["start"] == free["largest"]["start"]
    assert free["alternatives"] == []
    assert [one["name"] for one in free["largest"]["groups"]] == ["node", "big"]
    assert sum(one["node_count"] for one in free["largest"]["groups"]) == free["largest"]["node_count"]
    bens = {"start": hour, "end": hour + timedelta(hours=1)}
    book_now(site.database, site.accounts["ben"], node_count=2, memory_mib=8000, vcpus=4, **bens)
    crowded = ask({"node_count": 8}, both[1])
    assert [one["kind"] for one in crowded["alternatives"]] == ["later", "smaller"]
    for one in crowded["alternatives"]:
        assert one["request"]["home_gib"] == 3
        lacking = {"name": f"vc-{one['kind']}", "users": wanted()["users"]}
        booked = anna.send("POST", "/reservations", one["request"] | lacking)
        assert booked.status_code == 201, booked.text
        only = {"reason": "Only tried."}
        path = f"{booked.headers['Location']}/reject"
        assert carla.send("POST", path, only, headers=version(booked)).status_code == 200


@pytest.mark.parametrize(
    ("groups", "more", "field"),
    [
        ("[", "", "groups"),
        ("[" * 20_000, "", "groups"),
        ("{}", "", "groups"),
        ("[]", "", "groups"),
        ('[{"node_count": 1}]', "", "groups"),
        (groups_asked({"node_count": 1, "node_count_": 2}), "", "groups"),
        (groups_asked({"node_count": float("nan")}), "", "groups"),
        (groups_asked({"node_count": 10**30}), "", "groups-0-node_count"),
        (groups_asked({"node_count": -1}), "", "groups-0-node_count"),
        (groups_asked({"node_count": 1}, {"node_count": 1}), "", "groups-1-name"),
        (groups_asked({"node_count": 1, "appliance": "none-such"}), "", "groups-0-appliance"),
        (groups_asked({"node_count": 1, "pin": ["c1"]}), "", "groups-0-pin"),
        (groups_asked({"node_count": 1}), "&nodes=2", "groups"),
    ],
)
def test_what_is_wrong_with_groups_in_a_query_is_told_by_field(
    sqlite_site: Site, groups: str, more: str, field: str
):
    asked = f"/availability?duration=PT1H{more}&groups={quote(groups)}"
    wrong = Client(sqlite_site, "anna").get(asked)
    assert (wrong.status_code, list(wrong.json()["fields"])) == (422, [field])


# What each account gets of an operation without fields and version: the owner, another, a cluster provider, an
# operator, one without a token, and one with a wrong token.
WHO = ("anna", "ben", "carla", "otto")
EXPECTED: dict[str, tuple[int, ...]] = {
    "availability.ask": (422, 422, 422, 403),
    "availability.rolls": (200, 200, 200, 403),
    "reservation.listing": (200, 200, 200, 403),
    "reservation.create": (422, 422, 422, 403),
    "reservation.detail": (200, 404, 200, 403),
    "reservation.events": (200, 404, 200, 403),
    "change.approve": (403, 403, 428, 403),
    "change.reject": (403, 403, 422, 403),
    "offer.make": (403, 403, 422, 403),
    "offer.accept": (428, 428, 428, 403),
    "offer.decline": (428, 428, 428, 403),
    "change.latest_end": (200, 404, 200, 403),
    "change.set_end": (422, 422, 422, 403),
    "change.resize": (422, 422, 422, 403),
    "change.suspend": (428, 428, 428, 403),
    "change.resume": (428, 428, 428, 403),
    "change.keep": (422, 422, 422, 403),
    "change.restore": (422, 422, 422, 403),
    "change.give": (422, 422, 422, 403),
    "change.note": (422, 422, 422, 403),
    "change.cancel": (200, 404, 200, 403),
    "series.check": (422, 422, 422, 403),
    "series.create": (422, 422, 422, 403),
    # There is none of this number, for anybody.
    "series.detail": (404, 404, 404, 403),
    "series.cancel": (404, 404, 404, 403),
    "usage.show": (422, 422, 422, 403),
}


def test_every_operation_of_every_role_answers_as_expected(site: Site):
    owned = str(book_now(site.database, site.accounts["anna"]))
    clients = [Client(site, name) for name in WHO]
    nobody = Client(site, None)
    got = {}
    for operation in sorted(OPERATIONS, key=lambda one: one.endpoint == "change.cancel"):
        path = operation.path.replace("{reservation_id}", owned).replace("{series_id}", owned)
        got[operation.endpoint] = tuple(
            client.send(operation.method, path).status_code
            for client in [clients[1], *clients[:1], *clients[2:]]
        )
        # The owner's cancel comes last of all, so the other's answer is asked for first.
        got[operation.endpoint] = (
            got[operation.endpoint][1],
            got[operation.endpoint][0],
            *got[operation.endpoint][2:],
        )
        assert nobody.send(operation.method, path).status_code == 401
    assert got == EXPECTED


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "cancel", {}),
        ("PUT", "end", {"end": "2099-01-01T00:00:00Z"}),
        ("PUT", "nodes", {"node_count": {"node": 1}}),
        ("POST", "notes", {"note": "x"}),
    ],
)
def test_another_provider_can_change_nothing(site: Site, method: str, path: str, body: dict[str, Any]):
    owned = book_now(site.database, site.accounts["anna"])
    headers = {"If-Match": '"1"'}
    answer = Client(site, "ben").send(method, f"/reservations/{owned}/{path}", body, headers=headers)
    assert answer.status_code == 404


def test_a_session_of_the_pages_is_none_here_and_no_cookie_is_set(sqlite_site: Site):
    visitor = sqlite_site.visitor("carla")
    refused = visitor.get("/api/v1/reservations")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Set-Cookie" not in Client(sqlite_site, "carla").get("/reservations").headers
    assert visitor.get("/").status_code == 200


def test_a_wrong_path_or_method_is_a_problem_as_well(sqlite_site: Site):
    anna = Client(sqlite_site, "anna")
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("DELETE", "/rolls", 405),
        ("GET", "/reservations/9e9", 404),
    ):
        answer = anna.send(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
