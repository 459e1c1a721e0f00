"""What became of one event, for whoever debugs an integration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from postback.attribution.explain import Candidate, NamedEvent, StoredOutcome, explanation
from postback.errors import NotFound
from postback.ingest.identifiers import KINDS
from postback.principal import Principal
from postback.services import Services
from postback.sources.model import EventSource
from postback.store.events import StoredEvent, StoredRejection, StoredVerdicts

__all__ = ["event_verdicts"]


def event_verdicts(
    services: Services,
    principal: Principal,
    account_id: str | None,
    *,
    event_source_id: str,
    event_type: str,
    event_id: str,
) -> dict[str, Any]:
    """Every verdict on one event, newest first. Reads both stores, so call it in a thread.

    Args:
        services: The opened resources.
        principal: Who asks; only its accounts are searched.
        account_id: The account, when several that the principal acts for have the source; else None.
        event_source_id: The buyer's identifier of the source, or the seller_id.
        event_type: The event's type, as ``purchase``.
        event_id: The event's identifier.

    Raises:
        EventSourceNotFound: No such source, or somebody else's.
        AccountAmbiguous: Several accounts fit.
        NotFound: The source never received such an event, or it was rejected so long ago that it is forgotten.
        StoreUnavailable: A store doesn't answer.
    """
    account = {"account_id": account_id} if account_id else None
    source = services.sources.resolve(principal, event_source_id, account)
    stored = services.events.verdicts(source.account_id, source.event_source_id, event_type, event_id)
    if stored.event:
        attribution = _attribution(services, source, stored.event, event_type, event_id)
    verdicts = sorted(_verdicts(stored), key=lambda verdict: str(verdict["received_at"]), reverse=True)
    if not verdicts:
        raise NotFound(
            "This event source has received no such event.",
            suggestion="Compare event_type and event_id with what was sent. Rejected events are kept for 30 days, "
            "test events for 7.",
        )
    return {
        "account_id": source.account_id,
        "event_source_id": source.event_source_id,
        "event_type": event_type,
        "event_id": event_id,
        "verdicts": verdicts,
        **({"attribution": attribution} if stored.event else {}),
    }


def _attribution(
    services: Services, source: EventSource, event: StoredEvent, event_type: str, event_id: str
) -> dict[str, Any]:
    """To which exposure the event goes and by which rule, or why to none."""
    key = {
        "account_id": source.account_id,
        "event_source_id": source.event_source_id,
        "event_type": event_type,
        "event_id": event_id,
    }
    outcomes = services.events.query("outcome", **key)
    candidates = [Candidate(*row) for row in services.events.query("candidates", **key)]
    named = NamedEvent(
        source.event_source_id,
        event_type,
        event.custom_event_name,
        event.event_time,
        event.received_at,
        event.kinds,
    )
    return explanation(
        named,
        StoredOutcome(*outcomes[0]) if outcomes else None,
        candidates,
        services.media_buys.goals(source.account_id),
        services.attribution.complete_through,
    )


def _verdicts(stored: StoredVerdicts) -> Iterator[dict[str, Any]]:
    if stored.event:
        yield _accepted(stored.event)
    yield from map(_accepted, stored.tests)
    yield from map(_rejected, stored.rejections)


def _accepted(event: StoredEvent) -> dict[str, Any]:
    return {
        "verdict": "accepted",
        **_test(event.test_event_code),
        "received_at": _time(event.received_at),
        "event_time": _time(event.event_time),
        "match_quality": round(event.quality, 3),
        "identifiers": [KINDS[kind] for kind in event.kinds],
        "warnings": list(event.warnings),
    }


def _rejected(rejection: StoredRejection) -> dict[str, Any]:
    return {
        "verdict": "rejected",
        **_test(rejection.test_event_code),
        "received_at": _time(rejection.received_at),
        "reason": rejection.reason,
        **({"field": rejection.field} if rejection.field else {}),
        "message": rejection.message,
    }


def _test(code: str) -> dict[str, str]:
    return {"test_event_code": code} if code else {}


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
