"""The server in this process: what keeps it from answering, and how it opens and closes when something fails."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import pytest
from tests.in_process import call, serving
from tests.integration.orders import ROAS, SOURCES, order, package

from postback.app import open_app
from postback.attribution.runner import Attribution
from postback.attribution.statements import DerivedStore
from postback.config import load_settings
from postback.errors import StartupError
from postback.resources import Resources
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import READERS, EventStore
from postback.store.idempotency import IdempotencyStore
from postback.store.ingest_log import IngestLog
from postback.store.rows import Rows, Table
from postback.threads import Threads
from postback.transports.shared_answer import SHARED_SECONDS

pytestmark = pytest.mark.anyio


def purchase(event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": datetime.now(UTC).isoformat(),
        "user_match": {"click_id": f"click_{event_id}"},
        "custom_data": {"value": 10, "currency": "USD"},
    }


def exposure(exposure_id: str, **members: object) -> dict[str, object]:
    return {
        "exposure_id": exposure_id,
        "kind": "impression",
        "occurred_at": datetime.now(UTC).isoformat(),
        "match": {"click_id": "click_1"},
        **members,
    }


async def metric(client: httpx2.AsyncClient, sample: str) -> float:
    """The value of a sample, as ``postback_clicks_total{outcome="lost"}``; 0 when there is none."""
    await asyncio.sleep(SHARED_SECONDS)  # what was asked for before is told again within this time
    lines = (await client.get("/metrics")).text.splitlines()
    return next((float(line.removeprefix(f"{sample} ")) for line in lines if line.startswith(f"{sample} ")), 0.0)


async def until(look: Callable[[], Any]) -> None:
    """Wait until ``look`` finds something; it has a minute, for a machine that does much else."""
    deadline = time.monotonic() + 60
    while True:
        found = look()
        if await found if asyncio.iscoroutine(found) else found:
            return
        if time.monotonic() > deadline:
            pytest.fail("it did not happen within a minute")
        await asyncio.sleep(0.02)


async def test_reports_that_hang_keep_nothing_else_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, reading, query = threading.Event(), threading.Semaphore(0), EventStore.query

    def hanging(store: EventStore, name: str, **parameters: object) -> Any:
        if name == "delivery_exposures":
            reading.release()
            finish.wait(120)
        return query(store, name, **parameters)

    async with serving(tmp_path) as client:
        await call(client, "sync_event_sources", event_sources=SOURCES)
        bought = await call(client, "create_media_buy", **order(package(ROAS)))
        monkeypatch.setattr(EventStore, "query", hanging)
        wanted = {"media_buy_ids": [bought["media_buy_id"]]}
        reports = [asyncio.create_task(call(client, "get_media_buy_delivery", **wanted)) for _ in range(20)]
        try:
            for _ in range(READERS):
                await until(lambda: reading.acquire(blocking=False))
            async with asyncio.timeout(60):
                # A key and a source that are looked up afresh, a small batch, a large one, and a call with a key.
                await asyncio.sleep(1.1)
                logged = await call(client, "log_event", event_source_id="shop", events=[purchase("1")])
                batch = [purchase(str(number)) for number in range(200)]
                large = await call(
                    client, "log_event", event_source_id="shop", events=batch, idempotency_key=str(uuid4())
                )
                another = await call(client, "create_media_buy", **order())
                ready, metrics = await client.get("/readyz"), await client.get("/metrics")
            assert (logged["events_processed"], large["events_processed"]) == (1, 200)
            assert another["media_buy_id"] != bought["media_buy_id"]
            assert (ready.status_code, metrics.status_code) == (200, 200)
            assert not any(report.done() for report in reports)
        finally:
            finish.set()
        for report in await asyncio.gather(*reports):
            assert report["media_buy_deliveries"][0]["media_buy_id"] == bought["media_buy_id"]


async def test_pages_show_what_is_stored_while_many_events_are_on_their_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, insert_block = threading.Event(), EventStore.insert_block

    def slowly(store: EventStore, table: Table, rows: Sequence[Rows], token: str) -> None:
        go_on.wait(120)
        insert_block(store, table, rows, token)

    async with serving(tmp_path) as client:
        client.headers["Accept"] = "application/json"
        await call(client, "sync_event_sources", event_sources=SOURCES)
        await call(client, "log_event", event_source_id="shop", events=[purchase("stored")])
        await client.get("/v1/events/shop/purchase/stored")
        monkeypatch.setattr(EventStore, "insert_block", slowly)
        try:
            for first in (0, 6_000):
                batch = [purchase(f"late-{number}") for number in range(first, first + 6_000)]
                await call(client, "log_event", event_source_id="shop", events=batch)
            async with asyncio.timeout(60):
                assert (await client.get("/console/failures")).json()["received"] == 1
                assert len((await client.get("/console/lookup?id=stored")).json()["explained"]) == 1
                missed = (await client.get("/console/lookup?id=late-7")).json()
                assert (missed["explained"], missed["on_its_way"]) == ([], 12_000)
            event = asyncio.create_task(client.get("/console/events/shop/purchase/late-7"))
        finally:
            go_on.set()
        assert (await event).status_code == 200
        missed = (await client.get("/console/lookup?id=late-12000")).json()
        assert (missed["explained"], missed["on_its_way"]) == ([], 0)


@pytest.fixture
def on_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where something that blocks was called on an event loop, from now on."""
    found: list[str] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with suppress(RuntimeError):  # in a thread there is none
                asyncio.get_running_loop()
                ours = [frame for frame in traceback.extract_stack() if "/postback/" in frame.filename]
                found.append(f"{owner.__name__}.{name} at {[f'{frame.filename}:{frame.lineno}' for frame in ours]}")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for owner, names in {
        ControlStore: ("connect", "begin"),
        EventStore: ("query", "insert", "ping", "count"),
        DerivedStore: ("run", "rows", "fill", "empty"),
        time: ("sleep",),
        os: ("fsync", "fdatasync"),
    }.items():
        for name in names:
            watch(owner, name)
    return found


async def test_no_call_blocks_the_event_loop(
    tmp_path: Path, on_the_loop: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "seller.toml"
    config.write_text(
        '[[forwards]]\nname = "crm"\nevent_source_id = "shop"\nurl = "http://127.0.0.1:9"\nallow_private = true\n'
    )
    workers = {thread.ident for thread in threading.enumerate()}
    async with serving(tmp_path / "data", seller_config=config) as client:
        on_the_loop.clear()  # nobody waits while a server opens
        await call(client, "sync_event_sources", event_sources=SOURCES)
        await call(client, "sync_accounts", accounts=[], idempotency_key=str(uuid4()))
        await call(client, "get_adcp_capabilities")
        await call(client, "list_accounts")
        bought = await call(client, "create_media_buy", **order(package(ROAS)))
        media_buy_id, package_id = bought["media_buy_id"], bought["packages"][0]["package_id"]
        named = {"media_buy_id": media_buy_id, "package_id": package_id}
        await call(client, "exposures", exposures=[exposure(str(n), **named) for n in range(60)])
        await call(client, "exposures", exposures=[exposure("last", **named)], idempotency_key=str(uuid4()))
        hour = "2026-01-15T14:00:00Z"
        total = {**named, "hour": hour, "impressions": 1, "clicks": 0, "spend": 1, "currency": "USD"}
        await call(client, "delivery", totals=[total], idempotency_key=str(uuid4()))
        link = await call(client, "click-links", **named, destination="https://shop.example/")
        assert (await client.get(urlsplit(link["url"]).path)).status_code == 302
        for size in (1, 60):
            events = [purchase(f"{size}_{number}") for number in range(size)]
            await call(client, "log_event", event_source_id="shop", events=events, idempotency_key=str(uuid4()))
        assert (await client.get("/v1/events/shop/purchase/1_0")).status_code == 200
        assert (await client.get(f"/v1/media-buys/{media_buy_id}/conversions")).status_code == 200
        final = await client.post(f"/v1/media-buys/{media_buy_id}/packages/{package_id}/finalize")
        assert final.json()["adcp_error"]["code"] == "NOT_FINAL_YET"
        update = {"media_buy_id": media_buy_id, "account": {"account_id": "default"}, "paused": True}
        await call(client, "update_media_buy", **update, idempotency_key=str(uuid4()))
        await call(client, "get_media_buys", media_buy_ids=[media_buy_id])
        await call(client, "get_media_buy_delivery", media_buy_ids=[media_buy_id])
        delivered = {"media_buy_id": media_buy_id, "impressions": 1}
        for scenario, params in {"simulate_delivery": delivered, "query_upstream_traffic": {}}.items():
            await call(client, "comply_test_controller", scenario=scenario, params=params)
        brand = {"brand": {"domain": "acmeoutdoor.example"}, "operator": "agency.example"}
        await call(client, "get_products", buying_mode="brief", brief="video", account=brand)
        assert (await client.get("/readyz")).status_code == 200
        await until(lambda: metric(client, "postback_attributed_through_timestamp_seconds"))
        assert on_the_loop == []
        started = [thread.name for thread in threading.enumerate() if thread.ident not in workers]
        assert not [name for name in started if name.startswith(("asyncio_", "AnyIO"))]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is closed from now on, in its order."""
    order: list[str] = []

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any) -> Any:
            order.append(owner.__name__)
            return original(*args)

        monkeypatch.setattr(owner, name, watched)

    watch(IngestLog, "stop")
    for owner in (Threads, EventStore, ControlStore, DataDir):
        watch(owner, "close")
    return order


IN_ORDER = ["IngestLog", "Threads", "EventStore", "ControlStore", "DataDir"]


async def test_a_loop_that_fails_starts_again_and_the_server_still_closes_in_order(
    tmp_path: Path, closed: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work, calls = Attribution.work, []

    def failing_first(attribution: Attribution) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("cannot parse 'jane@example.com'")
        work(attribution)

    def failing(_: IdempotencyStore) -> int:
        raise ValueError("cannot parse 'jane@example.com'")

    monkeypatch.setattr(Attribution, "work", failing_first)
    monkeypatch.setattr(IdempotencyStore, "purge", failing)
    async with serving(tmp_path) as client:
        await until(lambda: metric(client, "postback_attributed_through_timestamp_seconds"))
        assert await metric(client, 'postback_background_failures_total{loop="attribution"}') == 1
        assert await metric(client, 'postback_background_failures_total{loop="purge"}') >= 1
    assert closed == IN_ORDER
    assert not any("jane@example.com" in record.getMessage() for record in caplog.records)

    async with serving(tmp_path) as client:
        assert (await client.get("/readyz")).status_code == 200


async def test_the_server_notes_how_many_changes_its_control_store_has(tmp_path: Path) -> None:
    """So that the next start notices when some are lost."""
    mark = tmp_path / "data" / "control.commits"
    async with serving(tmp_path / "data") as client:
        await until(mark.exists)
        before = int(mark.read_text())
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "website"}])
        await until(lambda: int(mark.read_text()) > before)


async def test_a_start_that_fails_late_leaves_nothing_open(tmp_path: Path, closed: list[str]) -> None:
    unusable = tmp_path / "keys.json"
    unusable.write_text("no keys")
    with pytest.raises(StartupError, match=r"signing keys .* is not valid JSON"):
        async with serving(tmp_path / "data", signing_keys=unusable, bootstrap_key=None):
            pass
    assert closed == IN_ORDER[1:]

    # The engine has one folder a process: another one opens only when the first is closed.
    async with serving(tmp_path / "other") as client:
        assert (await client.get("/readyz")).status_code == 200
    async with open_app(load_settings({}, data=tmp_path / "data", sandbox=True)) as (_, new_key):
        assert new_key  # the failed start had not made one that nobody saw


async def test_an_error_of_closing_keeps_nothing_open_and_hides_no_earlier_one(
    tmp_path: Path, closed: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = IngestLog.stop

    async def failing(log: IngestLog) -> None:
        await stop(log)
        raise OSError("jane@example.com")

    with monkeypatch.context() as patch:
        patch.setattr(IngestLog, "stop", failing)
        with pytest.raises(ZeroDivisionError):
            async with serving(tmp_path):
                raise ZeroDivisionError
        assert closed == IN_ORDER
        assert "closing the ingest log failed" in caplog.messages

        with pytest.raises(OSError, match="jane"):
            async with serving(tmp_path):
                pass
    assert closed == IN_ORDER * 2


async def test_resources_close_in_the_reverse_order_whatever_fails() -> None:
    closed: list[str] = []

    def close(name: str) -> None:
        closed.append(name)
        raise ValueError(name)

    resources = Resources()
    resources.closing("first", lambda: close("first"))
    resources.closing("last", lambda: close("last"))
    with pytest.raises(ValueError, match="last"):
        await resources.aclose()
    assert closed == ["last", "first"]
