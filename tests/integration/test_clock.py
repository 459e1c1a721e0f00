"""The clock of the server's machine is wrong for a while, and what the server promised holds."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from tests.clocks import DAY, Hands
from tests.conftest import eventually
from tests.in_process import KEY, call, serving

from postback.clock import LASTING_SECONDS
from postback.errors import StartupError
from postback.forwarding.outbox import Delivery, Outbox
from postback.store.control_store import ControlStore
from postback.store.idempotency import REPLAY_TTL_SECONDS, IdempotencyScope, IdempotencyStore, StoredResponse
from postback.store.running_time import RunningTime
from postback.threads import ThreadPool

pytestmark = pytest.mark.anyio

SCOPE = IdempotencyScope("key_1", "acme", "0f9c4c3e-4a0b-4d5f-9d55-1f0a6b9d2c11")
DELIVERY = Delivery("delivery_1", "crm", "default", "website", "key_1", 1)
RECORD = StoredResponse("create_media_buy", b"fingerprint", b"{}")


def moment(hands: Hands, after: float) -> str:
    return datetime.fromtimestamp(hands.wall + after, UTC).isoformat()


def buy(hands: Hands) -> dict[str, Any]:
    package = {"product_id": "sandbox_display_auction", "pricing_option_id": "auction_cpm_usd", "budget": 5000}
    return {
        "idempotency_key": "a-buy-that-is-sent-twice",
        "brand": {"domain": "acme.example"},
        "start_time": moment(hands, 30 * DAY),
        "end_time": moment(hands, 60 * DAY),
        "packages": [package | {"bid_price": 2.5}],
    }


async def test_a_server_whose_clock_is_set_ahead_buys_once_and_receives_in_the_present(tmp_path: Path) -> None:
    hands = Hands()
    order: dict[str, Any] = {"event_id": "order_1", "event_type": "purchase", "event_time": moment(hands, -3600)}
    order |= {"user_match": {"click_id": "click_1"}, "custom_data": {"value": 10, "currency": "USD"}}
    asked = buy(hands)
    async with serving(tmp_path, hands.clock) as client:
        await call(client, "sync_event_sources", event_sources=[{"event_source_id": "website"}])
        bought = await call(client, "create_media_buy", **asked)

        hands.set_wall(400 * DAY)
        ready = (await client.get("/readyz")).json()
        await call(client, "log_event", event_source_id="website", events=[order])
        hands.let_pass(1)
        hands.set_wall(-400 * DAY)
        await call(client, "log_event", event_source_id="website", events=[order | {"event_id": "order_2"}])
        assert "ahead" in ready["warning"]
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        for event_id in ("order_1", "order_2"):
            [found] = (await client.get(f"/v1/events/website/purchase/{event_id}")).json()["statuses"]
            assert found["status"] == "accepted"
            received = datetime.fromisoformat(found["received_at"])
            assert abs(received.timestamp() - hands.wall) < LASTING_SECONDS

        hands.set_wall(25 * 3600)
        hands.let_pass(LASTING_SECONDS)
        again = await call(client, "create_media_buy", **asked)

    later = Hands(hands.wall + 25 * 3600)
    async with serving(tmp_path, later.clock) as client:
        restarted = await call(client, "create_media_buy", **asked)

    assert again["media_buy_id"] == restarted["media_buy_id"] == bought["media_buy_id"]
    assert again["replayed"] is restarted["replayed"] is True


@pytest.fixture
def control(tmp_path: Path) -> Any:
    store = ControlStore(f"sqlite:///{tmp_path}/control.db")
    store.migrate()
    yield store
    store.close()


async def found_by(control: ControlStore, running: RunningTime) -> StoredResponse | None:
    records = IdempotencyStore(control, ThreadPool("ingestion", 1), running.now)
    records.purge()
    return await records.find(SCOPE)


async def test_a_response_is_stored_for_a_day_in_which_servers_ran(control: ControlStore) -> None:
    hands = Hands()
    running = RunningTime(control, hands.clock)
    await IdempotencyStore(control, ThreadPool("ingestion", 1), running.now).save(SCOPE, *RECORD)
    hands.let_pass(3600)
    running.save()

    after_a_week = Hands(hands.wall + 7 * DAY)
    running = RunningTime(control, after_a_week.clock)
    assert await found_by(control, running) == RECORD
    after_a_week.let_pass(REPLAY_TTL_SECONDS - 3600 - 10)
    assert await found_by(control, running) == RECORD
    after_a_week.let_pass(20)
    assert await found_by(control, running) is None


async def test_what_a_control_store_had_before_running_time_expires_as_it_was_to(control: ControlStore) -> None:
    hands = Hands()
    before = IdempotencyStore(control, ThreadPool("ingestion", 1), lambda: hands.wall)
    await before.save(SCOPE, *RECORD)

    running = RunningTime(control, hands.clock)
    hands.let_pass(REPLAY_TTL_SECONDS - 10)
    assert await found_by(control, running) == RECORD
    hands.let_pass(20)
    assert await found_by(control, running) is None


@pytest.mark.parametrize(
    ("by", "level", "said"),
    [
        (-DAY, logging.ERROR, "Was the clock wrong then, or is it now"),
        (60 * DAY, logging.WARNING, "If it was not stopped for so long, the clock is wrong"),
        (3600, None, ""),
        (-LASTING_SECONDS, None, ""),
    ],
)
def test_a_start_with_another_time_than_the_last_says_so(
    control: ControlStore, by: float, level: int | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    hands = Hands()
    RunningTime(control, hands.clock)
    caplog.clear()

    again = Hands(hands.wall + by)
    RunningTime(control, again.clock)

    assert [record.levelno for record in caplog.records] == ([level] if level else [])
    assert said in caplog.text
    assert (again.clock.distrusted_until > again.wall) is (by < 0)


async def test_a_machine_whose_clock_was_never_set_starts_no_server(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="1970-01-01"):
        async with serving(tmp_path / "data", Hands(60).clock):
            pass
    assert not (tmp_path / "data").exists()


async def test_a_machine_that_starts_months_ahead_deletes_no_dead_letter_before_its_time(tmp_path: Path) -> None:
    hands = Hands()
    async with serving(tmp_path, hands.clock):
        pass
    store = ControlStore(f"sqlite:///{tmp_path}/control.db")
    for name, age in (("old", 31 * DAY), ("new", DAY)):
        outbox = Outbox(store, Hands(hands.wall - age).clock.now)
        outbox.put([delivery := DELIVERY._replace(delivery_id=name)])
        outbox.failed(delivery, "HTTP 400", None)

    async with serving(tmp_path, Hands(hands.wall + 400 * DAY).clock):
        await asyncio.to_thread(eventually, lambda: len(Outbox(store).listed()) < 2, "a purge")
    left = Outbox(store).listed()
    store.close()

    assert [delivery.delivery_id for delivery in left] == ["new"]


def test_what_failed_while_the_clock_was_months_ahead_is_tried_soon_after_it_is_right(control: ControlStore) -> None:
    hands = Hands(time.time() + 400 * DAY)
    outbox = Outbox(control, hands.clock.now)
    outbox.put([DELIVERY])
    outbox.failed(DELIVERY, "HTTP 503", 3600)
    assert outbox.take("crm", 1) == [], "an attempt that waits for an hour is made at once"

    hands.set_wall(-400 * DAY)
    hands.let_pass(3600)

    assert [delivery.attempts for delivery in outbox.take("crm", 1)] == [1]
    assert outbox.owes("key_1", ["crm"])


async def test_a_session_that_began_while_the_clock_was_months_ahead_lasts_no_longer(tmp_path: Path) -> None:
    hands = Hands()
    async with serving(tmp_path, hands.clock) as client:
        del client.headers["Authorization"]
        hands.set_wall(400 * DAY)
        hands.let_pass(LASTING_SECONDS)
        origin = {"Origin": str(client.base_url).rstrip("/")}
        assert (await client.post("/console/sign-in", data={"key": KEY}, headers=origin)).status_code == 303

        hands.set_wall(-400 * DAY)
        hands.let_pass(LASTING_SECONDS)
        lasting = (await client.get("/console/server?format=json")).status_code
        hands.let_pass(13 * 3600)
        over = (await client.get("/console/server?format=json")).status_code

    assert (lasting, over) == (200, 401)


def test_running_time_of_two_processes_is_the_longer_one(control: ControlStore, tmp_path: Path) -> None:
    one, two = Hands(1_800_000_000), Hands(1_800_000_000)
    first, second = RunningTime(control, one.clock), RunningTime(control, two.clock)
    one.let_pass(100)
    two.let_pass(50)
    first.save()
    second.save()
    engine = create_engine(f"sqlite:///{tmp_path}/control.db")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT seconds FROM running_time")) == 1_800_000_100
    engine.dispose()
