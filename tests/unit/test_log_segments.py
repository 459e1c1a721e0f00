"""The segments of the ingest log on a real disk: what a start finds, and what stops it."""

from __future__ import annotations

import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.clocks import Hands

from postback.errors import InternalError, StartupError
from postback.store.idempotency import IdempotencyScope, LoggedAnswer, StoredResponse
from postback.store.log_files import LogFiles
from postback.store.log_frames import framed, pack, read_frames
from postback.store.log_segments import LogSegments
from postback.store.receipt_times import ReceiptTimes
from postback.store.rows import COLUMNS, Rows, Table, arrow_stream

ANSWER = LoggedAnswer(IdempotencyScope("key", "default", "k" * 16), StoredResponse("log_event", b"f", b"{}"), 99)


def rows(event_id: str, count: int = 1) -> list[Rows]:
    return [
        Rows("rejected_event", {"account_id": ["a"] * count, "event_id": [event_id] * count, "place": range(count)})
    ]


def logged(folder: Path, *groups: list[str]) -> LogSegments:
    """A log that has one group of calls a write and one segment of them all, not sealed: as a killed process leaves."""
    segments = LogSegments(LogFiles(folder), ReceiptTimes())
    segments.recover()
    for group in groups:
        segments.append([pack(rows(event_id)) for event_id in group])
    return segments


def found(folder: Path) -> list[str]:
    segments = LogSegments(LogFiles(folder), ReceiptTimes())
    segments.recover()
    frames = [frame for segment in segments.sealed for frame in segments.frames(segment)]
    return [event_id for frame in frames for part in frame.body().rows for event_id in part.columns["event_id"]]


def the_file(folder: Path) -> Path:
    [file] = folder.iterdir()
    return file


def changed(file: Path, place: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([byte ^ 1]))


def test_rows_come_back_as_they_were_with_their_receipt_times() -> None:
    few = Rows("exposure", {"account_id": ("a", "b"), "cost": [Decimal("0.004500001"), None], "place": range(2)})
    many = Rows("event", {"account_id": ["a"] * 100, "place": range(100), "duplicate": np.zeros(100, np.uint8)})
    [frame] = read_frames(framed(pack([few, many], ANSWER, [{"encrypted": b"x"}]), 7, 6, 1_000))
    few_again, many_again = frame.body().rows
    assert (frame.sequence, frame.durable, frame.summary.answer) == (7, 6, ANSWER)
    assert frame.summary.rows == {"exposure": 2, "event": 100}
    assert few_again.columns["cost"] == [Decimal("0.004500001"), None]
    assert few_again.columns["received_at"] == [1_000, 1_001]
    assert pa.array(many_again.columns["received_at"]).to_pylist() == list(range(1_000, 1_100))
    assert frame.body().deliveries == [{"encrypted": b"x"}]


@pytest.mark.parametrize("count", [2, 100])
def test_rows_of_one_of_several_servers_come_back_with_its_receipt_times(tmp_path: Path, count: int) -> None:
    times = ReceiptTimes()
    times.share(5, 16, after=0)
    segments = LogSegments(LogFiles(tmp_path), times)
    segments.append([pack([Rows("event", {"account_id": ["a"] * count, "place": range(count)})], step=segments.step)])
    again = ReceiptTimes()
    again.share(5, 16, after=0)
    recovered = LogSegments(LogFiles(tmp_path), again)
    recovered.recover()

    [frame] = recovered.frames(recovered.sealed[0])
    received = pa.array(frame.body().rows[0].columns["received_at"]).to_pylist()
    assert [time % 16 for time in received] == [5] * count
    assert received == list(range(received[0], received[0] + 16 * count, 16))
    assert again.stored_through() < received[0] <= received[-1] < again.take(1)


@pytest.mark.parametrize("table", COLUMNS)
@pytest.mark.parametrize("count", [1, 100])
def test_every_table_gets_what_it_would_get_without_the_log(table: Table, count: int) -> None:
    values = {
        pa.string(): "x",
        pa.binary(): b"{}",
        pa.timestamp("us", tz="UTC"): 1_700_000_000_000_000,
        pa.timestamp("s", tz="UTC"): 1_700_000_000,
        pa.list_(pa.string()): ["A", "B"],
        pa.list_(pa.binary(16)): b"k" * 32,
        pa.float32(): 0.5,
        pa.uint64(): 7,
        pa.uint8(): 1,
        pa.decimal128(38, 9): Decimal("1.000000001"),
    }
    columns: dict[str, Any] = {
        name: [values[kind]] * count for name, kind in COLUMNS[table].items() if name not in {"copy", "received_at"}
    }
    rows = Rows(table, columns | {"place": range(count)})
    [frame] = read_frames(framed(pack([rows]), 1, 0, 1_000))
    assert arrow_stream(table, frame.body().rows) == arrow_stream(table, [rows.received(1_000)])


def test_a_value_that_no_frame_takes_is_refused_without_being_quoted() -> None:
    with pytest.raises(InternalError) as refused:
        pack([Rows("event", {"account_id": ["jane@example.com\ud800"], "place": [0]})])
    assert "jane" not in str(refused.value)


def test_only_the_owner_reads_the_log(tmp_path: Path) -> None:
    logged(tmp_path / "log", ["a"])
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700
    assert stat.S_IMODE(the_file(tmp_path / "log").stat().st_mode) == 0o600


def test_a_start_finds_what_a_killed_process_had_acknowledged(tmp_path: Path) -> None:
    logged(tmp_path, ["a"], ["b", "c"])
    assert found(tmp_path) == ["a", "b", "c"]
    assert found(tmp_path) == ["a", "b", "c"]
    logged(tmp_path, ["d"])
    assert found(tmp_path) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("left", [1, 7, 40, 60])
def test_a_torn_last_frame_is_cut_off(tmp_path: Path, left: int) -> None:
    segments = logged(tmp_path, ["a"])
    [size] = [frame.end for frame in read_frames(the_file(tmp_path).read_bytes())]
    segments.append([pack(rows("torn"))])
    os.truncate(the_file(tmp_path), size + left)
    assert found(tmp_path) == ["a"]
    assert the_file(tmp_path).stat().st_size == size


def test_a_torn_first_frame_leaves_nothing(tmp_path: Path) -> None:
    logged(tmp_path, ["torn"])
    os.truncate(the_file(tmp_path), 20)
    assert found(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_of_several_calls_in_a_torn_write_the_first_may_be_lost(tmp_path: Path) -> None:
    logged(tmp_path, ["a", "b"])
    changed(the_file(tmp_path), 50)
    assert found(tmp_path) == []


def test_damage_before_a_frame_that_was_acknowledged_later_stops_the_start(tmp_path: Path) -> None:
    logged(tmp_path, ["a"], ["b"], ["c"])
    ends = [frame.end for frame in read_frames(the_file(tmp_path).read_bytes())]
    changed(the_file(tmp_path), ends[0] + 50)
    with pytest.raises(StartupError, match=rf"log/{the_file(tmp_path).name} .*the frame at byte {ends[0]} is damaged"):
        found(tmp_path)


def test_damage_in_a_sealed_segment_stops_the_start(tmp_path: Path) -> None:
    segments = logged(tmp_path, ["a"])
    segments.seal()
    segments.append([pack(rows("b"))])
    first = min(tmp_path.iterdir())
    changed(first, first.stat().st_size - 1)
    with pytest.raises(StartupError, match=rf"log/{first.name} .*the frame at byte 0 is damaged"):
        found(tmp_path)


def test_a_segment_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    segments = logged(tmp_path, ["a"])
    for event_id in ("b", "c"):
        segments.seal()
        segments.append([pack(rows(event_id))])
    sorted(tmp_path.iterdir())[1].unlink()
    with pytest.raises(StartupError, match="frame 2 is missing"):
        found(tmp_path)


def test_a_file_that_is_none_of_the_log_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StartupError, match=r"log/notes\.txt .*Move it elsewhere"):
        found(tmp_path)


def test_large_segments_are_sealed_and_followed_by_others(tmp_path: Path) -> None:
    segments = logged(tmp_path)
    for number in range(4):
        segments.append([pack(rows(str(number), 60_000))])
    assert [segment.rows for segment in segments.sealed] == [120_000]
    assert segments.unsealed


def test_receipt_times_go_on_behind_the_log_when_the_clock_was_set_back(tmp_path: Path) -> None:
    logged(tmp_path, ["a"])
    [frame] = read_frames(the_file(tmp_path).read_bytes())
    times = ReceiptTimes(clock=Hands(0).clock)
    segments = LogSegments(LogFiles(tmp_path), times)
    segments.recover()
    assert times.stored_through() < frame.received_at < times.take(1)
    segments.remove_oldest()
    assert times.stored_through() > frame.received_at


def test_calls_without_rows_hold_no_receipt_time_up(tmp_path: Path) -> None:
    segments = logged(tmp_path)
    for _ in range(3):
        segments.append([pack([], ANSWER)])
        segments.seal()
    times = ReceiptTimes(clock=Hands(0).clock)
    again = LogSegments(LogFiles(tmp_path), times)
    assert again.recover() == [ANSWER] * 3
    for _ in range(3):
        again.remove_oldest()
    assert times.stored_through() == times.take(1) - 1


def test_a_flushed_segment_leaves_no_bytes(tmp_path: Path) -> None:
    segments = logged(tmp_path, ["a"])
    segments.seal()
    segments.remove_oldest()
    assert list(tmp_path.iterdir()) == []
    segments.append([pack(rows("b"))])
    assert found(tmp_path) == ["b"]
