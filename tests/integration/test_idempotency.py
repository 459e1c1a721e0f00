"""A client retries a call with its idempotency key."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from postback.errors import RateLimitExceeded, StoreUnavailable
from postback.store.control_store import ControlStore
from postback.store.idempotency import (
    REPLAY_TTL_SECONDS,
    IdempotencyScope,
    IdempotencyStore,
    StoredResponse,
    is_first,
)
from postback.threads import ThreadPool

SCOPE = IdempotencyScope("key_1", "acme", "0f9c4c3e-4a0b-4d5f-9d55-1f0a6b9d2c11")
RECORD = StoredResponse("log_event", b"fingerprint", b'{"events_received": 1}')

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def control(control_url: str) -> Iterator[ControlStore]:
    store = ControlStore(control_url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(control: ControlStore, clock: Clock) -> IdempotencyStore:
    return IdempotencyStore(control, ThreadPool("ingestion", 2), clock)


def test_a_segment_of_the_log_is_noted_once(control: ControlStore) -> None:
    noted = []
    for name in ("one", "other", "one"):
        with control.begin() as connection:
            noted.append(is_first(control, connection, name))
    assert noted == [True, True, False]


async def test_a_kept_answer_is_found_again(records: IdempotencyStore) -> None:
    assert await records.find(SCOPE) is None
    await records.save(SCOPE, *RECORD)
    assert await records.find(SCOPE) == RECORD


@pytest.mark.parametrize(
    "other",
    [SCOPE._replace(key_id="key_2"), SCOPE._replace(account_id="nova"), SCOPE._replace(idempotency_key="k" * 16)],
)
async def test_a_key_counts_for_its_caller_and_account_only(records: IdempotencyStore, other: IdempotencyScope) -> None:
    await records.save(SCOPE, *RECORD)
    assert await records.find(other) is None


async def test_an_answer_is_kept_for_a_day(records: IdempotencyStore, clock: Clock) -> None:
    await records.save(SCOPE, *RECORD)
    clock.seconds += REPLAY_TTL_SECONDS - 1
    assert await records.find(SCOPE) == RECORD
    clock.seconds += 1
    assert await records.find(SCOPE) is None


async def test_an_expired_key_may_be_used_again(records: IdempotencyStore, clock: Clock) -> None:
    await records.save(SCOPE, *RECORD)
    clock.seconds += REPLAY_TTL_SECONDS
    later = RECORD._replace(answer=b"{}")
    await records.save(SCOPE, *later)
    assert await records.find(SCOPE) == later


async def test_the_answer_that_was_kept_first_stays(records: IdempotencyStore) -> None:
    await records.save(SCOPE, *RECORD)
    await records.save(SCOPE, "log_event", b"other", b"{}")
    assert await records.find(SCOPE) == RECORD


async def test_only_expired_answers_are_purged(records: IdempotencyStore, clock: Clock) -> None:
    await records.save(SCOPE, *RECORD)
    clock.seconds += REPLAY_TTL_SECONDS
    await records.save(SCOPE._replace(account_id="nova"), *RECORD)
    assert (records.purge(), records.purge()) == (1, 0)


async def test_a_key_has_room_for_so_many_large_answers_also_after_a_restart(
    control: ControlStore, clock: Clock
) -> None:
    def opened() -> IdempotencyStore:
        store = IdempotencyStore(control, ThreadPool("ingestion", 2), clock, quota_bytes=10_000)
        store.learn()
        return store

    large = RECORD._replace(answer=b"x" * 10_000)
    records = opened()
    for number in range(2):
        assert records.has_room(records.answer(SCOPE, large)) == (number == 0)
        records.require_room(SCOPE.key_id)
        await records.save(SCOPE._replace(idempotency_key=f"large_{number}"), *large)

    for store in (records, opened()):
        with pytest.raises(RateLimitExceeded):
            store.require_room(SCOPE.key_id)
        store.require_room("key_2")
        assert store.has_room(store.answer(SCOPE, RECORD))
    clock.seconds += REPLAY_TTL_SECONDS + 3_600
    records.require_room(SCOPE.key_id)


async def test_what_was_purged_is_given_back_to_the_disk(tmp_path: Path, clock: Clock) -> None:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    records = IdempotencyStore(control, ThreadPool("ingestion", 2), clock)
    scopes = [SCOPE._replace(idempotency_key=f"large_{number}") for number in range(10)]
    await asyncio.gather(*(records.save(scope, "log_event", b"", bytes(500_000)) for scope in scopes))
    with control.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    full = (tmp_path / "control.db").stat().st_size
    clock.seconds += REPLAY_TTL_SECONDS

    records.purge()
    control.give_space_back()
    control.close()

    assert full > 4_900_000
    assert (tmp_path / "control.db").stat().st_size < 1_000_000


async def test_many_expired_answers_are_purged_in_turns(records: IdempotencyStore, clock: Clock) -> None:
    scopes = [SCOPE._replace(idempotency_key=f"key-number-{n:08}") for n in range(5_001)]
    await asyncio.gather(*(records.save(scope, *RECORD) for scope in scopes))
    clock.seconds += REPLAY_TTL_SECONDS

    assert (records.purge(), records.purge()) == (5_001, 0)


async def test_many_answers_at_once_are_all_kept(records: IdempotencyStore) -> None:
    scopes = [SCOPE._replace(idempotency_key=f"key-number-{n:08}") for n in range(200)]
    await asyncio.gather(*(records.save(scope, *RECORD) for scope in scopes))
    assert [await records.find(scope) for scope in scopes] == [RECORD] * 200


async def test_the_second_of_two_equal_calls_waits_for_the_first(records: IdempotencyStore) -> None:
    story: list[str] = []

    async def call(name: str) -> None:
        async with records.claim(SCOPE):
            story.append(f"{name} starts")
            if await records.find(SCOPE) is None:
                await records.save(SCOPE, *RECORD)
                story.append(f"{name} works")

    await asyncio.gather(call("first"), call("second"))
    assert story == ["first starts", "first works", "second starts"]


async def test_calls_with_other_keys_do_not_wait(records: IdempotencyStore) -> None:
    async with records.claim(SCOPE), records.claim(SCOPE._replace(account_id="nova")):
        pass


async def test_a_call_that_fails_frees_its_key(records: IdempotencyStore) -> None:
    async def failing() -> None:
        async with records.claim(SCOPE):
            raise RuntimeError("it failed")

    with pytest.raises(RuntimeError):
        await failing()
    async with records.claim(SCOPE):
        assert await records.find(SCOPE) is None


async def test_a_caller_that_goes_away_leaves_the_others_alone(records: IdempotencyStore) -> None:
    scopes = [SCOPE._replace(idempotency_key=f"key-number-{n:08}") for n in range(3)]
    calls = [asyncio.create_task(records.save(scope, *RECORD)) for scope in scopes]
    await asyncio.sleep(0)
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [calls[0].exception(), calls[1].cancelled(), calls[2].exception()] == [None, True, None]


async def test_a_store_that_refuses_fails_every_waiting_call_and_recovers(
    records: IdempotencyStore, control: ControlStore, control_url: str
) -> None:
    if control_url.startswith("postgresql"):
        pytest.skip("the switch is SQLite's; a PostgreSQL that goes away is in test_postgresql")
    scopes = [SCOPE._replace(idempotency_key=f"key-number-{n:08}") for n in range(3)]
    with control.connect() as connection:
        connection.execute(text("PRAGMA query_only=ON"))
    kept = await asyncio.gather(*(records.save(scope, *RECORD) for scope in scopes), return_exceptions=True)
    assert [type(failure) for failure in kept] == [StoreUnavailable] * 3
    with control.connect() as connection:
        connection.execute(text("PRAGMA query_only=OFF"))
    await records.save(scopes[0], *RECORD)
    assert await records.find(scopes[0]) == RECORD


async def test_a_kept_answer_survives_the_end_of_the_process(control_url: str, control: ControlStore) -> None:
    script = f"""
import asyncio, os, signal
from postback.store.idempotency import IdempotencyStore, IdempotencyScope
from postback.store.control_store import ControlStore
from postback.threads import ThreadPool

async def main():
    records = IdempotencyStore(ControlStore({control_url!r}), ThreadPool("ingestion", 2))
    await records.save(IdempotencyScope(*{tuple(SCOPE)!r}), *{tuple(RECORD)!r})
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    assert (await anyio.run_process([sys.executable, "-c", script], check=False)).returncode == -9
    assert await IdempotencyStore(control, ThreadPool("ingestion", 2)).find(SCOPE) == RECORD
