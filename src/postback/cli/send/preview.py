"""What a file would be as events: the first ones, and what the rules say to all of them. Nothing is sent.

The rules are the server's own, as for an event source without limits of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from postback.cli.send.batches import Batch
from postback.cli.send.rejects import RejectsFile
from postback.event_sources.event_source import EventSource
from postback.events.identifiers import IdentifierHasher
from postback.events.personal_data import redact
from postback.events.rejection import Rejection
from postback.events.rules import EventRules
from postback.events.validate import validate_events
from postback.events.warnings import WARNINGS

__all__ = ["Preview"]

_SHOWN = 3
_EXAMPLES = 3
_MAX_AGE_DAYS = 90
_REMEMBERED = 1_000_000
"""Events of which repetitions are noticed; more would take too much memory."""

_DIGESTS = ("hashed_email", "hashed_phone")
_FIRST = ("event_id", "event_type", "event_time")


class Preview:
    """Counts what would be accepted and what would fail.

    Attributes:
        accepted: Events that the rules accept.
        failed: By reason, those that they don't, and records that would not be sent.
        shown: The first accepted events, as they would be sent, but for what identifies a person.
    """

    def __init__(self, rejects: RejectsFile) -> None:
        self.accepted = 0
        self.failed: Counter[str] = Counter()
        self.shown: list[dict[str, Any]] = []
        self._rejects = rejects
        self._examples: dict[str, list[str]] = {}
        self._warnings: Counter[str] = Counter()
        self._ids: set[bytes] = set()
        self._copies = 0
        self._identifiers = IdentifierHasher(bytes(32))
        source = EventSource(account_id="preview", event_source_id="preview", seller_id="preview")
        self._rules = EventRules.of(
            source, now=datetime.now(UTC), sandbox=False, max_age_days=_MAX_AGE_DAYS, require_user_match=False
        )

    def fail(self, row: int, number: int, rejection: Rejection) -> None:
        """Count a record that would fail."""
        self.failed[rejection.reason] += 1
        examples = self._examples.setdefault(rejection.reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(f"line {number}: {rejection.message}")
        self._rejects.add(row, number, rejection.field, rejection.reason, rejection.message)

    def add(self, batch: Batch) -> None:
        """Validate the events of a batch."""
        result = validate_events([msgspec.Raw(line.event) for line in batch.lines], self._rules, self._identifiers)
        failed = {failure.index: failure.rejection for failure in result.failed}
        for index, line in enumerate(batch.lines):
            if rejection := failed.get(index):
                self.fail(line.row, line.number, rejection)
            else:
                self._accept(line.event)
        self._warnings.update({code: len(indexes) for code, indexes in result.warnings.items()})

    def report(self) -> Iterator[str]:
        """The events that are shown, and the counts."""
        for number, event in enumerate(self.shown, 1):
            yield f"Event {number}:"
            yield json.dumps(event, indent=2, ensure_ascii=False)
        failed = self.failed.total()
        yield f"{self.accepted + failed:,} events: {self.accepted:,} would be accepted, {failed:,} would fail."
        for reason, count in self.failed.most_common():
            yield f"  {reason}: {count:,}"
            yield from (f"    {example}" for example in self._examples[reason])
        yield from self._rejects.report()
        if self._copies:
            repeat = "1 event repeats" if self._copies == 1 else f"{self._copies:,} events repeat"
            yield f"{repeat} the event_id and type of an earlier one in the file. Only the first counts."
        if self._warnings:
            yield "Warnings:"
        for code, count in self._warnings.most_common():
            what, fix = WARNINGS[code]
            yield f"  {code}: {count:,} {what}. Fix: {fix}."

    def _accept(self, raw: bytes) -> None:
        self.accepted += 1
        event = msgspec.json.decode(raw)
        key = sha256(json.dumps([event["event_type"], event["event_id"]]).encode()).digest()[:8]
        self._copies += key in self._ids
        if len(self._ids) < _REMEMBERED:
            self._ids.add(key)
        if len(self.shown) < _SHOWN:
            self.shown.append(_disguised(event))


def _disguised(event: dict[str, Any]) -> dict[str, Any]:
    """An event as it can be shown: identifiers as digests, no other personal data."""
    who = event.pop("user_match", None)
    safe: dict[str, Any] = redact({name: event[name] for name in sorted(event, key=_place)})[0]
    if isinstance(who, dict):
        safe["user_match"] = {name: value if name in _DIGESTS else _digests(value) for name, value in who.items()}
    return safe


def _place(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _digests(value: Any) -> Any:
    if isinstance(value, str):
        return f"(SHA-256 {sha256(value.encode()).hexdigest()[:8]}…)"
    if isinstance(value, list):
        return [_digests(item) for item in value]
    if isinstance(value, dict):
        return {name: inner if name == "type" else _digests(inner) for name, inner in value.items()}
    return value
