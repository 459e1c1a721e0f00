"""A process that judges batches: reads them on standard input, writes their verdicts on standard output.

It ends when its input does, so it never outlives the server. What passes between the two stays in memory.
"""

from __future__ import annotations

import gc
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from postback.ingest.checks import Rules
from postback.ingest.identifiers import IdentifierHasher
from postback.ingest.judge import FailedEvent, Verdicts, judge
from postback.ingest.rejection import Rejection
from postback.ingest.rows import AcceptedEvents, PackedEvents

__all__ = ["LENGTH", "PackedVerdicts", "main", "pack", "unpack"]

LENGTH = struct.Struct("!Q")
"""What precedes each message: its length in bytes."""


class PackedFailure(msgspec.Struct, array_like=True):
    """A FailedEvent, its rejection spelled out."""

    index: int
    event_id: str | None
    event_type: str | None
    reason: str
    message: str
    field: str


class PackedVerdicts(msgspec.Struct):
    """Verdicts on their way between processes."""

    accepted: PackedEvents
    failed: list[PackedFailure]
    warnings: dict[str, list[int]]
    fingerprint: bytes


def pack(verdicts: Verdicts) -> PackedVerdicts:
    """Verdicts, ready for another process."""
    failed = [
        PackedFailure(f.index, f.event_id, f.event_type, f.rejection.reason, f.rejection.message, f.rejection.field)
        for f in verdicts.failed
    ]
    return PackedVerdicts(verdicts.accepted.packed(), failed, verdicts.warnings, verdicts.fingerprint)


def unpack(packed: PackedVerdicts) -> Verdicts:
    """The verdicts that another process packed."""
    verdicts = Verdicts()
    verdicts.accepted = AcceptedEvents.unpacked(packed.accepted)
    verdicts.failed = [
        FailedEvent(f.index, f.event_id, f.event_type, Rejection(f.reason, f.message, f.field)) for f in packed.failed
    ]
    verdicts.warnings = packed.warnings
    verdicts.fingerprint = packed.fingerprint
    return verdicts


def main() -> None:
    """Judge until the input ends.

    The first message is the install's secret; then come two for each batch: its rules, and a JSON array of events.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle, which then closes the input
    gc.freeze()
    gc.set_threshold(10_000, 50, 50)
    batches, verdicts = sys.stdin.buffer, sys.stdout.buffer
    secret = _read(batches)
    if secret is None:
        return
    identifiers = IdentifierHasher(secret)
    decode_rules = msgspec.msgpack.Decoder(Rules).decode
    while (rules := _read(batches)) is not None and (array := _read(batches)) is not None:
        events = msgspec.json.decode(array, type=list[msgspec.Raw])
        answer = msgspec.msgpack.encode(pack(judge(events, decode_rules(rules), identifiers)))
        verdicts.write(LENGTH.pack(len(answer)) + answer)
        verdicts.flush()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


if __name__ == "__main__":
    main()
