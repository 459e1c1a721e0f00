"""The health of an account's event sources, wherever it is shown: from what arrived and how it was matched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from postback.attribution.rules import AccountRules
from postback.event_sources.health import SourceHealth, assess
from postback.services import Services
from postback.store.event_store import SourceActivity, SourceMatching

__all__ = ["Traffic", "account_traffic"]


class Traffic(NamedTuple):
    """What arrived from the sources of an account and how it was matched, by event_source_id."""

    activity: Mapping[str, SourceActivity]
    matching: Mapping[str, SourceMatching]
    unnamed_refunds: Mapping[str, int]

    def health(self, event_source_id: str, now: datetime) -> SourceHealth:
        """The health of one source."""
        found = event_source_id
        return assess(self.activity.get(found), self.matching.get(found), now, self.unnamed_refunds.get(found, 0))


def account_traffic(services: Services, account_id: str) -> Traffic:
    """What arrived from the sources of an account. Reads both stores, so call it in a thread.

    Raises:
        StoreUnavailable: A store is unavailable.
    """
    rules = AccountRules.of(services.media_buys.goals(account_id))
    linked = {(kind.event_type, kind.event_source_id): "\n".join(sources) for kind, sources in rules.linked.items()}
    refunded = {kind.event_source_id for kind in rules.kinds if rules.may_refund((kind,))}
    unnamed = services.events.unnamed_refunds(account_id, sorted(rules.near.keys() - refunded))
    return Traffic(services.events.activity(account_id, linked), services.events.matching(account_id), unnamed)
