"""Backlogs: what a shard of several could not take waits for it apart, so that it holds nothing else up.

A backlog is a folder in that of the ingest log, ``shard-N``, with the segments that have rows for the shard: links to
their files, made durable before they leave the log. Their other rows are stored.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from postback.errors import StoreUnavailable
from postback.store.log_files import LogFiles
from postback.store.log_frames import Frame
from postback.store.log_segments import Segment, SegmentContent, frames_of, sealed_frames, segment_found
from postback.store.receipt_times import ReceiptTimes

__all__ = ["Backlog", "Backlogs", "read_backlogs"]

_FOLDER = re.compile(r"shard-(?P<number>\d+)")


class Backlog(NamedTuple):
    """What waits for a shard.

    Attributes:
        files: The folder.
        segments: The segments, in order.
    """

    files: LogFiles
    segments: deque[Segment]


class Backlogs:
    """The backlogs of every shard that has one. Synchronous and thread-safe.

    Args:
        files: The folder of the ingest log.
        times: Where it is noted that their rows are not stored.

    Attributes:
        rows: The rows that wait for any shard.
        bytes: The bytes of the files that have them.
    """

    def __init__(self, files: LogFiles, times: ReceiptTimes) -> None:
        self._files = files
        self._times = times
        self._backlogs: dict[int, Backlog] = {}
        self._owed: dict[int, frozenset[int]] = {}
        self._changing = threading.Lock()
        self.rows = 0
        self.bytes = 0

    def recover(self) -> None:
        """Take over what an earlier process left.

        Raises:
            StartupError: A file is damaged.
            OSError: A file can't be read.
        """
        flushed_again = set(self._files.names())
        for name in self._files.folders():
            named = _FOLDER.fullmatch(name)
            if named is None:
                continue
            number, files = int(named["number"]), self._files.folder(name)
            for segment_name in files.names():
                if segment_name in flushed_again:
                    files.remove(segment_name)
                    continue
                segment = segment_found(files, segment_name, self._times)
                self._owe(segment, self._owed.get(segment.announced, frozenset()) | {number})
                self._append(number, segment)

    def behind(self) -> list[int]:
        """The shards for which something waits, by number."""
        return sorted(number for number, backlog in list(self._backlogs.items()) if backlog.segments)

    def waiting(self) -> dict[int, int]:
        """The rows that wait for each shard that had a backlog since the server started, by its number."""
        return {number: sum(each.rows for each in self._segments(number)) for number in list(self._backlogs)}

    def oldest(self, shard: int) -> Segment | None:
        """The segment that comes next for a shard; None if nothing waits for it."""
        return next(iter(self._segments(shard)), None)

    def read(self, shard: int, segment: Segment) -> list[Frame]:
        """The frames of a segment that waits for a shard.

        Raises:
            StoreUnavailable: They can't be read, or are damaged.
        """
        return frames_of(self._backlog(shard).files, segment)

    def add(self, segment: Segment, rows: dict[int, int]) -> None:
        """Have a segment of the log wait for shards: by number, how many rows it has for each.

        Raises:
            StoreUnavailable: The log can't be written.
        """
        with self._changing:
            rows = {number: count for number, count in rows.items() if not self._has(number, segment)}
            try:
                for number in rows:
                    self._files.link(segment.name, self._backlog(number).files)
            except OSError as error:
                raise StoreUnavailable("The ingest log can't be written.", retry_after=1) from error
            self._owe(segment, self._owed.get(segment.announced, frozenset()) | frozenset(rows))
            for number, count in rows.items():
                self._append(number, Segment(segment.name, segment.announced, segment.size, count, segment.last))

    def remove(self, shard: int, segment: Segment) -> None:
        """Note that a shard has the oldest segment that waited for it.

        Raises:
            StoreUnavailable: The log can't be written.
        """
        backlog = self._backlog(shard)
        try:
            backlog.files.remove(segment.name)
        except OSError as error:
            raise StoreUnavailable("The ingest log can't be written.", retry_after=1) from error
        with self._changing:
            stored = backlog.segments.popleft()
            self.rows, self.bytes = self.rows - stored.rows, self.bytes - stored.size
            self._owe(segment, self._owed[segment.announced] - {shard})

    def _owe(self, segment: Segment, shards: frozenset[int]) -> None:
        """Note which shards have yet to get rows of a segment."""
        if shards:
            self._owed[segment.announced] = shards
            self._times.narrow(segment.announced, shards)
        else:
            del self._owed[segment.announced]
            self._times.settle(segment.announced)

    def _append(self, number: int, segment: Segment) -> None:
        self._backlog(number).segments.append(segment)
        self.rows, self.bytes = self.rows + segment.rows, self.bytes + segment.size

    def _has(self, number: int, segment: Segment) -> bool:
        return any(waiting.name == segment.name for waiting in self._segments(number))

    def _segments(self, number: int) -> Iterable[Segment]:
        backlog = self._backlogs.get(number)
        return list(backlog.segments) if backlog else ()

    def _backlog(self, number: int) -> Backlog:
        if number not in self._backlogs:
            self._backlogs[number] = Backlog(self._files.folder(f"shard-{number}"), deque())
        return self._backlogs[number]


def read_backlogs(files: LogFiles) -> Iterator[tuple[int, SegmentContent]]:
    """What waits for shards in the folder of an ingest log: the shard's number, and a segment with rows for it.

    Those that a running server removes meanwhile are left out.

    Raises:
        StartupError: A file is damaged.
        OSError: A file can't be read.
    """
    for folder in files.folders():
        named = _FOLDER.fullmatch(folder)
        if named is None:
            continue
        backlog = files.folder(folder)
        for name in backlog.names():
            try:
                frames = sealed_frames(backlog, name)
            except FileNotFoundError:
                continue
            yield int(named["number"]), SegmentContent(name, frames, 0)
