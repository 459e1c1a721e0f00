"""log_event: the way of a batch of events, from the request to the stored rows and the answer.

    resolve the event source → judge each event → replay if this call was answered before → store → answer

The answer is given when the rows are on disk. Specification: seed/log_event; shapes: media-buy/log-event-response.json.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postback.accounts.standing import require_open
from postback.ingest.checks import Rules
from postback.ingest.judge import FailedEvent, Verdicts
from postback.ingest.quality import PRIORS, QUALITY_VERSION, batch_quality
from postback.ingest.request import LogEventRequest, events_of
from postback.ingest.rows import rejected_rows
from postback.ingest.warnings import group_warnings
from postback.items import partial_failure
from postback.protocol.releases import Release

if TYPE_CHECKING:
    from postback.principal import Account
    from postback.services import Services
    from postback.sources.model import EventSource
    from postback.tasks import TaskCall

__all__ = ["log_event"]

_LOW_QUALITY = 0.3


async def log_event(call: TaskCall) -> dict[str, Any]:
    """Judge, store and answer one batch.

    Returns:
        The success arm of media-buy/log-event-response.json without the envelope, also when every event failed.

    Raises:
        InvalidRequest, BatchTooLarge: The request can't be read as a batch.
        EventSourceNotFound, AccountAmbiguous: No event source, or no single one, fits.
        AccountSetupRequired, AccountSuspended: The account takes nothing.
        RateLimitExceeded: Too many events in this minute.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(LogEventRequest)
    events = events_of(request)
    source = await services.sources.resolve_soon(call.principal, request.event_source_id, request.account)
    account = call.principal.account(source.account_id)
    services.limits.hit_events(call.principal.key_id, len(events))
    verdicts = await services.judges.judge(events, request.events, _rules(services, source, account))
    fingerprint = call.arguments.fingerprint({"events": verdicts.fingerprint})

    async def store() -> dict[str, Any]:
        require_open(account)
        code = request.test_event_code or ""
        if not code:
            await services.forwarding.require_room(source.account_id, source.event_source_id)
        first_stamp = services.stamps.take(len(events))
        accepted = verdicts.accepted.rows(source, code, first_stamp)
        await services.writer.write(accepted + rejected_rows(verdicts.failed, source, code, first_stamp))
        if not code:
            failed = {event.index for event in verdicts.failed}
            forwarded = (event for index, event in enumerate(events) if index not in failed)
            await services.forwarding.take(call.principal.key_id, source.account_id, source.event_source_id, forwarded)
        _count(services, verdicts)
        return _answer(verdicts, len(events), account, call.release, test=bool(code))

    return await call.once(account.account_id, fingerprint, store)


def _rules(services: Services, source: EventSource, account: Account) -> Rules:
    return Rules.of(
        source,
        now=datetime.now(UTC),
        sandbox=account.sandbox,
        max_age_days=services.settings.max_event_age_days,
        require_user_match=services.settings.require_user_match,
    )


def _count(services: Services, verdicts: Verdicts) -> None:
    services.metrics.events(len(verdicts.accepted), Counter(failed.rejection.reason for failed in verdicts.failed))
    services.metrics.warnings({code: len(at) for code, at in verdicts.warnings.items()})


def _answer(
    verdicts: Verdicts, received: int, account: Account, release: Release | None, *, test: bool
) -> dict[str, Any]:
    accepted = len(verdicts.accepted)
    quality = batch_quality(verdicts.accepted.qualities)
    if quality is not None and quality < _LOW_QUALITY:
        verdicts.warnings["LOW_MATCH_QUALITY"] = verdicts.accepted.indexes
    answer: dict[str, Any] = {
        "message": _summary(accepted, received, test=test),
        "events_received": received,
        "events_processed": accepted,
    }
    if verdicts.failed:
        answer["partial_failures"] = [_failure(failed, release) for failed in verdicts.failed]
    if verdicts.warnings:
        answer["warnings"] = group_warnings(verdicts.warnings, received)
    if quality is not None:
        answer["match_quality"] = quality
    if account.sandbox:
        answer["sandbox"] = True
    answer["ext"] = {
        "postback": {
            "match_quality": {
                "version": QUALITY_VERSION,
                "priors": PRIORS,
                "coverage": {kind: round(n / accepted, 3) for kind, n in sorted(verdicts.accepted.coverage().items())},
            }
        }
    }
    return answer


def _failure(failed: FailedEvent, release: Release | None) -> dict[str, Any]:
    event_id = failed.event_id if failed.event_id is not None else f"index:{failed.index}"
    return {"event_id": event_id, **partial_failure("events", failed.index, failed.rejection, release)}


def _summary(accepted: int, received: int, *, test: bool) -> str:
    kind = "test events" if test else "events"
    told = f"{accepted:,} of {received:,} {kind} accepted"
    return f"{told}; {received - accepted:,} failed, see partial_failures." if accepted < received else f"{told}."
