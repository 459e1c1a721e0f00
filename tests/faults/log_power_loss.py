"""Power loss at any call of the ingest log's files: nothing acknowledged is lost, nothing refused comes back.

``python -m tests.faults.log_power_loss --tries 100000`` runs one try for each number and prints the number of each that
fails, so that it can be repeated alone, with --try. The tries are counted in a file, so that a later run goes on.
"""

from __future__ import annotations

import itertools
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries, read_tries

from postback.errors import StoreUnavailable
from postback.store.log_files import LogFiles
from postback.store.log_frames import pack
from postback.store.log_segments import LogSegments
from postback.store.receipt_times import ReceiptTimes
from postback.store.rows import Rows

_SECTOR = 512
_STORY_CALLS = 40
_COUNTED_TOGETHER = 1_000

COUNTED = "tests/faults/counted/log_power_loss.jsonl"


class PowerLoss(Exception):
    """The power fails during a call."""


@dataclass
class _File:
    """A file: what a reader sees, what was durable at the last sync, and the sectors that were written since."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    written: set[int] = field(default_factory=set)


class LosingFiles(LogFiles):
    """Files on a disk that loses, tears at 512 bytes and reorders what was not synced; and whose calls may fail.

    Args:
        chance: What decides.
        calls_left: How many calls succeed before the power fails.
        failing: How likely it is that a call fails with an OSError, having done a part of its work.
    """

    def __init__(self, chance: random.Random, calls_left: int, failing: float) -> None:
        self._chance = chance
        self._calls_left = calls_left
        self._failing = failing
        self._files: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._numbers = iter(range(1_000_000))
        self.interrupted = ""

    def boot(self) -> None:
        """Start again after the power failed: of what was not synced, any part may be there."""
        self._calls_left, self._failing = sys.maxsize, 0.0
        self._open.clear()
        for file in self._files.values():
            file.content = file.durable = self._left(file)
            file.written = set()

    def _left(self, file: _File) -> bytearray:
        size = len(self._chance.choice((file.durable, file.content)))
        left = file.durable[:size] + bytes(max(0, size - len(file.durable)))
        for sector in file.written:
            if self._chance.random() < 0.5:
                start = sector * _SECTOR
                left[start : min(start + _SECTOR, size)] = file.content[start : start + _SECTOR][: max(0, size - start)]
        return left[:size]

    def _called(self, name: str) -> None:
        self._calls_left -= 1
        if self._calls_left < 0:
            self.interrupted = name
            raise PowerLoss
        if self._chance.random() < self._failing:
            raise OSError(5, "Input/output error")

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        self._called("read")
        if name not in self._files:
            raise FileNotFoundError(2, "No such file or directory")
        return bytes(self._files[name].content)

    def create(self, name: str) -> int:
        self._called("create")
        self._files[name] = _File()
        return self.open(name)

    def open(self, name: str) -> int:
        number = next(self._numbers)
        self._open[number] = self._files[name]
        return number

    def reserve(self, file: int, start: int, size: int) -> None:
        self._called("reserve")
        self._extend(self._open[file], start + size)

    def write(self, file: int, start: int, data: bytes) -> None:
        try:
            self._called("write")
        except (OSError, PowerLoss):
            self._write(self._open[file], start, data[: self._chance.randint(0, len(data))])
            raise
        self._write(self._open[file], start, data)

    def _write(self, file: _File, start: int, data: bytes) -> None:
        self._extend(file, start + len(data))
        file.content[start : start + len(data)] = data
        file.written.update(range(start // _SECTOR, (start + len(data) + _SECTOR - 1) // _SECTOR))

    def _extend(self, file: _File, size: int) -> None:
        file.content += bytes(max(0, size - len(file.content)))

    def cut(self, file: int, size: int) -> None:
        self._called("cut")
        del self._open[file].content[size:]

    def sync(self, file: int) -> None:
        self._called("sync")
        synced = self._open[file]
        synced.durable = bytearray(synced.content)
        synced.written = set()

    def close(self, file: int) -> None:
        self._called("close")
        del self._open[file]

    def remove(self, name: str) -> None:
        try:
            self._called("remove")
        except (OSError, PowerLoss):
            if self._chance.random() < 0.5:
                self._files.pop(name, None)
            raise
        self._files.pop(name, None)


@dataclass
class Story:
    """What happened to the calls of a try, by their numbers.

    Attributes:
        acknowledged: Those that were made durable.
        refused: Those that failed.
        unanswered: Those that were under way when the power failed.
        flushed: Those whose segment was removed, or may have been: the power failed meanwhile.
    """

    acknowledged: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    unanswered: set[int] = field(default_factory=set)
    flushed: set[int] = field(default_factory=set)


def run_try(seed: int) -> str:
    """One try. Returns what the power loss interrupted, or nothing if the story ended before.

    Raises:
        AssertionError: Something was lost, or came back.
    """
    chance = random.Random(seed)
    files = LosingFiles(chance, chance.randint(1, 150), chance.choice((0.0, 0.0, 0.05)))
    story = Story()
    times = ReceiptTimes()
    failing = files._failing > 0  # noqa: SLF001
    with suppress(PowerLoss):
        _live(LogSegments(files, times), chance, story)
    files.boot()
    _check(files, times, story, chance, failing=failing)
    return files.interrupted


def _live(segments: LogSegments, chance: random.Random, story: Story) -> None:
    """Append calls, alone and together; seal and flush now and then."""
    numbers = iter(range(_STORY_CALLS))
    for number in numbers:
        group = [number, *(more for _, more in zip(range(chance.choice((0, 0, 2))), numbers, strict=False))]
        story.unanswered = set(group)
        try:
            segments.append([pack(_rows(call, chance.randint(0, 3000))) for call in group])
            story.acknowledged |= story.unanswered
        except StoreUnavailable:
            story.refused |= story.unanswered
        story.unanswered = set()
        if chance.random() < 0.2:
            _try(segments.seal)
        if chance.random() < 0.2 and segments.sealed:
            _flush(segments, story)


def _try(work: Callable[[], None]) -> None:
    with suppress(OSError):
        work()


def _flush(segments: LogSegments, story: Story) -> None:
    try:
        frames = segments.frames(segments.sealed[0])
    except StoreUnavailable:  # it can't be read, or is gone although its removal failed
        return
    story.flushed.update(call for frame in frames for call in _calls(frame.body().rows))
    _try(segments.remove_oldest)


def _calls(rows: list[Rows]) -> list[int]:
    return [int(event_id) for part in rows for event_id in part.columns["event_id"]]


def _rows(call: int, size: int) -> list[Rows]:
    return [
        Rows("rejected_event", {"account_id": ["a"], "event_id": [str(call)], "place": [0], "message": ["x" * size]})
    ]


def _check(files: LosingFiles, before: ReceiptTimes, story: Story, chance: random.Random, *, failing: bool) -> None:
    times = ReceiptTimes()
    segments = LogSegments(files, times)
    segments.recover()
    found: Counter[int] = Counter()
    received: list[int] = []
    for segment in segments.sealed:
        for frame in segments.frames(segment):
            found.update(_calls(frame.body().rows))
            received.append(frame.received_at)
    assert max(found.values(), default=1) == 1, "a call is there twice"
    assert found.keys() >= story.acknowledged - story.flushed, "an acknowledged call is lost"
    # When a disk fails and the power right after it, what could not be cut off any more may be there.
    assert failing or not found.keys() & story.refused, "a refused call came back"
    assert received == sorted(set(received)), "receipt times are not in the order of the log"
    assert not received or times.stored_through() < received[0], "a receipt time was promised before its row was stored"
    assert times.take(1) > max(received, default=0), "a receipt time is issued again"
    segments.append([pack(_rows(_STORY_CALLS, 10))])
    segments.seal()
    again = LogSegments(files, ReceiptTimes())
    again.recover()
    [*_, newest] = again.sealed
    assert _calls(again.frames(newest)[-1].body().rows) == [_STORY_CALLS]


def _run_tries(first: int) -> dict[str, Any]:
    """Run the tries of a thousand numbers; what was interrupted, and the numbers of those that failed."""
    interrupted: Counter[str] = Counter()
    failed: dict[int, str] = {}
    for seed in range(first, first + _COUNTED_TOGETHER):
        try:
            interrupted[run_try(seed) or "nothing"] += 1
        except Exception as error:  # any failure is told, and the tries go on
            failed[seed] = f"{type(error).__name__}: {error}"
    return {"tries": _COUNTED_TOGETHER, "interrupted": interrupted, "failed": failed}


def table(pieces: Sequence[dict[str, Any]]) -> str:
    """What came of the tries, as a table of Markdown."""
    interrupted: Counter[str] = Counter()
    for piece in pieces:
        interrupted.update(piece["interrupted"])
    rows = [(what.strip("_"), number) for what, number in sorted(interrupted.items())]
    total = [("All", sum(map(_tries, pieces))), ("With a call lost, or there twice", len(_failed(pieces)))]
    return markdown_table(("The power failed during", "Tries"), [*rows, *total])


def _failed(pieces: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {seed: why for piece in pieces for seed, why in piece["failed"].items()}


def _tries(piece: dict[str, Any]) -> int:
    number: int = piece["tries"]
    return number


def main() -> None:
    """Run the tries, and print what came of all of them."""
    parser = options_of_tries(__doc__, COUNTED, tries=100_000)
    parser.add_argument("--try", type=int, dest="seed", help="run the try of this number alone")
    options = parser.parse_args()
    logging.disable()  # of the calls that fail on purpose
    if options.seed is not None:
        run_try(options.seed)
        return
    starts = itertools.count(sum(map(_tries, read_tries(options.counted))), _COUNTED_TOGETHER)
    wanted = 0 if options.table else options.tries
    pieces = counted_tries(wanted, options.counted, lambda: _run_tries(next(starts)), _tries)
    sys.stdout.write(table(pieces) + "\n")
    sys.stdout.writelines(f"--try {seed}: {why}\n" for seed, why in _failed(pieces).items())
    sys.exit(bool(_failed(pieces)))


if __name__ == "__main__":
    main()
