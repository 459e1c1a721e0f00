"""The operator looks at the ingest log."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from postback.cli import main
from postback.store.idempotency import IdempotencyScope, LoggedAnswer, StoredResponse
from postback.store.log_files import LogFiles
from postback.store.log_frames import pack
from postback.store.log_segments import LogSegments, read_segments
from postback.store.receipt_times import ReceiptTimes
from postback.store.rows import Rows


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder as a killed server leaves it: a call with a response, one with two rows, a torn one."""
    segments = LogSegments(LogFiles(tmp_path / "log"), ReceiptTimes())
    answer = LoggedAnswer(IdempotencyScope("key", "a", "k" * 16), StoredResponse("log_event", b"", b"{}"), 2**33)
    rows = [Rows("event", {"account_id": ["jane@example.com"] * 2, "place": [0, 1]})]
    segments.append([pack([], answer)])
    segments.append([pack([*rows, Rows("rejected_event", {"account_id": ["a"], "place": [2]})])])
    return tmp_path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_a_whole_log_is_verified(data: Path) -> None:
    assert run("log", "verify", "--data", data) == (
        0,
        "Whole: 2 calls with 3 rows in 1 files wait to be stored.\n",
    )


def test_a_damaged_log_is_named(data: Path) -> None:
    [file] = (data / "log").iterdir()
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    code, printed = run("log", "verify", "--data", data)
    assert code == 2
    assert printed.startswith(f"Error: The file log/{file.name} in the data folder is damaged: the frame at byte 0")


def test_the_calls_are_listed_without_what_is_in_them(data: Path) -> None:
    code, printed = run("log", "show", "--data", data)
    titles, first, second = [line.split() for line in printed.splitlines()]
    assert code == 0
    assert titles == ["SEQUENCE", "RECEIVED", "ROWS", "BYTES", "RESPONSE", "DELIVERIES", "FILE"]
    assert (first[0], first[2], first[4]) == ("1", "-", "yes")
    assert second[0] == "2"
    assert second[2:6] == ["event", "2,", "rejected_event", "1"]
    assert "jane" not in printed


def test_what_waits_for_a_shard_is_verified_and_listed_apart(data: Path) -> None:
    [file] = (data / "log").iterdir()
    [segment] = read_segments(LogFiles(data / "log"))
    backlog = data / "log" / "shard-2"
    backlog.mkdir()
    (backlog / file.name).write_bytes(file.read_bytes()[: segment.frames[-1].end])
    _, verified = run("log", "verify", "--data", data)
    _, shown = run("log", "show", "--data", data)

    assert verified.splitlines()[1:] == ["Whole: 2 calls have rows that wait for shard 2, in its backlog."]
    assert [line.split()[-1] for line in shown.splitlines()[3:]] == [f"shard-2/{file.name}"] * 2


def test_a_damaged_backlog_is_named(data: Path) -> None:
    [file] = (data / "log").iterdir()
    backlog = data / "log" / "shard-2"
    backlog.mkdir()
    (backlog / file.name).write_bytes(b"broken")
    code, printed = run("log", "verify", "--data", data)

    assert code == 2
    assert "is damaged" in printed


def test_looking_changes_nothing(data: Path) -> None:
    before = {file.name: file.read_bytes() for file in (data / "log").iterdir()}
    run("log", "verify", "--data", data)
    run("log", "show", "--data", data)
    assert {file.name: file.read_bytes() for file in (data / "log").iterdir()} == before


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    code, printed = run("log", "verify", "--data", tmp_path)
    assert code == 2
    assert "There is no log" in printed
