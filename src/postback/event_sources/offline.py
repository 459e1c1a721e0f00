"""Event sources from which nothing can be expected: those that went offline, and those that were deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from postback.event_sources.event_source import EventSource
from postback.event_sources.rhythms import SourceKey
from postback.event_sources.signals import SignalStore, SourceSignal
from postback.event_sources.store import SourceRegistry

__all__ = ["OfflineSource", "offline_sources"]


class OfflineSource(NamedTuple):
    """A source that is offline.

    Attributes:
        source: The source.
        offline_id: Names this outage, however often it is read.
        observed_at: When it was noticed, UTC.
        status_before: The health status that the source had before, if it is known.
        reason: What was noticed.
        remediation: What its buyer can do.
    """

    source: SourceKey
    offline_id: str
    observed_at: datetime
    status_before: str | None
    reason: str
    remediation: str


def offline_sources(
    signals: SignalStore, sources: SourceRegistry, account_ids: Collection[str]
) -> dict[SourceKey, OfflineSource]:
    """The sources of these accounts that are offline, oldest first.

    Raises:
        StoreUnavailable: The control store is unavailable.
    """
    found = [_silent(signal) for signal in signals.open(account_ids) if signal.kind == "offline"]
    found += [_deleted(source) for source in sources.archived(account_ids)]
    return {each.source: each for each in sorted(found, key=lambda each: (each.observed_at, each.offline_id))}


def _silent(signal: SourceSignal) -> OfflineSource:
    return OfflineSource(
        signal.source,
        signal.signal_id,
        signal.observed_at,
        signal.status_before,
        signal.reason,
        "Check that the integration still sends to this event source. The impairment ends when events arrive again.",
    )


def _deleted(source: EventSource) -> OfflineSource:
    deleted_at = source.archived_at or 0
    identity = "\n".join((source.account_id, source.event_source_id, str(deleted_at)))
    return OfflineSource(
        SourceKey(source.account_id, source.event_source_id),
        f"imp_{hashlib.sha256(identity.encode()).hexdigest()[:20]}",
        datetime.fromtimestamp(deleted_at, UTC),
        None,
        "The event source was deleted, so its events are refused.",
        "Create the event source again with sync_event_sources, or change the goals with update_media_buy.",
    )
