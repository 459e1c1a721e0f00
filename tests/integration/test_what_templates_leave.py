"""A shop whose template is broken learns it from the first answer, and nothing of it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.in_process import call, serving

pytestmark = pytest.mark.anyio

EMAIL = sha256(b"ada@buyer.example").hexdigest()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(tmp_path / "data") as client:
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "website"}])
        yield client


def order(event_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": datetime.now(UTC).isoformat(),
        "action_source": "app",
        "user_match": {"hashed_email": EMAIL},
        "custom_data": {"value": 10, "currency": "EUR"},
        **changes,
    }


async def log(shop: httpx2.AsyncClient, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await call(shop, "log_event", event_source_id="website", events=list(events), **more)


async def test_orders_of_a_broken_template_fail_and_do_not_become_one(shop: httpx2.AsyncClient) -> None:
    answer = await log(shop, *[order(event_id) for event_id in ("undefined", "{{Transaction ID}}", "0", " ")])

    assert answer["events_processed"] == 1
    assert [(f["index"], f["field"]) for f in answer["partial_failures"]] == [
        (0, "events[0].event_id"),
        (1, "events[1].event_id"),
        (3, "events[3].event_id"),
    ]
    assert all("nobody filled in" in failure["message"] for failure in answer["partial_failures"])


async def test_one_order_is_one_event_however_its_id_was_typed(shop: httpx2.AsyncClient) -> None:
    answer = await log(shop, order("cafe\u0301-1"), order("1001\n"))
    found = (await shop.get("/v1/events/website/purchase/1001")).json()

    assert answer["warnings"][0].startswith("REPAIRED_EVENT_ID: 2/2 events [0,1] ")
    assert found["statuses"][0]["status"] == "accepted"
    assert (await shop.get("/v1/events/website/purchase/caf\u00e9-1")).status_code == 200


async def test_a_test_by_another_name_fails_the_call(shop: httpx2.AsyncClient) -> None:
    arguments = {"event_source_id": "website", "events": [order("1")], "is_test_event": True}
    refused = (await shop.post("/v1/log_event", json=arguments)).json()
    accepted = await call(shop, "log_event", **{**arguments, "test_event_code": "TEST1"})

    assert refused["adcp_error"]["field"] == "is_test_event"
    assert "test_event_code" in refused["adcp_error"]["suggestion"]
    assert accepted["message"] == "1 of 1 test events accepted."


async def test_each_identifier_that_was_dropped_is_named(shop: httpx2.AsyncClient) -> None:
    unusable = {"client_ip": "10.0.0.1", "client_user_agent": "Mozilla/5.0", "em": [EMAIL], "click_id": "$CLICK_ID"}
    answer = await log(shop, order("1", user_match=unusable), order("2", user_match=unusable | {"hashed_email": EMAIL}))

    [failure] = answer["partial_failures"]
    assert failure["reason"] == "MISSING_USER_MATCH"
    for told in (
        "client_ip is from a private",
        "PRIVATE_IP",
        "AdCP has no field em, send hashed_email",
        "click_id is an",
    ):
        assert told in failure["message"]
    assert any(
        warning.startswith("UNKNOWN_IDENTIFIER") and "send hashed_email instead of em" in warning
        for warning in answer["warnings"]
    )


async def test_one_order_under_two_event_ids_is_pointed_out(shop: httpx2.AsyncClient) -> None:
    paid = {"custom_data": {"value": 10, "currency": "EUR", "order_id": "77"}}
    answer = await log(shop, order("px-77", **paid), order("srv-77", **paid))
    found = (await shop.get("/v1/events/website/purchase/px-77")).json()

    assert answer["events_processed"] == 2
    assert answer["warnings"][0].startswith("SAME_ORDER_ID: 2/2 events [0,1] ")
    assert "SAME_ORDER_ID" in found["statuses"][0]["warnings"]


async def test_an_impression_with_a_junk_identifier_is_delivery(shop: httpx2.AsyncClient) -> None:
    impression = {
        "exposure_id": "i1",
        "kind": "impression",
        "occurred_at": datetime.now(UTC).isoformat(),
        "media_buy_id": "mb",
        "package_id": "p",
        "user_match": {"hashed_email": "NULL"},
    }
    answer = await call(shop, "exposures", exposures=[impression, {**impression, "exposure_id": "{{imp_id}}"}])

    assert answer["exposures_processed"] == 1
    assert [failure["field"] for failure in answer["partial_failures"]] == ["exposures[1].exposure_id"]
    assert [warning.partition(":")[0] for warning in answer["warnings"]] == [
        "JUNK_IDENTIFIER",
        "MISSING_USER_MATCH",
        "UNKNOWN_PACKAGE",
    ]


@pytest.mark.parametrize("count", [1, 60])
async def test_the_answer_is_the_same_for_a_batch_that_a_worker_validates(shop: httpx2.AsyncClient, count: int) -> None:
    bad = order("1", user_match={"ph": EMAIL, "hashed_email": EMAIL, "click_id": "null"})
    answer = await log(shop, bad, *[order(f"o{number}") for number in range(count)])

    told = {warning.partition(":")[0]: warning for warning in answer["warnings"]}
    assert "send hashed_phone instead of ph" in told["UNKNOWN_IDENTIFIER"]
    assert "(click_id)" in told["JUNK_IDENTIFIER"]
