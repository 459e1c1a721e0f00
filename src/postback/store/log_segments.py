"""The segments of the ingest log: files of frames, one being written and the others waiting to be flushed.

A segment that is sealed never changes again. It is what a flush moves into the stores as a whole, under its name, so
that a flush that is repeated changes nothing. Only the last segment may be unsealed, for the next one is opened when
it is sealed. So a start knows what a frame that is not whole means: in the last segment, with nothing durable behind
it, a call that was never acknowledged, and everywhere else damage.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from postback.errors import StartupError, StoreUnavailable
from postback.store.idempotency import LoggedAnswer
from postback.store.log_files import LogFiles
from postback.store.log_frames import Frame, PackedCall, framed, read_frames, valid_after
from postback.store.receipt_times import ReceiptTimes

__all__ = [
    "LogSegments",
    "Segment",
    "SegmentContent",
    "frames_of",
    "read_segments",
    "refuse_foreign",
    "sealed_frames",
    "segment_found",
]

_RESERVED_BYTES = 4 << 20
"""A segment grows by so much at a time."""

_SEGMENT_BYTES = 32 << 20
_SEGMENT_ROWS = 100_000
"""A segment that has so much is sealed."""

_RANDOM_DIGITS = 16

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Segment:
    """A file of frames.

    Attributes:
        name: Its name: the sequence of its first frame, the mark of the installation, and random digits that make it
            unique for good.
        announced: What ``ReceiptTimes.settle`` takes when its rows are stored.
        size: Bytes of its durable frames.
        rows: How many rows they have.
        last: The sequence of the last of them.
        owed: Whether a shard gets rows of it from its backlog.
    """

    name: str
    announced: int
    size: int = 0
    rows: int = 0
    last: int = 0
    owed: bool = False


@dataclass(slots=True)
class _Active:
    segment: Segment
    file: int
    reserved: int = 0


class LogSegments:
    """The segments in a folder. ``append`` and ``seal`` are called by one thread; ``sealed`` may be read by any.

    Args:
        files: The folder.
        times: Where rows get their receipt times.
        owner: The installation's mark, which is part of the names of segments; none before there is an installation.

    Attributes:
        files: The same.
        sealed: The segments to flush, in order.
        durable: The sequence of the last frame that is durable.
    """

    def __init__(self, files: LogFiles, times: ReceiptTimes, owner: str = "") -> None:
        self.files = files
        self._owner = owner
        self._times = times
        self._active: _Active | None = None
        self._broken = False
        self.sealed: deque[Segment] = deque()
        self.durable = 0

    def recover(self) -> list[LoggedAnswer]:
        """Read what an earlier process left: cut off a last frame that is not whole, and seal the last segment.

        Returns:
            The responses that may not be in the control store yet, in their order.

        Raises:
            StartupError: A frame that was acknowledged is damaged or missing, a segment is another installation's, or
                the folder can't be used.
        """
        answers: list[LoggedAnswer] = []
        found: SegmentContent | None = None
        try:
            refuse_foreign(self.files.names(), self._owner)
            for found in read_segments(self.files):
                self._take_over(found)
                answers += [frame.summary.answer for frame in found.frames if frame.summary.answer]
            if found:
                self._cut(found)
        except OSError as error:
            raise StartupError(
                f"The ingest log can't be read ({error.strerror}). Give this user access to the folder log in the "
                "data folder."
            ) from error
        return answers

    def _take_over(self, found: SegmentContent) -> None:
        if not found.frames:
            return
        self.sealed.append(_segment(found.name, found.frames, self._times))
        self.durable = found.frames[-1].sequence

    def _cut(self, found: SegmentContent) -> None:
        """Drop what lies behind the frames of the last segment, and make them durable; one without any is removed."""
        if not found.frames:
            self.files.remove(found.name)
            return
        file = self.files.open(found.name)
        try:
            self.files.cut(file, found.frames[-1].end)
            self.files.sync(file)
        finally:
            self.files.close(file)

    def append(self, calls: Sequence[PackedCall]) -> int:
        """Append calls, in their order and durably; all of them, or none when it raises.

        Returns:
            The bytes that they take.

        Raises:
            StoreUnavailable: The files can't be written.
        """
        try:
            active = self._writable(sum(len(call.summary) + len(call.body) for call in calls))
            self._broken = True  # until all of it is durable
            frames = b"".join(self._frames(calls))
            segment = active.segment
            self._reserve(active, segment.size + len(frames))
            self.files.write(active.file, segment.size, frames)
            self.files.sync(active.file)
        except OSError as error:
            _log.error("The ingest log can't be written: %s", error.strerror)
            raise StoreUnavailable("The ingest log can't be written.", retry_after=1) from error
        self._broken = False
        segment.size += len(frames)
        segment.rows += sum(call.rows for call in calls)
        self.durable = segment.last = self.durable + len(calls)
        return len(frames)

    def _frames(self, calls: Sequence[PackedCall]) -> Iterator[bytes]:
        for sequence, call in enumerate(calls, self.durable + 1):
            received_at = self._times.take(call.places)
            yield framed(call, sequence, self.durable, received_at)

    def _writable(self, size: int) -> _Active:
        """The segment that takes the next frames: a new one when the last is full, or its last write failed."""
        active = self._active
        if active:
            full = active.segment.size + size > _SEGMENT_BYTES or active.segment.rows >= _SEGMENT_ROWS
            if not (self._broken or full):
                return active
            self.seal()
        self._active = self._opened()
        return self._active

    def _opened(self) -> _Active:
        announced = self._times.announce()
        try:
            name = f"{self.durable + 1:016}-{self._owner}{secrets.token_hex(_RANDOM_DIGITS // 2)}"
            file = self.files.create(name)
        except OSError:
            self._times.settle(announced)
            raise
        return _Active(Segment(name, announced), file)

    def _reserve(self, active: _Active, size: int) -> None:
        if size > active.reserved:
            more = max(_RESERVED_BYTES, size - active.reserved)
            self.files.reserve(active.file, active.reserved, more)
            active.reserved += more

    def seal(self) -> None:
        """Seal the segment that is being written, if any: what is not durable in it is cut off.

        Raises:
            OSError: The file can't be written; it is sealed by the next call that can.
        """
        active = self._active
        if active is None:
            return
        if active.segment.size:
            self.files.cut(active.file, active.segment.size)
            self.files.sync(active.file)
            self.sealed.append(active.segment)
        else:
            self.files.remove(active.segment.name)
            self._times.settle(active.segment.announced)
        self._active, self._broken = None, False
        self.files.close(active.file)

    @property
    def step(self) -> int:
        """The distance of the receipt times that calls get, in µs."""
        return self._times.step

    @property
    def unsealed(self) -> bool:
        """Whether a segment is being written."""
        return self._active is not None

    def frames(self, segment: Segment) -> list[Frame]:
        """The frames of a sealed segment.

        Raises:
            StoreUnavailable: They can't be read, or are damaged.
        """
        return frames_of(self.files, segment)

    def remove_oldest(self) -> None:
        """Delete the oldest sealed segment, whose rows are stored, or wait elsewhere for a shard.

        Raises:
            OSError: It can't be deleted.
        """
        segment = self.sealed[0]
        self.files.remove(segment.name)
        self.sealed.popleft()
        if not segment.owed:
            self._times.settle(segment.announced)


def frames_of(files: LogFiles, segment: Segment) -> list[Frame]:
    """The frames of a segment that never changes again.

    Raises:
        StoreUnavailable: They can't be read, or are damaged.
    """
    try:
        data = files.read(segment.name)
    except OSError as error:
        raise StoreUnavailable("The ingest log can't be read.", retry_after=1) from error
    frames = list(read_frames(data))
    if not frames or frames[-1].sequence != segment.last:
        _log.error("The segment %s of the ingest log is damaged; see 'postback log verify'", segment.name)
        raise StoreUnavailable("The ingest log is damaged.", retry_after=60)
    return frames


def segment_found(files: LogFiles, name: str, times: ReceiptTimes) -> Segment:
    """A segment that an earlier process sealed and didn't store, as it is on the disk.

    Raises:
        StartupError: It is damaged.
        OSError: It can't be read.
    """
    return _segment(name, sealed_frames(files, name), times)


def sealed_frames(files: LogFiles, name: str) -> list[Frame]:
    """The frames of a file to which nothing is appended any more.

    Raises:
        StartupError: It is damaged.
        OSError: It can't be read.
    """
    data = files.read(name)
    frames = list(read_frames(data))
    if not frames or frames[-1].end != len(data):
        raise _damaged(name, f"the frame at byte {frames[-1].end if frames else 0} is damaged")
    return frames


def _segment(name: str, frames: Sequence[Frame], times: ReceiptTimes) -> Segment:
    first, last = frames[0], frames[-1]
    announced = times.resume(first.received_at, last.received_at + last.summary.places * last.summary.step)
    rows = sum(sum(frame.summary.rows.values()) for frame in frames)
    return Segment(name, announced, last.end, rows, last.sequence)


class SegmentContent(NamedTuple):
    """What was found in a file: its whole frames, and how many bytes lie behind them."""

    name: str
    frames: list[Frame]
    behind: int


def read_segments(files: LogFiles) -> Iterator[SegmentContent]:
    """The segments in a folder, in order; one that a running server removes meanwhile is left out.

    Raises:
        StartupError: A frame that was acknowledged is damaged or missing.
        OSError: A file can't be read.
    """
    durable = 0
    names = files.names()
    for name in names:
        try:
            data = files.read(name)
        except FileNotFoundError:
            continue
        durable = durable or _first_sequence(name) - 1
        frames: list[Frame] = []
        for frame in read_frames(data):
            if frame.sequence != durable + 1:
                raise _damaged(name, f"frame {durable + 1} is missing")
            durable = frame.sequence
            frames.append(frame)
        end = frames[-1].end if frames else 0
        if end < len(data):
            known = max((frame.durable for frame in valid_after(data, end)), default=0)
            if name != names[-1] or known > durable:
                raise _damaged(name, f"the frame at byte {end} is damaged")
        yield SegmentContent(name, frames, len(data) - end)


def _first_sequence(name: str) -> int:
    digits = name.partition("-")[0]
    if not digits.isdecimal():
        raise StartupError(f"The file log/{name} in the data folder is not part of the ingest log. Move it elsewhere.")
    return int(digits)


def refuse_foreign(names: Sequence[str], owner: str) -> None:
    """Refuse segments with the mark of another installation; those of earlier versions have none.

    Raises:
        StartupError: There are some.
    """
    for name in names:
        mark = name.partition("-")[2][:-_RANDOM_DIGITS]
        if owner and mark not in ("", owner):
            raise StartupError(
                f"The file log/{name} in the data folder is the log of another installation, or from before the secret "
                "was replaced: its events don't belong into these stores. Put the files in log/ back that belong to "
                "this data folder; the others, together, into their own."
            )


def _damaged(name: str, what: str) -> StartupError:
    return StartupError(
        f"The file log/{name} in the data folder is damaged: {what}. Restore it from a backup; or, if its calls may be "
        "lost, move it elsewhere together with the files in log/ that follow it. 'postback log show' lists them."
    )
