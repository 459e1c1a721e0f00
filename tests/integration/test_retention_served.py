"""What callers see of an event whose payload retention has dropped."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from tests.engine import opened
from tests.in_process import call, serving
from tests.integration.orders import order, package

from postback.attribution.retention import Retention
from postback.attribution.runner import Attribution
from postback.config import load_settings
from postback.errors import StartupError
from postback.event_sources.store import SourceRegistry
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.threads import Threads

NOW = datetime.now(UTC)
ANN = {"hashed_email": "61" * 32}
GOAL = {
    "kind": "event",
    "event_sources": [
        {"event_source_id": "shop", "event_type": event_type, "value_field": "value"}
        for event_type in ("purchase", "refund")
    ],
}


def event(event_type: str, event_id: str, value: float, moment: datetime, **more: Any) -> dict[str, Any]:
    custom_data = {"value": value, "currency": "USD", "order_id": "o1", "content_name": "Boots"}
    return {
        "event_id": event_id,
        "event_type": event_type,
        "event_time": moment.isoformat(),
        "action_source": "website",
        "custom_data": custom_data,
        **more,
    }


async def log(client: httpx2.AsyncClient, *events: dict[str, Any]) -> dict[str, Any]:
    return await call(client, "log_event", event_source_id="shop", events=list(events), idempotency_key=str(uuid4()))


async def attributed(client: httpx2.AsyncClient, event_type: str, event_id: str) -> dict[str, Any]:
    """An event's status, once it is attributed."""
    for _ in range(600):
        found: dict[str, Any] = (await client.get(f"/v1/events/shop/{event_type}/{event_id}")).json()
        if found["attribution"]["status"] == "attributed":
            return found
        await asyncio.sleep(0.1)
    pytest.fail("the event was not attributed within a minute")


async def figures(client: httpx2.AsyncClient) -> tuple[float, float, float]:
    """Impressions, conversions and their value, of the one media buy."""
    report = await call(client, "get_media_buy_delivery", account={"account_id": "default"})
    totals = report["media_buy_deliveries"][0]["totals"]
    return totals["impressions"], totals["conversions"], totals["conversion_value"]


async def until_reported(client: httpx2.AsyncClient, expected: tuple[float, float, float]) -> None:
    """Wait for the report, which counts an outcome a moment after the event's status shows it."""
    for _ in range(600):
        if await figures(client) == expected:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"the report did not become {expected} within a minute")


def sweep(data: Path, now: datetime) -> None:
    """Let retention of 400 days do what is due at a time."""
    with ExitStack() as stack:
        events = stack.enter_context(opened(data))
        control = stack.enter_context(closing(ControlStore(f"sqlite:///{data}/control.db")))
        threads = stack.enter_context(closing(Threads(1)))
        attribution = Attribution(events, control, MediaBuyStore(control), data / "derived")
        arguments = (events, attribution, SourceRegistry(control), 90, 400, Metrics(), now.timestamp)
        retention = stack.enter_context(closing(Retention(*arguments)))
        asyncio.run(retention.sweep(threads))


async def before(data: Path) -> tuple[float, float, float]:
    async with serving(data) as client:
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "shop"}])
        bought = await call(client, "create_media_buy", **order(package(GOAL)))
        exposure = {
            "exposure_id": "x1",
            "kind": "impression",
            "occurred_at": (NOW - timedelta(minutes=5)).isoformat(),
            "media_buy_id": bought["media_buy_id"],
            "package_id": bought["packages"][0]["package_id"],
            "user_match": ANN,
        }
        (await client.post("/v1/exposures", json={"exposures": [exposure]})).raise_for_status()
        await log(client, event("purchase", "p1", 80, NOW, user_match=ANN))
        await attributed(client, "purchase", "p1")
        await until_reported(client, (1, 1, 80))
        return await figures(client)


async def after(data: Path, reported: tuple[float, float, float]) -> None:
    async with serving(data, retention_days=400) as client:
        assert await figures(client) == reported
        found = await attributed(client, "purchase", "p1")
        (status,) = found["statuses"]
        assert status["payload_dropped"] is True
        assert "identifiers" not in status
        assert found["attribution"]["exposure_id"] == "x1"

        await log(client, event("purchase", "p1", 80, NOW, user_match={"hashed_email": "62" * 32}))
        later = NOW + timedelta(days=500)
        await log(client, event("refund", "r1", 30, later))
        refund = await attributed(client, "refund", "r1")
        assert (refund["attribution"]["value"], refund["attribution"]["purchase"]["event_id"]) == (-30, "p1")
        await until_reported(client, (1, 1, 50))
        assert "differing_copies" not in await attributed(client, "purchase", "p1")


def test_reports_and_deduplication_stay_and_the_status_says_what_was_dropped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    reported = asyncio.run(before(data))
    assert reported == (1, 1, 80)

    sweep(data, NOW + timedelta(days=402))

    asyncio.run(after(data, reported))


@pytest.mark.anyio
async def test_a_server_refuses_to_start_with_too_few_days(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="POSTBACK_RETENTION_DAYS is 180, but must be at least 181"):
        async with serving(tmp_path, retention_days=180):
            pass
    assert load_settings({"POSTBACK_RETENTION_DAYS": "181"}).retention_days == 181
