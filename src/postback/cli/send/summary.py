"""The outcome of sending a file: counts, and examples for each reason of rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from postback.cli.send.batches import Batch
from postback.cli.send.mapper import RowMapper
from postback.cli.send.rejects import RejectsFile
from postback.events.rejection import Rejection

__all__ = ["LogResponse", "SendSummary", "describe_rows"]

_EXAMPLES = 3


class PartialFailure(msgspec.Struct, frozen=True):
    """Why one event failed; ``index`` is its position in the batch, from 0."""

    index: int
    reason: str
    message: str
    field: str = ""


class Duplicates(msgspec.Struct, frozen=True):
    """``ext.postback.duplicates``: accepted events that were copies.

    Attributes:
        in_call: Copies of another event of the same call.
        known: Copies of an event that was stored before.
        different: Copies of either kind that differ from the first; what differs is ignored.
        exact: Whether these are all; otherwise there may be more.
    """

    in_call: int = 0
    known: int = 0
    different: int = 0
    exact: bool = False


class LogResponse(msgspec.Struct, frozen=True):
    """The fields of log_event's response that send uses (media-buy/log-event-response.json)."""

    events_received: int
    events_processed: int
    partial_failures: list[PartialFailure] = []
    warnings: list[str] = []
    replayed: bool = False
    ext: Any = None

    @property
    def duplicates(self) -> Duplicates | None:
        """What the server says of copies; None if it says nothing."""
        try:
            return msgspec.convert(self.ext["postback"]["duplicates"], Duplicates)
        except (LookupError, TypeError, msgspec.ValidationError):
            return None


class SendSummary:
    """Counts over all requests of one run.

    Attributes:
        accepted: Events that the server accepted, duplicates included.
        failed: By reason, events that it rejected and records that were not sent.
        batches: Requests answered.
        replayed: Requests that an earlier run has sent before.
    """

    def __init__(self, rejects: RejectsFile) -> None:
        self.accepted = 0
        self.batches = 0
        self.replayed = 0
        self.failed: Counter[str] = Counter()
        self._rejects = rejects
        self._warnings: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._copies: Counter[str] = Counter()
        self._counted = 0
        self._exact = True

    def fail(self, row: int, number: int, rejection: Rejection) -> None:
        """Count a record that was not accepted: its row, its line, and why."""
        self.failed[rejection.reason] += 1
        self._add_example(rejection.reason, f"line {number}: {rejection.message}", _EXAMPLES)
        self._rejects.add(row, number, rejection.field, rejection.reason, rejection.message)

    def add(self, batch: Batch, response: LogResponse) -> None:
        """Count the results of a batch."""
        self.batches += 1
        self.replayed += response.replayed
        self.accepted += response.events_processed
        for failure in response.partial_failures:
            line = batch.lines[failure.index]
            field = failure.field.partition("].")[2]
            self.fail(line.row, line.number, Rejection(failure.reason, failure.message, field))
        for warning in response.warnings:
            code = warning.partition(":")[0]
            self._warnings[code] += 1
            self._add_example(code, f"lines {batch.lines[0].number}-{batch.lines[-1].number}: {warning}", 1)
        self._add_copies(response)

    def report(self) -> Iterator[str]:
        """The summary's lines."""
        failed = self.failed.total()
        yield f"{self.accepted + failed:,} events: {self.accepted:,} accepted, {failed:,} failed."
        yield from self._report_copies()
        for reason, count in self.failed.most_common():
            yield f"  {reason}: {count:,}"
            yield from (f"    {example}" for example in self._examples[reason])
        yield from self._rejects.report()
        if self._warnings:
            yield "Warnings:"
        for code, count in self._warnings.most_common():
            yield f"  {code} in {count:,} of {self.batches:,} batches"
            yield from (f"    {example}" for example in self._examples[code])
        if self.replayed:
            yield f"{self.replayed:,} of {self.batches:,} batches were sent before. No event was logged twice."

    def _add_copies(self, response: LogResponse) -> None:
        copies = response.duplicates
        if copies is None:
            return
        self._counted += response.events_processed
        # A stored response counts what was known when it was given; now every event of it is.
        known = response.events_processed - copies.in_call if response.replayed else copies.known
        self._copies.update(known=known, in_call=copies.in_call, different=copies.different)
        self._exact = self._exact and (copies.exact or response.replayed)

    def _report_copies(self) -> Iterator[str]:
        """How many of the accepted events are new, as far as the server counted copies."""
        if not self._counted:
            return
        known, in_call, different = (self._copies[name] for name in ("known", "in_call", "different"))
        new = self._counted - known - in_call
        at_least, at_most = ("", "") if self._exact else ("at least ", "at most ")
        yield f"  {at_most}{new:,} new, {at_least}{known + in_call:,} known: {_where(known, in_call)}."
        if different:
            yield (
                f"  {at_least}{different:,} of the known differ from what was stored first, which stays. "
                "A change needs an event_id of its own, or a refund."
            )

    def _add_example(self, code: str, example: str, limit: int) -> None:
        examples = self._examples.setdefault(code, [])
        if len(examples) < limit:
            examples.append(example)


def _where(known: int, in_call: int) -> str:
    return f"{known:,} stored before, {in_call:,} twice in one batch"


def describe_rows(mapper: RowMapper) -> Iterator[str]:
    """What became of rows on their way into events, apart from failures."""
    if count := mapper.skipped["one_per"]:
        yield f"{_rows(count)} skipped: further rows of an order, for example its items."
    if count := mapper.skipped["where"]:
        conditions = ", ".join(f"{column} ({', '.join(values)})" for column, values in mapper.mapping.where.items())
        yield f"{_rows(count)} skipped. Only these are events: {conditions}."
    for kind in mapper.mapping.hash:
        counts = {outcome: mapper.hasher.counts[kind, outcome] for outcome in ("hashed", "digest", "empty", "unusable")}
        what = "e-mail addresses" if kind == "email" else "phone numbers"
        parts = [f"{counts['hashed']:,} hashed", f"{_rows(counts['empty'], '')} without one"]
        parts += [f"{counts['digest']:,} hashed already"] if counts["digest"] else []
        parts += [f"{counts['unusable']:,} left out because they could not be read"] if counts["unusable"] else []
        hint = " Name the country of numbers without + with --country." if _wants_country(mapper, kind) else ""
        yield f"{what.capitalize()}: {', '.join(parts)}.{hint}"
    if mapper.times.repeated:
        yield (
            f"{_rows(mapper.times.repeated, '')} with a time in the hour that {mapper.mapping.timezone} has twice when "
            "clocks go back: the earlier one was taken."
        )


def _rows(count: int, verb: str = " was| were") -> str:
    one, _, many = verb.partition("|")
    return f"1 row{one}" if count == 1 else f"{count:,} rows{many}"


def _wants_country(mapper: RowMapper, kind: str) -> bool:
    return kind == "phone" and bool(mapper.hasher.counts[kind, "unusable"]) and not mapper.mapping.country
