"""The status of one event, for debugging an integration."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from postback.accounts.references import AccountRef
from postback.attribution.explain import Attribution, NamedEvent, StoredOutcome, UndonePurchase, explanation
from postback.attribution.rules import AccountRules, EventKind
from postback.attribution.trial import outcome_if_live
from postback.auth.principal import Principal
from postback.errors import NotFound
from postback.event_sources.event_source import EventSource
from postback.events.event_ids import names_an_order
from postback.events.identifiers import KINDS
from postback.media_buys.media_buy import PackageGoals
from postback.protocol.envelope import TIME
from postback.protocol.json_schema import documented
from postback.protocol.timestamps import micros, rfc3339_micros
from postback.services import Services
from postback.store.copies import order_fields
from postback.store.event_store import StoredEvent, StoredEventStatus, StoredRejection
from postback.tasks.differing_copies import DifferingCopies, differing_copies

__all__ = ["EventStatus", "look_up_event"]


class EventStatusEntry(msgspec.Struct, kw_only=True):
    """The status of an event when it was received: live, as a test event, or when it was last rejected."""

    status: Annotated[Literal["accepted", "rejected"], Meta(description="Whether it was accepted.")]
    test_event_code: Annotated[str | UnsetType, Meta(description="Present for a test event.")] = UNSET
    received_at: Annotated[str, documented(f"When it arrived: {TIME}", format="date-time")]
    event_time: Annotated[str, documented(f"When it happened: {TIME}", format="date-time")] | UnsetType = UNSET
    match_quality: (
        Annotated[float, Meta(ge=0, le=1, description="How likely it is to be matched to an exposure.")] | UnsetType
    ) = UNSET
    identifiers: Annotated[
        list[str] | UnsetType, Meta(description="Kinds of the identifiers that it can be matched by.")
    ] = UNSET
    warnings: Annotated[list[str] | UnsetType, Meta(description="Codes of its warnings.")] = UNSET
    payload_dropped: Annotated[
        bool | UnsetType,
        Meta(
            description="true when the server has dropped the event's identifiers and payload, since it is older than "
            "the server keeps them. What it counts for stays. Otherwise absent."
        ),
    ] = UNSET
    attribution_if_live: (
        Annotated[
            Attribution,
            Meta(
                description="Of a test event: the exposure that it would be attributed to now if it were live, or why "
                "to none. Test events count nowhere."
            ),
        ]
        | UnsetType
    ) = UNSET
    reason: Annotated[str | UnsetType, Meta(description="For programs: why it was rejected.")] = UNSET
    field: Annotated[str | UnsetType, Meta(description="Which field it was rejected for.")] = UNSET
    message: Annotated[str | UnsetType, Meta(description="What is wrong and what to send instead.")] = UNSET


class SameOrder(msgspec.Struct):
    """Another event of the same type and order."""

    event_source_id: Annotated[str, Meta(description="The source that logged it.")]
    event_id: Annotated[str, Meta(description="Its id.")]
    received_at: Annotated[str, documented(f"When it arrived: {TIME}", format="date-time")]


class PurchaseElsewhere(msgspec.Struct):
    """An event that a refund may mean, in a source where its purchase isn't looked for."""

    event_source_id: Annotated[str, Meta(description="The source that logged it.")]
    event_type: Annotated[str, Meta(description="Its type.")]
    event_id: Annotated[str, Meta(description="Its id.")]
    message: Annotated[str, Meta(description="What to do.")]


class EventStatus(msgspec.Struct, kw_only=True):
    """The status of an event."""

    account_id: Annotated[str, Meta(description="The account of its source.")]
    event_source_id: Annotated[str, Meta(description="The source that logged it.")]
    event_type: Annotated[str, Meta(description="Its type.")]
    event_id: Annotated[str, Meta(description="Its id.")]
    statuses: Annotated[list[EventStatusEntry], Meta(min_length=1, description="Newest first.")]
    differing_copies: Annotated[
        DifferingCopies | UnsetType, Meta(description="Present if copies of the live event differ from the first.")
    ] = UNSET
    same_order: (
        Annotated[
            list[SameOrder],
            Meta(
                max_length=20,
                description="Other events of this type with the same order_id, from this source and those that goals "
                "name together with it, received within 7 days of this one; at most 20. Each counts. Not for refunds.",
            ),
        ]
        | UnsetType
    ) = UNSET
    purchase_elsewhere: Annotated[
        PurchaseElsewhere | UnsetType,
        Meta(
            description="Present for a refund without a purchase when a source that no goal names together with its "
            "own has an event with its event_id or order_id."
        ),
    ] = UNSET
    attribution: Annotated[
        Attribution | UnsetType,
        Meta(
            description="The exposure that it is attributed to, or why it is not attributed. Absent unless the event "
            "was accepted live."
        ),
    ] = UNSET


def look_up_event(
    services: Services,
    principal: Principal,
    account_id: str | None,
    *,
    event_source_id: str,
    event_type: str,
    event_id: str,
) -> EventStatus:
    """Every status of one event, newest first. Reads both stores, so call it in a thread.

    Args:
        services: The opened resources.
        principal: The caller; only its accounts are searched.
        account_id: The account, if several of the principal's accounts have the source; else None.
        event_source_id: The buyer's identifier of the source, or the seller_id.
        event_type: The event's type, for example ``purchase``.
        event_id: The event's identifier.

    Raises:
        EventSourceNotFound: No such source, or another caller's.
        AccountAmbiguous: Several accounts match.
        NotFound: The source has not received such an event, or its rejection is no longer stored.
        StoreUnavailable: A store is unavailable.
    """
    account = AccountRef(account_id=account_id) if account_id else None
    source = services.sources.resolve(principal, event_source_id, account)
    stored = services.shards.of(source.account_id).status(
        source.account_id, source.event_source_id, event_type, event_id
    )
    packages = services.media_buys.goals(source.account_id) if stored.event or stored.tests else []
    rules = AccountRules.of(packages)
    linked = _linked_sources(rules, source, stored.event, event_type) if stored.event else []
    same_order = _same_order(services, source, stored, linked, event_type, event_id)
    live = [_accepted(stored.event, ["SAME_ORDER_ID"] if same_order else [])] if stored.event else []
    statuses = [
        *live,
        *(_tested(services, source, event_type, test, packages, rules) for test in stored.tests),
        *map(_rejected, stored.rejections),
    ]
    statuses.sort(key=lambda entry: entry.received_at, reverse=True)
    if not statuses:
        raise NotFound(
            "This event source has not received such an event.",
            suggestion="Compare event_type and event_id with what was sent. Rejected events are stored for 30 days, "
            "test events for 7 days.",
        )
    status = EventStatus(
        account_id=source.account_id,
        event_source_id=source.event_source_id,
        event_type=event_type,
        event_id=event_id,
        statuses=statuses,
        differing_copies=differing_copies(stored) or UNSET,
        same_order=same_order or UNSET,
    )
    if stored.event:
        status.attribution = _attribution(
            services, source, stored, stored.event, packages, linked, event_type, event_id
        )
        if event_type == "refund" and not status.attribution.purchase:
            _name_purchase(services, rules, source, stored, status)
    return status


def _attribution(
    services: Services,
    source: EventSource,
    stored: StoredEventStatus,
    event: StoredEvent,
    packages: list[PackageGoals],
    linked: list[str],
    event_type: str,
    event_id: str,
) -> Attribution:
    """The exposure that the event is attributed to, or why it is not attributed."""
    key = {
        "account_id": source.account_id,
        "event_source_id": source.event_source_id,
        "event_type": event_type,
        "event_id": event_id,
    }
    events = services.shards.of(source.account_id)
    outcomes = events.query("outcome", **key)
    siblings = [other for (other,) in events.query("siblings", **key, linked=linked)] if len(linked) > 1 else []
    match_keys = {match_key for copy in stored.copies for match_key in copy.match_keys}
    derived = services.attribution.of(source.account_id)
    candidates = derived.nearest_exposures(source.account_id, match_keys, event.event_time)
    attribution = explanation(
        _named(source, event_type, event),
        StoredOutcome(*outcomes[0]) if outcomes else None,
        candidates,
        packages,
        derived.complete_through,
    )
    attribution.linked_event_source_ids = siblings or UNSET
    return attribution


def _linked_sources(rules: AccountRules, source: EventSource, event: StoredEvent, event_type: str) -> list[str]:
    """The sources that goals name together with this one for such events, itself included; none if no goal names it."""
    name = event.custom_event_name if event_type == "custom" else ""
    return list(rules.linked.get(EventKind(event_type, source.event_source_id, name), ()))


def _same_order(
    services: Services,
    source: EventSource,
    stored: StoredEventStatus,
    linked: list[str],
    event_type: str,
    event_id: str,
) -> list[SameOrder]:
    """Other events of the order of the live event."""
    order_id = _order_id(stored)
    if not stored.event or event_type == "refund" or not order_id:
        return []
    rows = services.shards.of(source.account_id).query(
        "same_order",
        account_id=source.account_id,
        event_source_ids=linked or [source.event_source_id],
        event_type=event_type,
        event_id=event_id,
        order_id=order_id,
        received_at=micros(stored.event.received_at),
    )
    return [SameOrder(where, other_id, rfc3339_micros(received_at)) for where, other_id, received_at in rows]


def _order_id(stored: StoredEventStatus) -> str:
    """The order of the live event; empty if it names none."""
    order_id = order_fields(stored.copies[0].custom_data.encode()).order_id if stored.copies else None
    return order_id if isinstance(order_id, str) and names_an_order(order_id) else ""


def _name_purchase(
    services: Services, rules: AccountRules, source: EventSource, stored: StoredEventStatus, status: EventStatus
) -> None:
    """Name the purchase of a refund that no goal names, or the one that a refund without a purchase may mean."""
    unnamed = status.attribution is not UNSET and status.attribution.reason == "REFUND_NOT_NAMED"
    found = services.shards.of(source.account_id).query(
        "purchase_of_refund",
        account_id=source.account_id,
        searched=list(rules.near.get(source.event_source_id, (source.event_source_id,))),
        elsewhere=not unnamed,
        event_id=status.event_id,
        order_id=_order_id(stored),
        received_at=micros(stored.copies[0].received_at),
    )
    if not found:
        return
    where, event_type, purchase_id = found[0]
    if unnamed and status.attribution:
        status.attribution.purchase = UndonePurchase(where, event_type, purchase_id)
        return
    status.purchase_elsewhere = PurchaseElsewhere(
        where,
        event_type,
        purchase_id,
        "A refund finds its purchase in its own source and in those that a goal names together with it. If this is its "
        "purchase, name both sources in one goal.",
    )


def _tested(
    services: Services,
    source: EventSource,
    event_type: str,
    test: StoredEvent,
    packages: list[PackageGoals],
    rules: AccountRules,
) -> EventStatusEntry:
    """The status of a test event, with what it would be attributed to."""
    entry = _accepted(test, [])
    kind = rules.kind(event_type, source.event_source_id, test.custom_event_name)
    if kind and rules.may_refund((kind,)):
        entry.attribution_if_live = Attribution(
            status="not_attributed",
            reason="TEST_REFUND",
            message="A live refund follows the purchase that it undoes. A test of one is attributed to nothing.",
        )
        return entry
    derived = services.attribution.of(source.account_id)
    exposures = derived.exposures(source.account_id)
    outcome = outcome_if_live(rules, kind, exposures, test.match_keys, test.event_time) if kind and exposures else None
    candidates = derived.nearest_exposures(source.account_id, test.match_keys, test.event_time)
    named = _named(source, event_type, test)
    found = explanation(named, outcome, candidates, packages, complete_through=test.received_at)
    entry.attribution_if_live = structs.replace(found, run_id=UNSET, conversions=UNSET, value=UNSET)
    return entry


def _named(source: EventSource, event_type: str, event: StoredEvent) -> NamedEvent:
    return NamedEvent(
        source.event_source_id,
        event_type,
        event.custom_event_name,
        event.event_time,
        event.received_at,
        event.dropped,
        event.kinds,
    )


def _accepted(event: StoredEvent, further_warnings: list[str]) -> EventStatusEntry:
    """The status of an accepted event, with warnings that follow from other events."""
    return EventStatusEntry(
        status="accepted",
        test_event_code=event.test_event_code or UNSET,
        received_at=rfc3339_micros(event.received_at),
        event_time=rfc3339_micros(event.event_time),
        match_quality=round(event.quality, 3),
        identifiers=UNSET if event.dropped else [KINDS[kind] for kind in event.kinds],
        warnings=[*event.warnings, *further_warnings],
        payload_dropped=event.dropped or UNSET,
    )


def _rejected(rejection: StoredRejection) -> EventStatusEntry:
    return EventStatusEntry(
        status="rejected",
        test_event_code=rejection.test_event_code or UNSET,
        received_at=rfc3339_micros(rejection.received_at),
        reason=rejection.reason,
        field=rejection.field or UNSET,
        message=rejection.message,
    )
