"""A flush that is cut short anywhere and repeated, by the same process or by the next, stores everything once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select as rows_of
from tests.conftest import events_of
from tests.engine import select
from tests.faults.store_child import batch

from postback.accounts.store import AccountStore
from postback.errors import StoreUnavailable
from postback.forwarding.outbox import Outbox
from postback.store import flusher as flusher_module
from postback.store.account_moves import COPYING, SWITCHING, begun
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.flusher import Flusher, drain
from postback.store.idempotency import IdempotencyScope, LoggedAnswer, StoredResponse
from postback.store.installation import open_control_store, open_event_store
from postback.store.log_files import LogFiles
from postback.store.log_frames import pack
from postback.store.log_segments import LogSegments
from postback.store.placements import add_shard
from postback.store.rows import Rows
from postback.store.shards import Shards
from postback.store.tables import forward, idempotency


class Stores(NamedTuple):
    """The stores of a data folder, and its log."""

    folder: DataDir
    events: EventStore
    control: ControlStore
    segments: LogSegments

    def flusher(self) -> Flusher:
        return Flusher(self.segments, Shards.alone(self.events), self.control, self.folder.quarantine)

    def counts(self) -> tuple[int, ...]:
        """Rows of events, those of them that were counted, rejections, those that were counted, answers, deliveries."""
        query = """
            SELECT (SELECT count() FROM event FINAL), (SELECT sum(accepted) FROM source_activity),
                (SELECT count() FROM rejected_event FINAL), (SELECT sum(rejected) FROM source_activity)"""
        [counts] = select(self.events, query)
        with self.control.connect() as connection:
            answers = connection.execute(rows_of(idempotency).where(idempotency.c.key_id == "key")).all()
            return (*counts, len(answers), len(connection.execute(rows_of(forward)).all()))


ONCE = (30, 30, 3, 3, 3, 3)


@contextmanager
def opened(path: Path) -> Iterator[Stores]:
    with ExitStack() as stack:
        folder = stack.enter_context(closing(DataDir.open(path)))
        control = stack.enter_context(closing(open_control_store(folder, None, events_of(path))))
        events = stack.enter_context(closing(open_event_store(folder, control, events_of(path), sandbox=False)))
        segments = LogSegments(folder.log, events.receipt_times)
        segments.recover()
        yield Stores(folder, events, control, segments)


def on_shards(stores: Stores) -> Flusher:
    """A flusher that goes by where accounts are placed, in a process that has just started."""
    shards = Shards(stores.events.receipt_times, stores.control, lambda _: stores.events)
    shards.refresh(starting=True)
    flusher = Flusher(stores.segments, shards, stores.control, stores.folder.quarantine)
    flusher.recover()
    return flusher


def call(number: int) -> Any:
    """Ten events, a rejection, a response and a delivery."""
    [events] = batch(number, 10)
    columns = {name: values for name, values in events.columns.items() if name != "received_at"}
    texts = dict.fromkeys(("field", "message", "test_event_code"), "") | {"reason": "INVALID_REQUEST"}
    texts |= {"account_id": "default", "event_source_id": "website", "event_type": "purchase"}
    rejected: dict[str, Any] = {name: [text] for name, text in texts.items()}
    scope = IdempotencyScope("key", "default", f"call-{number}")
    delivery = {
        "delivery_id": f"delivery-{number}",
        "destination": "crm",
        "account_id": "default",
        "event_source_id": "website",
        "key_id": "key",
        "events": 10,
        "encrypted": b"x",
        "attempts": 0,
        "error": None,
        "dead": False,
        "created_at": 1,
        "next_attempt_at": 1,
    }
    rows = [
        Rows("event", columns | {"place": range(10)}),
        Rows("rejected_event", rejected | {"event_id": [f"broken-{number}"], "place": [10]}),
    ]
    return pack(rows, LoggedAnswer(scope, StoredResponse("log_event", b"f", b"{}"), 2**33), [delivery])


def fails(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int) -> None:
    """The call after so many of a method or function fails."""
    work, calls = getattr(owner, name), iter(range(1_000))

    def failing(*args: Any) -> Any:
        if next(calls) == after:
            raise StoreUnavailable("It failed.")
        return work(*args)

    monkeypatch.setattr(owner, name, failing)


CUTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the first table": lambda patch: fails(patch, EventStore, "insert_block", 0),
    "between tables": lambda patch: fails(patch, EventStore, "insert_block", 1),
    "before the responses": lambda patch: fails(patch, flusher_module, "insert_answers", 0),
    "between responses and deliveries": lambda patch: fails(patch, flusher_module, "insert_deliveries", 0),
    "before the segment is removed": lambda patch: fails(patch, LogSegments, "remove_oldest", 0),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("restart", [False, True])
def test_a_flush_that_is_cut_short_is_repeated_to_the_same_end(
    tmp_path: Path, cut: str, restart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        with monkeypatch.context() as patch:
            CUTS[cut](patch)
            flusher = stores.flusher()
            with pytest.raises(StoreUnavailable):
                flusher.flush_oldest()
        assert stores.counts() != ONCE or cut == "before the segment is removed"
        with pytest.raises(StoreUnavailable), flusher.between_flushes():
            pytest.fail("a backup would have a part of the segment")
        if not restart:
            assert flusher.flush_oldest()
            with flusher.between_flushes():
                assert stores.counts() == ONCE
    with opened(tmp_path) as stores:
        drain(stores.folder, Shards.alone(stores.events), stores.control)
        assert stores.counts() == ONCE
        assert stores.folder.log.names() == []


@pytest.mark.parametrize("table", ["event", "rejected_event", "source_activity"])
def test_an_insert_that_the_engine_had_noted_but_not_finished_when_it_was_killed_is_repeated(
    tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It notes an insert's token before it renames the part into its place."""
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        with monkeypatch.context() as patch:
            fails(patch, flusher_module, "insert_answers", 0)
            with pytest.raises(StoreUnavailable):
                stores.flusher().flush_oldest()
        if not stores.events.engine.embedded:
            pytest.skip("a test does not reach into the folder of a ClickHouse server")
    parts = sorted((tmp_path / "events" / "data" / "default" / table).resolve().glob("all_*"))
    assert parts
    for part in parts:
        shutil.rmtree(part)
    with opened(tmp_path) as stores:
        assert stores.counts()[:4] != ONCE[:4]
        drain(stores.folder, Shards.alone(stores.events), stores.control)
        assert stores.counts() == ONCE


def test_a_segment_that_comes_back_is_not_stored_again(tmp_path: Path) -> None:
    """As if its removal had not reached the disk when the power failed."""
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        [name] = stores.folder.log.names()
        kept = stores.folder.log.read(name)
        assert stores.flusher().flush_oldest()
        assert stores.counts() == ONCE
    (tmp_path / "log" / name).write_bytes(kept)
    with opened(tmp_path) as stores:
        assert [segment.rows for segment in stores.segments.sealed] == [33]
        assert stores.flusher().flush_oldest()
        assert stores.counts() == ONCE


def test_a_delivery_that_arrived_before_its_flush_is_repeated_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        with monkeypatch.context() as patch:
            fails(patch, LogSegments, "remove_oldest", 0)
            with pytest.raises(StoreUnavailable):
                stores.flusher().flush_oldest()
        outbox = Outbox(stores.control)
        outbox.delivered(outbox.listed())
        drain(stores.folder, Shards.alone(stores.events), stores.control)
        assert stores.counts() == (*ONCE[:-1], 0)


def test_sums_that_an_insert_could_not_add_any_more_are_added_when_it_is_repeated(tmp_path: Path) -> None:
    """The engine writes the rows first and the sums that are derived from them second."""
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        stores.events.deriver.command("DETACH TABLE source_activity_of_event")
        with pytest.MonkeyPatch.context() as patch:
            fails(patch, EventStore, "insert_block", 1)
            with pytest.raises(StoreUnavailable):
                stores.flusher().flush_oldest()
        assert stores.counts()[:2] == (30, 0)
        stores.events.deriver.command("ATTACH TABLE source_activity_of_event")
        assert stores.flusher().flush_oldest()
        assert stores.counts() == ONCE


def test_the_removal_that_failed_although_the_file_is_gone_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as stores:
        stores.segments.append([call(number) for number in range(3)])
        stores.segments.seal()
        flusher, remove = stores.flusher(), LogFiles.remove

        def removing(files: LogFiles, name: str) -> None:
            remove(files, name)
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(LogFiles, "remove", removing)
            with pytest.raises(StoreUnavailable):
                flusher.flush_oldest()
        assert flusher.flush_oldest()
        assert stores.counts() == ONCE


def test_nothing_is_inserted_into_one_of_several_shards_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as stores:
        AccountStore(stores.control).create("default")
        add_shard(stores.control, "clickhouse://elsewhere/postback")
        stores.segments.append([call(0), call(1), call(2)])
        stores.segments.seal()
        flusher = on_shards(stores)
        with monkeypatch.context() as still:
            still.setattr(EventStore, "ping", lambda _: False)
            still.setattr(EventStore, "insert_block", lambda *_: 1 / 0)
            assert flusher.flush_oldest()
        assert flusher.backlogs.behind() == [1]
        flusher.flush_backlogs()
        assert stores.counts() == ONCE


def test_nothing_is_stored_while_an_account_is_switched_and_it_waits_for_what_may_be_stored_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as stores, monkeypatch.context() as failing:
        AccountStore(stores.control).create("default")
        stores.segments.append([call(0)])
        stores.segments.seal()
        fails(failing, EventStore, "insert_block", 1)
        with pytest.raises(StoreUnavailable):
            on_shards(stores).flush_oldest()
        with stores.control.begin() as connection:
            move = begun(connection, stores.control, "default", 1, 2)
            move = move.advanced(connection, SWITCHING, 1, 2)

    with opened(tmp_path) as stores:
        flusher = on_shards(stores)
        assert flusher.follow_placements(0) == 0  # the process before stored a part of the segment
        assert flusher.flush_oldest()
        assert flusher.follow_placements(0) == move.version
        stores.segments.append([call(1), call(2)])
        stores.segments.seal()
        assert flusher.flush_oldest() is None

    with opened(tmp_path) as stores:
        flusher = on_shards(stores)
        assert flusher.follow_placements(move.version) == move.version  # as the process before had noted
        assert flusher.flush_oldest() is None
        with stores.control.begin() as connection:
            move.advanced(connection, COPYING, 1, 2)
        assert flusher.follow_placements(move.version) == move.version + 1
        assert flusher.flush_oldest()
        assert stores.counts() == ONCE
