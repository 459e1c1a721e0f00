"""A process that validates batches: reads them on standard input, writes their results on standard output.

It ends when its input does, so it never outlives the server. What passes between the two stays in memory.
"""

from __future__ import annotations

import gc
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from postback.events.columns import AcceptedEvents, PackedEvents
from postback.events.identifiers import IdentifierHasher
from postback.events.rejection import RejectedEvent, Rejection
from postback.events.rules import EventRules
from postback.events.validate import ValidationResult, validate_events
from postback.unused_packages import keep_out_unused_packages

__all__ = ["LENGTH", "PackedResult", "main", "pack", "unpack"]

LENGTH = struct.Struct("!Q")
"""What precedes each message: its length in bytes."""


class PackedRejection(msgspec.Struct, array_like=True):
    """A RejectedEvent, its rejection spelled out."""

    index: int
    event_id: str | None
    event_type: str | None
    reason: str
    message: str
    field: str
    step: str


class PackedResult(msgspec.Struct):
    """A ValidationResult on its way between processes."""

    accepted: PackedEvents
    failed: list[PackedRejection]
    warnings: dict[str, list[int]]
    subjects: dict[str, set[str]]
    fingerprint: bytes
    step_seconds: dict[str, float]


def pack(result: ValidationResult) -> PackedResult:
    """A validation result, ready for another process."""
    failed = [
        PackedRejection(
            f.index, f.event_id, f.event_type, f.rejection.reason, f.rejection.message, f.rejection.field, f.step
        )
        for f in result.failed
    ]
    return PackedResult(
        result.accepted.packed(), failed, result.warnings, result.subjects, result.fingerprint, result.step_seconds
    )


def unpack(packed: PackedResult) -> ValidationResult:
    """The validation result that another process packed."""
    result = ValidationResult()
    result.accepted = AcceptedEvents.unpacked(packed.accepted)
    result.failed = [
        RejectedEvent(f.index, f.event_id, f.event_type, Rejection(f.reason, f.message, f.field), f.step)
        for f in packed.failed
    ]
    result.warnings = packed.warnings
    result.subjects = packed.subjects
    result.fingerprint = packed.fingerprint
    result.step_seconds = packed.step_seconds
    return result


def main() -> None:
    """Validate until the input ends.

    The first message is the installation's secret; then come two for each batch: its rules, and a JSON array of events.
    """
    keep_out_unused_packages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle, which then closes the input
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # not in the middle of a batch: its events aren't garbage yet
    batches, results = sys.stdin.buffer, sys.stdout.buffer
    secret = _read(batches)
    if secret is None:
        return
    identifiers = IdentifierHasher(secret)
    decode_rules = msgspec.msgpack.Decoder(EventRules).decode
    while (rules := _read(batches)) is not None and (array := _read(batches)) is not None:
        events = msgspec.json.decode(array, type=list[msgspec.Raw])
        answer = msgspec.msgpack.encode(pack(validate_events(events, decode_rules(rules), identifiers)))
        results.write(LENGTH.pack(len(answer)))
        results.write(answer)
        results.flush()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


if __name__ == "__main__":
    main()
