"""log_event: a batch of events, from the request to the stored rows and the response.

    resolve the event source → validate each event → replay if this call was answered before → log → respond

The response is returned when the rows are on disk, in the ingest log (media-buy/log-event-response.json).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.permissions import require_open
from postback.auth.principal import Account
from postback.event_sources.event_source import EventSource
from postback.events.columns import AcceptedEvents, rejected_rows
from postback.events.duplicates import Duplicates, find_duplicates
from postback.events.match_quality import PRIORS, QUALITY_VERSION, batch_quality
from postback.events.rejection import RejectedEvent
from postback.events.request import LogEventRequest, events_of, refuse_test_marks
from postback.events.rules import EventRules
from postback.events.validate import ValidationResult
from postback.events.warnings import group_warnings
from postback.protocol.envelope import IDEMPOTENCY_KEY_EXAMPLE, PostbackExt
from postback.protocol.releases import Release
from postback.services import Services
from postback.tasks.batches import ItemFailure, item_failure
from postback.tasks.call import LogCall, Payload, TaskCall
from postback.tasks.task import Task

__all__ = ["LOG_EVENT", "LogEventResponse", "log_event"]

_LOW_QUALITY = 0.3


class EventFailure(ItemFailure):
    """An event that was not accepted."""

    event_id: Annotated[str, Meta(description="The event, or index:17 when its id can't be read.")]


class MatchQualityExt(msgspec.Struct):
    """How ``match_quality`` came about."""

    version: Annotated[str, Meta(description="Version of the formula.")]
    priors: Annotated[dict[str, float], Meta(description="How likely each identifier alone is to lead to a match.")]
    coverage: Annotated[dict[str, float], Meta(description="Share of the accepted events that have the identifier.")]


class DuplicatesExt(msgspec.Struct):
    """How many of the accepted events are duplicates. The others are new."""

    in_call: Annotated[int, Meta(ge=0, description="Copies of an earlier event of the call.")]
    known: Annotated[int, Meta(ge=0, description="Events that an earlier call had sent.")]
    different: Annotated[
        int,
        Meta(
            ge=0,
            description="Those of both whose event_time, value, currency, custom_event_name or order_id is not that "
            "of the first. The first counts.",
        ),
    ]
    exact: Annotated[
        bool,
        Meta(
            description="Whether known counts all of them. False: only those that this server remembers. To have all "
            "counted, send ext.postback.count_duplicates: exact."
        ),
    ]


class LogEventPostbackExt(PostbackExt):
    """What we add to the response."""

    duplicates: Annotated[DuplicatesExt, Meta(description="How many of the accepted events are duplicates.")]
    match_quality: Annotated[MatchQualityExt, Meta(description="How match_quality came about.")]


class LogEventExt(msgspec.Struct):
    """``ext`` of the response."""

    postback: Annotated[LogEventPostbackExt, Meta(description="What Postback adds to AdCP's fields.")]


class LogEventResponse(msgspec.Struct, kw_only=True):
    """The success arm of media-buy/log-event-response.json, without the envelope."""

    message: Annotated[str, Meta(description="How many events were accepted.")]
    events_received: Annotated[int, Meta(ge=0, description="Events in the call.")]
    events_processed: Annotated[int, Meta(ge=0, description="Events accepted, duplicates included.")]
    partial_failures: Annotated[
        list[EventFailure] | UnsetType, Meta(description="The events that were not accepted.")
    ] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="What would make the events match better.")] = UNSET
    match_quality: (
        Annotated[
            float,
            Meta(
                ge=0, le=1, description="How likely the accepted events are to be matched to an exposure, on average."
            ),
        ]
        | UnsetType
    ) = UNSET
    sandbox: Annotated[bool | UnsetType, Meta(description="True: the account is a sandbox.")] = UNSET
    ext: Annotated[LogEventExt, Meta(description="Extensions.")]


async def log_event(call: TaskCall) -> Payload:
    """Validate, store and acknowledge one batch.

    Returns:
        A LogEventResponse, also when every event failed.

    Raises:
        InvalidRequest, BatchTooLarge: The request is not a valid batch.
        EventSourceNotFound, AccountAmbiguous: The id doesn't match exactly one event source.
        AccountSetupRequired, AccountSuspended: The account's status doesn't allow it.
        RateLimitExceeded: The key has reached its limit of events per minute.
        IdempotencyConflict: The key was used for another call.
        Overloaded, StoreUnavailable: Nothing was acknowledged.
    """
    services = call.services
    request = call.arguments.to(LogEventRequest)
    events = events_of(request)
    refuse_test_marks(call.arguments.fields, request)
    asked = call.principal, request.event_source_id, request.account
    source = services.sources.cached(*asked)
    if source is None:
        source = await services.threads.ingestion.run(services.sources.resolve, *asked)
    account = call.principal.account(source.account_id)
    services.limits.hit_events(call.principal.key_id, len(events))
    with services.metrics.request_stages.time("validate"):
        rules = _rules(services, source, account, request, browser=call.principal.browser)
        result = await services.validation.validate(events, request.events, rules, call.principal.key_id)
    for step, seconds in result.step_seconds.items():
        services.metrics.event_stages.observe(step, seconds)
    fingerprint = call.arguments.fingerprint({"events": result.fingerprint})

    async def store(log: LogCall) -> LogEventResponse:
        require_open(account)
        code = request.test_event_code or ""
        forwards = not code and services.forwarding.forwards(source.account_id, source.event_source_id)
        if forwards:
            await services.forwarding.require_room(source.account_id, source.event_source_id)
        duplicates = await _duplicates(call, result.accepted, source, code)
        if duplicates.different:
            result.warnings["DUPLICATE_DIFFERS"] = [result.accepted.indexes[place] for place in duplicates.different]
        rows = result.accepted.rows(source, code, duplicates.marks) + rejected_rows(result.failed, source, code)
        response = _answer(result, duplicates, len(events), account, call.release, test=bool(code))
        try:
            deliveries = await _deliveries(call, source, events, result) if forwards else ()
            await log(response, rows, deliveries)
        except Exception:
            services.recent_events.release(duplicates.claim)
            raise
        _count(services, result)
        return response

    return await call.once_in_log(account.account_id, fingerprint, store)


async def _deliveries(
    call: TaskCall, source: EventSource, events: Sequence[msgspec.Raw], result: ValidationResult
) -> Sequence[Mapping[str, Any]]:
    """The accepted events, for those to whom they are forwarded."""
    failed = {event.index for event in result.failed}
    accepted = (event for index, event in enumerate(events) if index not in failed)
    key_id = call.principal.key_id
    return await call.services.forwarding.deliveries(key_id, source.account_id, source.event_source_id, accepted)


def _rules(
    services: Services, source: EventSource, account: Account, request: LogEventRequest, *, browser: bool
) -> EventRules:
    return EventRules.of(
        source,
        now=services.clock.utc(),
        sandbox=account.sandbox,
        max_age_days=services.settings.max_event_age_days,
        require_user_match=services.settings.require_user_match,
        test=bool(request.test_event_code),
        browser=browser,
    )


async def _duplicates(call: TaskCall, accepted: AcceptedEvents, source: EventSource, code: str) -> Duplicates:
    services, ext = call.services, call.arguments.value("ext")
    asked = ext.get("postback") if isinstance(ext, dict) else None
    return await find_duplicates(
        accepted,
        source,
        code,
        services.recent_events,
        services.shards,
        partial(services.read_events, [source.account_id]),
        exact=isinstance(asked, dict) and asked.get("count_duplicates") == "exact",
    )


def _count(services: Services, result: ValidationResult) -> None:
    rejected = Counter((failed.rejection.reason, failed.step) for failed in result.failed) if result.failed else {}
    services.metrics.events(len(result.accepted), rejected)
    services.metrics.warnings({code: len(at) for code, at in result.warnings.items()})


def _answer(
    result: ValidationResult,
    duplicates: Duplicates,
    received: int,
    account: Account,
    release: Release | None,
    *,
    test: bool,
) -> LogEventResponse:
    accepted = len(result.accepted)
    quality = batch_quality(result.accepted.qualities)
    if quality is not None and quality < _LOW_QUALITY:
        result.warnings["LOW_MATCH_QUALITY"] = result.accepted.indexes
    coverage = {kind: round(n / accepted, 3) for kind, n in sorted(result.accepted.coverage().items())}
    return LogEventResponse(
        message=_summary(accepted, received, test=test),
        events_received=received,
        events_processed=accepted,
        partial_failures=[_failure(failed, release) for failed in result.failed] or UNSET,
        warnings=group_warnings(result.warnings, received, subjects=result.subjects) or UNSET,
        match_quality=UNSET if quality is None else quality,
        sandbox=account.sandbox or UNSET,
        ext=LogEventExt(
            LogEventPostbackExt(
                duplicates=DuplicatesExt(
                    duplicates.in_call, duplicates.known, len(duplicates.different), duplicates.exact
                ),
                match_quality=MatchQualityExt(QUALITY_VERSION, PRIORS, coverage),
            )
        ),
    )


def _failure(failed: RejectedEvent, release: Release | None) -> EventFailure:
    event_id = failed.event_id if failed.event_id is not None else f"index:{failed.index}"
    return EventFailure(event_id=event_id, **item_failure("events", failed.index, failed.rejection, release))


def _summary(accepted: int, received: int, *, test: bool) -> str:
    kind = "test events" if test else "events"
    summary = f"{accepted:,} of {received:,} {kind} accepted"
    return f"{summary}; {received - accepted:,} failed, see partial_failures." if accepted < received else f"{summary}."


LOG_EVENT = Task(
    name="log_event",
    title="Log events",
    description=(
        "Log 1 to 10,000 conversions or other marketing events of one event source. Each event is validated alone: "
        "read partial_failures for those that were not accepted and why, and warnings for what would match better. "
        "Repeating an event is safe. With test_event_code the events are validated and stored apart from live data."
    ),
    function=log_event,
    request=LogEventRequest,
    response=LogEventResponse,
    example={
        "idempotency_key": IDEMPOTENCY_KEY_EXAMPLE,
        "event_source_id": "website",
        "events": [
            {
                "event_id": "order_98765",
                "event_type": "purchase",
                "event_time": "2026-01-15T14:30:00Z",
                "action_source": "website",
                "event_source_url": "https://www.example.com/checkout/thanks",
                "user_match": {"hashed_email": "a522b5489bfc961b75e6adefbb546c29b1d03a6e96588d7dae866c225ceb65da"},
                "custom_data": {"value": 149.99, "currency": "EUR", "order_id": "98765"},
            }
        ],
    },
    mutating=True,
    key="when_pinned",
    scope="buyer",
)
