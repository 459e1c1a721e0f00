"""A file of events, one JSON object a line, cut into log_event requests."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedReader

import msgspec

from postback.errors import StartupError

__all__ = ["Batch", "Line", "read_batches", "read_lines"]

_BATCH_BYTES = 16 * 2**20
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the file: where it stands, from 1, and its JSON."""

    number: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that go in one request, and the request's other members."""

    lines: list[Line]
    envelope: dict[str, object]

    @property
    def key(self) -> str:
        """The idempotency key: the same request has the same one in every run."""
        return f"postback-send-{blake2b(self._body(self.envelope), digest_size=16).hexdigest()}"

    def request(self, key: str) -> bytes:
        """The log_event request under this idempotency key."""
        return self._body(self.envelope | {"idempotency_key": key})

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches, for a server to which this one is too large."""
        middle = len(self.lines) // 2
        return Batch(self.lines[:middle], self.envelope), Batch(self.lines[middle:], self.envelope)

    def _body(self, members: dict[str, object]) -> bytes:
        events = b",".join(line.event for line in self.lines)
        return msgspec.json.encode(members)[:-1] + b',"events":[' + events + b"]}"


def read_lines(file: BufferedReader, malformed: Callable[[int], None]) -> Iterator[Line]:
    """The events of an NDJSON file, gzipped or not, without empty lines; those that aren't JSON go to ``malformed``."""
    text = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == _GZIP else file
    number = 0
    try:
        for number, raw in enumerate(text, start=1):
            event = raw.removeprefix(_BYTE_ORDER_MARK).strip()
            if event and _is_json(event):
                yield Line(number, event)
            elif event:
                malformed(number)
    except (EOFError, OSError, zlib.error) as error:
        raise StartupError(f"The file can't be read beyond line {number}: {error}.") from error


def read_batches(lines: Iterator[Line], size: int, envelope: dict[str, object]) -> Iterator[Batch]:
    """Batches of up to ``size`` events and about 16 MiB, in the file's order."""
    taken: list[Line] = []
    taken_bytes = 0
    for line in lines:
        if taken and (len(taken) == size or taken_bytes + len(line.event) > _BATCH_BYTES):
            yield Batch(taken, envelope)
            taken, taken_bytes = [], 0
        taken.append(line)
        taken_bytes += len(line.event)
    if taken:
        yield Batch(taken, envelope)


def _is_json(text: bytes) -> bool:
    try:
        text.decode()  # the decoder skips over strings without looking at their bytes
        msgspec.json.decode(text, type=msgspec.Raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False
    return True
