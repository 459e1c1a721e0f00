"""An ad server reports what it showed: what is right is stored once, what is wrong is told alone."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, error_of
from tests.integration.orders import buy, package

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
        ({"occurred_at": "2099-01-15T14:30:00Z"}, ".occurred_at", "INVALID_REQUEST"),
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
    assert "field name twice" in failure["message"]


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


REUSED = "EXPOSURE_ID_REUSED"


@pytest.mark.parametrize("other", [{"kind": "click"}, {"media_buy_id": "mb_2"}, {"package_id": "p_2"}])
def test_another_exposure_under_a_known_id_fails(server: Server, other: dict[str, str]) -> None:
    first = RIGHT | {"exposure_id": f"auction_{next(iter(other.values()))}"}

    answer = report(server, first, first | other, first)
    later = report(server, first | other)

    assert (answer["exposures_received"], answer["exposures_processed"]) == (3, 2)
    for failed, field in ((answer, "exposures[1].exposure_id"), (later, "exposures[0].exposure_id")):
        (failure,) = failed["partial_failures"]
        assert (failure["exposure_id"], failure["field"]) == (first["exposure_id"], field)
        assert (failure["code"], failure["reason"], failure["retryable"]) == (REUSED, REUSED, False)


def test_a_copy_may_add_identifiers(server: Server) -> None:
    first = RIGHT | {"exposure_id": "enriched", "user_match": None}
    report(server, first)

    answer = report(server, first | {"user_match": RIGHT["user_match"]})

    assert answer["exposures_processed"] == 1
    assert "partial_failures" not in answer


def test_a_retry_of_a_call_is_answered_as_the_call_was(server: Server) -> None:
    first = RIGHT | {"exposure_id": "retried"}
    key = {"idempotency_key": "a-key-for-a-retried-call"}

    answers = [report(server, first, first | {"kind": "click"}, **key) for _ in range(2)]

    assert answers[1]["replayed"] is True
    assert answers[0]["partial_failures"] == answers[1]["partial_failures"]


@pytest.fixture(scope="module")
def dollars(seller: Server) -> dict[str, str]:
    """A package of a media buy in US dollars."""
    made = buy(seller, package())
    return {"media_buy_id": made["media_buy_id"], "package_id": made["packages"][0]["package_id"]}


def warned(answer: dict[str, Any]) -> list[str]:
    return [sentence.partition(":")[0] for sentence in answer.get("warnings", ())]


@pytest.mark.parametrize(
    ("money", "said"),
    [
        ({"cost": 0.5, "currency": "EUR"}, ["OTHER_CURRENCY"]),
        ({"cost": 0.5, "currency": "USD"}, []),
        ({"cost": 0, "currency": "EUR"}, []),
        ({"cost": None, "currency": "EUR"}, []),
    ],
)
def test_a_cost_that_counts_0_is_said_at_once(
    seller: Server, dollars: dict[str, str], money: dict[str, Any], said: list[str]
) -> None:
    exposure = RIGHT | dollars | {"exposure_id": f"cost_{money}"} | money

    answer = report(seller, exposure)

    assert answer["exposures_processed"] == 1
    assert warned(answer) == said


def test_a_spend_that_counts_0_is_said_at_once(seller: Server, dollars: dict[str, str]) -> None:
    total = {**dollars, "hour": "2026-01-15T14:00:00Z", "impressions": 9, "clicks": 1, "spend": 5, "currency": "USD"}
    totals = [total, total | {"currency": "EUR"}, total | {"currency": "EUR", "spend": 0}]

    answer = call(seller, "rest", "delivery", {"totals": totals})

    assert answer["totals_processed"] == 3
    (told,) = answer["warnings"]
    assert told.startswith("OTHER_CURRENCY: 1/3 totals [1] have an amount in another currency than their media buy")


def test_a_total_whose_currency_has_a_space_is_taken_and_the_space_is_said(seller: Server) -> None:
    total = {"media_buy_id": "mb", "package_id": "p", "hour": "2026-01-15T14:00:00Z", "impressions": 9, "clicks": 1}

    answer = call(seller, "rest", "delivery", {"totals": [total | {"spend": 5, "currency": "USD "}]})

    assert answer["totals_processed"] == 1
    assert [warning.split(":")[0] for warning in answer["warnings"]] == ["REPAIRED_CURRENCY", "UNKNOWN_PACKAGE"]
