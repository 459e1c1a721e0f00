"""The health of an account's event sources, from all that is stored about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from postback.event_sources.event_source import EventSource
from postback.event_sources.health import SourceHealth, assess
from postback.event_sources.rhythms import SourceKey, SourceRhythm
from postback.event_sources.signals import SourceSignal
from postback.event_sources.volume import volume_of
from postback.services import Services
from postback.store.event_store import SourceActivity, SourceMatching

__all__ = ["Traffic", "account_traffic"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What arrived from the sources of an account and what became of it, at one time.

    Attributes:
        account_id: The account.
        now: The time through which all that was received is stored, UTC.
        watched_since: Since when a server has been there to receive events.
        activity: What arrived in 24 hours, by event_source_id.
        matching: How it was matched.
        unnamed_refunds: Refunds that no goal names.
        rhythms: What is usual.
        signals: What is wrong.
    """

    account_id: str
    now: datetime
    watched_since: datetime
    activity: Mapping[str, SourceActivity]
    matching: Mapping[str, SourceMatching]
    unnamed_refunds: Mapping[str, int]
    rhythms: Mapping[SourceKey, SourceRhythm]
    signals: Mapping[str, Sequence[SourceSignal]]

    def health(self, source: EventSource, now: datetime) -> SourceHealth:
        """The health of one source, as of ``now``."""
        event_source_id, watched_since = source.event_source_id, source.watched_since(self.watched_since)
        rhythm = self.rhythms.get(SourceKey(self.account_id, event_source_id))
        signals = self.signals.get(event_source_id, ())
        offline = any(signal.kind == "offline" for signal in signals)
        return assess(
            self.activity.get(event_source_id),
            self.matching.get(event_source_id),
            now,
            self.unnamed_refunds.get(event_source_id, 0),
            volume_of(rhythm, self.now, watched_since, offline=offline) if rhythm else None,
            signals,
        )


def account_traffic(services: Services, account_id: str) -> Traffic:
    """What arrived from the sources of an account. Reads both stores: call it by ``services.read_stored``.

    Raises:
        StoreUnavailable: A store is unavailable.
    """
    events = services.shards.of(account_id)
    rules = services.attribution.of(account_id).rules(account_id)
    linked = {
        (kind.event_type, kind.event_source_id): "\n".join(sources)
        for kind, sources in rules.linked.items()
        if len(sources) > 1
    }
    refunded = {kind.event_source_id for kind in rules.kinds if rules.may_refund((kind,))}
    signals: dict[str, list[SourceSignal]] = defaultdict(list)
    for signal in services.signals.open([account_id]):
        signals[signal.event_source_id].append(signal)
    now = services.source_watch.now(account_id)
    activity = events.activity(account_id, linked)
    last_minutes = {source: arrived.last_minute for source, arrived in activity.items()}
    return Traffic(
        account_id=account_id,
        now=now,
        watched_since=services.signals.watched_since(now),
        activity=activity,
        matching=events.matching(account_id),
        unnamed_refunds=events.unnamed_refunds(account_id, sorted(rules.near.keys() - refunded)),
        rhythms=services.source_watch.read(account_id, last_minutes),
        signals=signals,
    )
