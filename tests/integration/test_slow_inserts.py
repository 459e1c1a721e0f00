"""An insert that takes long: attribution misses none of its events, and promises nothing that waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from tests.conftest import eventually
from tests.engine import open_events, select
from tests.ingest import ingest_log

from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.rows import Rows

START = datetime(2026, 10, 1, tzinfo=UTC)


@dataclass
class Stores:
    """Both stores, and attribution over them. The insert of an event whose id is ``slow…`` waits for ``go_on``."""

    folder: DataDir
    control: ControlStore
    events: EventStore
    attribution: Attribution
    writer: Client
    at_work: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def attributed(self) -> set[str]:
        return {event_id for (event_id,) in select(self.events, "SELECT DISTINCT event_id FROM attribution")}

    def received_at(self, event_id: str) -> datetime:
        status = self.events.status("default", "web", "purchase", event_id)
        assert status.event is not None
        return status.event.received_at

    def complete_through(self) -> datetime:
        self.attribution.catch_up()
        assert self.attribution.complete_through is not None
        return self.attribution.complete_through


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    folder = DataDir.open(tmp_path)
    control = ControlStore(folder.control_url)
    control.migrate()
    AccountStore(control).create("default", sandbox=False)
    events = open_events(folder.path)
    media_buys = MediaBuyStore(control)
    goal = EventGoal(kind="event", event_sources=(GoalSource(event_source_id="web", event_type="purchase"),))
    package = Package(package_id="p", product_id="x", pricing_option_id="y", budget=1.0, goals=(goal,))
    media_buys.create(
        MediaBuy(
            account_id="default",
            media_buy_id="mb",
            currency="USD",
            start_at=START,
            end_at=START + timedelta(days=90),
            created_at=START,
            total_budget=1.0,
            packages=(package,),
        )
    )
    attribution = Attribution(events, control, media_buys, tmp_path / "derived")
    stores = Stores(folder, control, events, attribution, writer_of(events))
    insert = stores.writer.raw_insert

    def slowly(table: str, names: list[str], stream: Any, **more: Any) -> Any:
        if b"slow" in bytes(stream):
            stores.at_work.set()
            assert stores.go_on.wait(60)
        return insert(table, names, stream, **more)

    monkeypatch.setattr(stores.writer, "raw_insert", slowly)
    yield stores
    stores.go_on.set()
    events.close()
    control.close()
    folder.close()


def writer_of(events: EventStore) -> Client:
    """The client that inserts."""
    client: Client = events._writer  # noqa: SLF001 - a test can't make an engine slow
    return client


def purchase(*event_ids: str) -> list[Rows]:
    same = {
        "account_id": "default",
        "event_source_id": "web",
        "event_type": "purchase",
        "event_time": int(START.timestamp()) * 1_000_000,
        "action_source": "website",
        "event_source_url": "",
        "custom_event_name": "",
        "custom_data": b"",
        "extra": b"",
        "match_keys": b"\x01" + b"e" * 15,
        "quality": 0.8,
        "warnings": [],
    }
    columns: dict[str, Any] = {name: [value] * len(event_ids) for name, value in same.items()}
    return [Rows("event", columns | {"event_id": event_ids, "place": range(len(event_ids))})]


def test_a_quick_insert_does_not_overtake_a_slow_one(stores: Stores) -> None:
    stores.complete_through()
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(stores.events.insert, purchase("slow"))
        assert stores.at_work.wait(60)
        quick = threads.submit(stores.events.insert, purchase("quick"))
        before = stores.complete_through()
        assert not quick.done()
        stores.go_on.set()
        slow.result(60)
        quick.result(60)

    stores.complete_through()

    assert stores.attributed() == {"slow", "quick"}
    assert before < stores.received_at("slow") < stores.received_at("quick")


def test_what_waits_in_the_log_is_not_promised(stores: Stores) -> None:
    async def story() -> tuple[datetime, datetime]:
        async with ingest_log(stores.folder, stores.events, stores.control) as log:
            begun = datetime.now(UTC)
            await log.append(purchase("slow", "slow too"))
            await asyncio.to_thread(stores.at_work.wait, 60)
            for number in range(3):
                await log.append(purchase(f"waits {number}"))
            promised = await asyncio.to_thread(stores.complete_through)
            stores.go_on.set()
        return begun, promised

    begun, promised = asyncio.run(story())

    assert promised < begun + timedelta(seconds=0.05)
    assert promised < min(map(stores.received_at, ("slow", "slow too", "waits 0", "waits 1", "waits 2")))
    assert stores.complete_through() > stores.received_at("waits 2")
    assert stores.attributed() == {"slow", "slow too", "waits 0", "waits 1", "waits 2"}


def test_an_insert_that_failed_holds_nothing_up_and_may_be_repeated(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(stores.writer, "raw_insert", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stores.events.insert(purchase("order"))
    before = stores.complete_through()
    stores.events.insert(purchase("order"))
    assert eventually(lambda: stores.complete_through() > before)
    assert stores.attributed() == {"order"}
    assert stores.received_at("order") > before
