"""The whole server in this process, in a few seconds: what the fast tests see of how its parts fit together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.in_process import call, serving

pytestmark = pytest.mark.anyio

GOOD = {
    "event_id": "order_1",
    "event_type": "purchase",
    "user_match": {"click_id": "click_1"},
    "custom_data": {"value": 12.5, "currency": "EUR"},
}


async def test_events_that_are_logged_can_be_looked_up_and_are_counted(tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    async with serving(tmp_path / "data") as client:
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "website"}])
        events = [{**GOOD, "event_time": now}, {**GOOD, "event_id": "order_2", "event_time": "yesterday"}]
        answer = await call(client, "log_event", event_source_id="website", events=events)
        found = [(await client.get(f"/v1/events/website/purchase/order_{n}")).json() for n in (1, 2)]
        metrics = (await client.get("/metrics")).text.splitlines()

    assert (answer["events_received"], answer["events_processed"]) == (2, 1)
    assert [failure["index"] for failure in answer["partial_failures"]] == [1]
    assert [[verdict["status"] for verdict in status["statuses"]] for status in found] == [["accepted"], ["rejected"]]
    assert "postback_events_accepted_total 1.0" in metrics


async def test_a_second_start_finds_what_the_first_stored(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as client:
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "website"}])
        event = {**GOOD, "event_time": datetime.now(UTC).isoformat()}
        first = await call(client, "log_event", event_source_id="website", events=[event], idempotency_key="k" * 16)
    async with serving(tmp_path / "data") as client:
        again = await call(client, "log_event", event_source_id="website", events=[event], idempotency_key="k" * 16)
        status = (await client.get("/v1/events/website/purchase/order_1")).json()

    assert again["replayed"]
    assert again["events_processed"] == first["events_processed"] == 1
    assert len(status["statuses"]) == 1
