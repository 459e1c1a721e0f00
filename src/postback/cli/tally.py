"""What became of the events that were sent: counts, and examples for each reason of failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from postback.cli.batches import Batch

__all__ = ["LogAnswer", "Tally"]

_EXAMPLES = 3


class Failure(msgspec.Struct, frozen=True):
    """Why one event failed; ``index`` is its place in the batch, from 0."""

    index: int
    reason: str
    message: str


class LogAnswer(msgspec.Struct, frozen=True):
    """What send reads of log_event's answer (media-buy/log-event-response.json)."""

    events_received: int
    events_processed: int
    partial_failures: list[Failure] = []
    warnings: list[str] = []
    replayed: bool = False


class Tally:
    """Counts over all requests of one run.

    Attributes:
        accepted: Events that the server took, duplicates included.
        failed: Events that it refused, and lines that were not sent because they aren't JSON, by reason.
        batches: Requests answered.
        replayed: Requests that an earlier run had sent already.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.batches = 0
        self.replayed = 0
        self.failed: Counter[str] = Counter()
        self._warned: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def fail(self, reason: str, number: int, message: str) -> None:
        """Count the event on the line ``number`` as failed."""
        self.failed[reason] += 1
        self._exemplify(reason, f"line {number}: {message}", _EXAMPLES)

    def answered(self, batch: Batch, answer: LogAnswer) -> None:
        """Count the verdicts on a batch."""
        self.batches += 1
        self.replayed += answer.replayed
        self.accepted += answer.events_processed
        for failure in answer.partial_failures:
            self.fail(failure.reason, batch.lines[failure.index].number, failure.message)
        for warning in answer.warnings:
            code = warning.partition(":")[0]
            self._warned[code] += 1
            self._exemplify(code, f"lines {batch.lines[0].number}-{batch.lines[-1].number}: {warning}", 1)

    def report(self) -> Iterator[str]:
        """The summary's lines."""
        failed = self.failed.total()
        yield f"{self.accepted + failed:,} events: {self.accepted:,} accepted, {failed:,} failed."
        for reason, count in self.failed.most_common():
            yield f"  {reason}: {count:,}"
            yield from (f"    {example}" for example in self._examples[reason])
        if self._warned:
            yield "Warnings:"
        for code, count in self._warned.most_common():
            yield f"  {code} in {count:,} of {self.batches:,} batches"
            yield from (f"    {example}" for example in self._examples[code])
        if self.replayed:
            yield f"{self.replayed:,} of {self.batches:,} batches had been sent before; nothing was logged twice."

    def _exemplify(self, code: str, example: str, most: int) -> None:
        examples = self._examples.setdefault(code, [])
        if len(examples) < most:
            examples.append(example)
