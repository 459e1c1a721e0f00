"""An ad server reports what it showed: what is right is stored once, what is wrong is told alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, error_of

if TYPE_CHECKING:
    from tests.conftest import Server

RIGHT: dict[str, Any] = {
    "exposure_id": "imp_1",
    "kind": "impression",
    "occurred_at": "2026-01-15T14:30:00+01:00",
    "media_buy_id": "mb_1",
    "package_id": "p_1",
    "creative_id": "banner",
    "user_match": {"hashed_email": sha256(b"ada@buyer.example").hexdigest()},
    "cost": 0.0045,
    "currency": "USD",
}
DIGEST = RIGHT["user_match"]["hashed_email"]


def report(server: Server, *exposures: Any, **members: Any) -> dict[str, Any]:
    return call(server, "rest", "exposures", {"exposures": list(exposures)} | members)


def test_one_bad_exposure_never_fails_a_batch(server: Server) -> None:
    answer = report(
        server, RIGHT, RIGHT | {"exposure_id": "imp_2", "kind": "hover"}, 17, RIGHT | {"exposure_id": "imp_3"}
    )

    assert (answer["exposures_received"], answer["exposures_processed"]) == (4, 2)
    assert [(f["exposure_id"], f["field"]) for f in answer["partial_failures"]] == [
        ("imp_2", "exposures[1].kind"),
        ("index:2", "exposures[2]"),
    ]
    assert answer["warnings"][0].startswith("UNKNOWN_PACKAGE: 2/4 exposures [0,3] name a media buy")


@pytest.mark.parametrize(
    ("members", "field", "reason"),
    [
        ({"exposure_id": ""}, ".exposure_id", "INVALID_REQUEST"),
        ({"exposure_id": "x" * 257}, ".exposure_id", "INVALID_REQUEST"),
        ({"exposure_id": "ada@buyer.example"}, ".exposure_id", "INVALID_REQUEST"),
        ({"exposure_id": "a\u0000b"}, ".exposure_id", "INVALID_REQUEST"),
        ({"exposure_id": DIGEST}, ".exposure_id", "INVALID_REQUEST"),
        ({"exposure_id": None}, ".exposure_id", "INVALID_REQUEST"),
        ({"kind": "view"}, ".kind", "INVALID_REQUEST"),
        ({"occurred_at": "2026-01-15T14:30:00"}, ".occurred_at", "INVALID_REQUEST"),
        ({"occurred_at": 1768483800}, ".occurred_at", "INVALID_REQUEST"),
        ({"occurred_at": "1969-12-31T23:59:59Z"}, ".occurred_at", "INVALID_REQUEST"),
        (
            {"occurred_at": (datetime.now(UTC) + timedelta(minutes=30)).isoformat()},
            ".occurred_at",
            "INVALID_REQUEST",
        ),
        ({"media_buy_id": 7}, ".media_buy_id", "INVALID_REQUEST"),
        ({"package_id": None}, ".package_id", "INVALID_REQUEST"),
        ({"creative_id": "ada@buyer.example"}, ".creative_id", "INVALID_REQUEST"),
        ({"cost": -1}, ".cost", "INVALID_REQUEST"),
        ({"cost": 1e15}, ".cost", "INVALID_REQUEST"),
        ({"cost": 0.0000000001}, ".cost", "INVALID_REQUEST"),
        ({"cost": "dear"}, ".cost", "INVALID_REQUEST"),
        ({"currency": "US$"}, ".currency", "INVALID_REQUEST"),
        ({"currency": None}, ".currency", "INVALID_REQUEST"),
        ({"user_match": {"hashed_email": "ada@buyer.example"}}, ".user_match.hashed_email", "INVALID_REQUEST"),
        ({"user_match": {"client_ip": "8.8.4.4"}}, ".user_match", "MISSING_USER_MATCH"),
        ({"user_match": "ada"}, ".user_match", "INVALID_REQUEST"),
    ],
)
def test_what_is_wrong_with_an_exposure_is_named_and_not_repeated(
    server: Server, members: dict[str, Any], field: str, reason: str
) -> None:
    answer = report(server, RIGHT | members)

    [failure] = answer["partial_failures"]
    assert (failure["field"], failure["reason"]) == (f"exposures[0]{field}", reason)
    assert "ada@buyer" not in str(answer)
    assert failure["message"].endswith(".")


@pytest.mark.parametrize(
    ("cost", "accepted"),
    [
        ("123456789012345.123456789", True),
        ("0.500000000000", True),
        ("0e999999999", True),
        ("-0.0", True),
        ("0.1234567890000000000000000000000000001", False),
        ("1e-999999999", False),
        ("1e-99999999999999999999", False),
        ("1e999999999", False),
        ('"NaN"', False),
    ],
)
@pytest.mark.parametrize("more", ["", ',"viewability":0.7'])
def test_a_cost_that_the_store_could_not_keep_exactly_is_refused(
    server: Server, cost: str, accepted: bool, more: str
) -> None:
    plain = json.dumps({name: value for name, value in RIGHT.items() if name != "cost"})
    neighbour = json.dumps(RIGHT | {"exposure_id": "imp_beside"})
    with server.client() as client:
        body = f'{{"exposures": [{plain[:-1]}, "cost": {cost}{more}}}, {neighbour}]}}'
        answer = client.post("/v1/exposures", content=body).json()

    assert answer["exposures_processed"] == 1 + accepted
    assert [failure["index"] for failure in answer.get("partial_failures", [])] == [0] * (not accepted)
    assert any("UNKNOWN_FIELD" in warning for warning in answer["warnings"]) == (bool(more) and accepted)


def test_a_name_given_twice_is_ambiguous(server: Server) -> None:
    body = '{"exposures": [{"exposure_id": "a", "exposure_id": "b", "kind": "click"}]}'
    with server.client() as client:
        [failure] = client.post("/v1/exposures", content=body).json()["partial_failures"]
    assert "given twice" in failure["message"]


@pytest.mark.parametrize("exposures", [[], {}, "x", None, [RIGHT] * 10_001])
def test_what_is_no_batch_fails_as_a_whole(server: Server, exposures: Any) -> None:
    assert error_of(call(server, "rest", "exposures", {"exposures": exposures}))["field"] == "exposures"


def test_a_full_batch_is_taken_in_one_call(server: Server) -> None:
    people = [sha256(str(number).encode()).hexdigest() for number in range(10_000)]
    uids = [{"type": "uid2", "value": "A4AAAA0123456789" * 8}]
    batch = [
        RIGHT | {"exposure_id": f"full_{n}", "user_match": {"hashed_email": person, "uids": uids}}
        for n, person in enumerate(people)
    ]
    assert report(server, *batch)["exposures_processed"] == 10_000


def test_the_same_key_answers_again_and_another_body_conflicts(server: Server) -> None:
    key = {"idempotency_key": "exposures-of-a-morning"}
    first, second = report(server, RIGHT, **key), report(server, RIGHT, **key)
    assert (first["exposures_processed"], second["replayed"]) == (1, True)
    assert report(server, RIGHT | {"kind": "click"}, **key)["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_what_sellers_report_is_no_tool(server: Server) -> None:
    with server.client() as client:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        headers = {"Accept": "application/json, text/event-stream"}
        tools = client.post("/mcp", json=message, headers=headers).json()["result"]["tools"]
    assert not {"exposures", "delivery", "click-links"} & {tool["name"] for tool in tools}
