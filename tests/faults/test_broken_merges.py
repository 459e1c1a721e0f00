"""A merge leaves a part that can't be read: what it replaced comes back, and nothing that was acknowledged is lost."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engine import select
from tests.faults.store_child import BATCH, batch, found

from postback.metrics import Metrics
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.merge_guard import MergeGuard

_BATCHES = 5
_PLENTY = 2**40


class Room:
    """What a disk has left."""

    def __init__(self) -> None:
        self.bytes = _PLENTY

    def __call__(self) -> int:
        return self.bytes


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    folder = DataDir.open(tmp_path)
    store = EventStore.open(folder.events_dsn, folder.scratch)
    yield store
    store.close()
    folder.close()


@pytest.fixture
def guard(store: EventStore, tmp_path: Path, metrics: Metrics, room: Room) -> Iterator[MergeGuard]:
    guard = MergeGuard(store, tmp_path, metrics, room)
    yield guard
    guard.close()


def merged(store: EventStore) -> Path:
    """Store events, have their parts merged, and return the folder of the one that they became."""
    for number in range(_BATCHES):
        store.insert(batch(number))
    store.deriver.command("OPTIMIZE TABLE event FINAL")
    [(path,)] = select(store, "SELECT path FROM system.parts WHERE table = 'event' AND active")
    return Path(path)


def cut(part: Path) -> None:
    os.truncate(part / "data.bin", (part / "data.bin").stat().st_size // 2)


def blank(part: Path) -> None:
    """The file has its size, but a block of it was never written."""
    with (part / "data.bin").open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))


def remove(part: Path) -> None:
    (part / "data.bin").unlink()


def told(metrics: Metrics, outcome: str) -> bool:
    return f'postback_broken_merges_total{{outcome="{outcome}"}} 1.0' in metrics.render().decode()


@pytest.mark.parametrize("damage", [cut, blank, remove])
def test_what_a_broken_part_replaced_comes_back(
    store: EventStore, guard: MergeGuard, metrics: Metrics, damage: Callable[[Path], None]
) -> None:
    part = merged(store)
    damage(part)

    guard.check()

    assert found(store) == {str(number): BATCH for number in range(_BATCHES)}
    assert select(store, "SELECT sum(accepted) FROM source_activity") == [(_BATCHES * BATCH,)]
    assert told(metrics, "restored")
    assert guard.broken == 1
    assert not any((part.parent / "detached").iterdir())


def test_the_store_takes_events_after_a_part_was_restored(store: EventStore, guard: MergeGuard) -> None:
    cut(merged(store))
    guard.check()

    store.insert(batch(_BATCHES))
    store.deriver.command("OPTIMIZE TABLE event FINAL")
    guard.check()

    assert len(found(store)) == _BATCHES + 1


def test_a_good_part_stays(store: EventStore, guard: MergeGuard, metrics: Metrics) -> None:
    part = merged(store)
    guard.check()
    assert part.exists()
    assert "postback_broken_merges_total{" not in metrics.render().decode()


def test_a_broken_part_whose_sources_are_gone_is_left_and_reported(
    store: EventStore, guard: MergeGuard, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    store.deriver.command("ALTER TABLE event MODIFY SETTING old_parts_lifetime = 0")
    part = merged(store)
    store.deriver.command("DETACH TABLE event")
    for replaced in part.parent.glob("all_*_0"):
        shutil.rmtree(replaced)
    store.deriver.command("ATTACH TABLE event")
    cut(part)

    with caplog.at_level(logging.CRITICAL):
        guard.check()

    assert told(metrics, "lost")
    assert "Restore a backup" in caplog.text


def test_nothing_is_merged_while_the_disk_is_nearly_full(store: EventStore, guard: MergeGuard, room: Room) -> None:
    room.bytes = 0
    guard.check()
    with pytest.raises(Exception, match="ABORTED"):
        merged(store)

    room.bytes = _PLENTY
    guard.check()

    assert merged(store).exists()
