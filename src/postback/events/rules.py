"""The checks on events, each a named function that returns nothing or raises the event's Rejection.

They run in the order of CHECKS. Decoding has checked types and bounds; these rules need the event source, the clock, or
an external list (ISO 4217, AdCP's enumerations).

Most events are plainly right, and looking at a column of many is several times cheaper than at each. So a check has a
second function, which looks at the whole column: True means that every event would pass its check, without a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import msgspec

from postback.event_sources.event_source import EventSource
from postback.event_sources.tag_settings import SERVERS_ONLY, TagSettings, tag_event_types
from postback.events.event_ids import are_plain_ids, check_id, is_plain_id, names_an_order, plainly_name_orders
from postback.events.pages import stored_page
from postback.events.pending_event import PendingEvent
from postback.events.rejection import Rejection
from postback.events.repeated_identifiers import plainly_repeat_none, plainly_repeats_identifier, repeats_identifier
from postback.protocol.characters import normalized_id
from postback.protocol.currencies import CURRENCIES
from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES
from postback.protocol.timestamps import rfc3339

__all__ = ["CHECKS", "TAGGED", "Check", "EventRules"]

FUTURE_TOLERANCE = timedelta(minutes=10)
_LAST_TIME = datetime(2105, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
"""Reports count by hours that end soon after."""

_BROWSER_DAYS = 7
"""How old an event may be that a browser has kept, because it was offline."""

_EVENT_TYPES = frozenset(EVENT_TYPES)
_ACTION_SOURCES = frozenset(ACTION_SOURCES)

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class EventRules(msgspec.Struct, frozen=True):
    """The rules for one batch.

    Attributes:
        source: The batch's event source.
        event_types: The types that the source accepts.
        oldest: The earliest accepted event_time.
        newest: The latest accepted event_time.
        max_age_days: The limit behind ``oldest``, for messages.
        require_user_match: Whether an event without user_match fails.
        domains: The source's allowed_domains with a leading dot; empty allows all.
        test: Whether the call has a test_event_code.
        browser: Whether a browser tag sent it, which anyone can imitate.
    """

    source: EventSource
    event_types: frozenset[str]
    oldest: datetime
    newest: datetime
    max_age_days: int
    require_user_match: bool
    domains: tuple[str, ...]
    test: bool = False
    browser: bool = False

    @classmethod
    def of(
        cls,
        source: EventSource,
        *,
        now: datetime,
        sandbox: bool,
        max_age_days: int,
        require_user_match: bool,
        test: bool = False,
        browser: bool = False,
    ) -> EventRules:
        """The rules for a batch that arrives at ``now``. Sandbox accounts may log the future, like official tests."""
        days = source.max_event_age_days or max_age_days
        if browser:
            days = min(days, _BROWSER_DAYS)
        return cls(
            source=source,
            event_types=frozenset(source.event_types) if source.event_types else _EVENT_TYPES,
            oldest=max(now - timedelta(days=min(days, 100_000)), datetime(1970, 1, 1, tzinfo=UTC)),
            newest=_LAST_TIME if sandbox else now + FUTURE_TOLERANCE,
            max_age_days=days,
            require_user_match=require_user_match,
            domains=source.domains,
            test=test,
            browser=browser,
        )


def check_event_id(pending: PendingEvent, rules: EventRules) -> None:
    event = pending.event
    event_id, user_match = event.event_id, event.user_match
    if is_plain_id(event_id):
        repeated = user_match is not None and plainly_repeats_identifier(event_id, user_match)
    else:
        event.event_id = event_id = check_id(event_id, pending.warnings)
        repeated = user_match is not None and repeats_identifier(event_id, user_match)
    if repeated:
        raise Rejection(
            "INVALID_REQUEST",
            "event_id repeats an identifier of user_match. Use an order number or a UUID. The value was not stored.",
            "event_id",
        )


def _plain_event_ids(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    ids = [e.event.event_id for e in events]
    return are_plain_ids(ids) and plainly_repeat_none(ids, [e.event.user_match for e in events])


def check_event_type(pending: PendingEvent, rules: EventRules) -> None:
    event = pending.event
    if event.event_type not in rules.event_types:
        if event.event_type not in _EVENT_TYPES:
            message = f"event_type must be one of {', '.join(EVENT_TYPES)}."
        else:
            accepted = ", ".join(sorted(rules.event_types))
            message = (
                f"The event source does not accept {event.event_type} events. It accepts {accepted}. "
                "Add the type to its event_types with sync_event_sources."
            )
        raise Rejection("INVALID_EVENT_TYPE", message, "event_type")
    if event.event_type == "custom" and not (event.custom_event_name and event.custom_event_name.strip()):
        raise Rejection(
            "INVALID_REQUEST", "custom_event_name is required when event_type is custom.", "custom_event_name"
        )


def _plain_event_types(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    types = {e.event.event_type for e in events}
    return types <= rules.event_types and "custom" not in types


def check_browser(pending: PendingEvent, rules: EventRules) -> None:
    """What a browser may not send though a server may: anyone can imitate a page's tag."""
    if not rules.browser:
        return
    event, source = pending.event, rules.source
    settings = source.tag or TagSettings()
    if not settings.enabled:
        raise _not_from_browsers("Its tag is turned off.", "event_type")
    if source.action_source not in TAGGED:
        raise _not_from_browsers("Its action_source is not website.", "action_source")
    if not rules.domains:
        raise _not_from_browsers(
            "It has no allowed_domains. Name the site's with sync_event_sources.", "event_source_url"
        )
    if event.action_source not in TAGGED:
        raise _not_from_browsers("Omit action_source: it is website.", "action_source")
    if event.event_source_url is None:
        raise _not_from_browsers(
            "Pages must say where they are: the request has neither an Origin nor a Referer.", "event_source_url"
        )
    types = tag_event_types(settings, source.event_types)
    if event.event_type not in types:
        only = (
            "Send refunds"
            if event.event_type == SERVERS_ONLY
            else f"It accepts {', '.join(sorted(types))}. Send others"
        )
        raise Rejection(
            "INVALID_EVENT_TYPE",
            f"The event source does not accept {event.event_type} events from browsers. {only} from a server.",
            "event_type",
        )
    pending.warnings.append("FROM_BROWSER")


TAGGED = ("website", None)
"""The action_source of a source, and of an event, that a page's tag may send."""


def _not_from_browsers(why: str, field: str) -> Rejection:
    return Rejection("INVALID_REQUEST", f"The event source does not accept this event from a browser. {why}", field)


def _no_browser(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    return not rules.browser


def check_event_time(pending: PendingEvent, rules: EventRules) -> None:
    event_time = pending.event.event_time
    if event_time < rules.oldest:
        raise Rejection(
            "INVALID_EVENT_TIME",
            f"event_time is more than {rules.max_age_days} days ago. The earliest accepted time is now "
            f"{rfc3339(rules.oldest)}. "
            + (
                "Send older events from a server."
                if rules.browser
                else "If older events should count, ask the seller to raise the event source's limit."
            ),
            "event_time",
        )
    if event_time > _LAST_TIME:
        raise Rejection(
            "INVALID_EVENT_TIME",
            "event_time is after 2105, the last year that reports cover. Send the time at which the event happened.",
            "event_time",
        )
    if event_time > rules.newest:
        raise Rejection(
            "INVALID_EVENT_TIME",
            f"event_time is in the future. The latest accepted time is now {rfc3339(rules.newest)}, 10 minutes ahead. "
            "Check the sender's clock and UTC offset.",
            "event_time",
        )


def _plain_event_times(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    times = [e.event.event_time for e in events]
    return not times or (rules.oldest <= min(times) and max(times) <= min(rules.newest, _LAST_TIME))


def check_origin(pending: PendingEvent, rules: EventRules) -> None:
    event = pending.event
    if event.action_source is None:
        event.action_source = rules.source.action_source
    elif event.action_source not in _ACTION_SOURCES:
        raise Rejection(
            "INVALID_REQUEST", f"action_source must be one of {', '.join(ACTION_SOURCES)}.", "action_source"
        )
    if event.event_source_url is not None:
        event.event_source_url = stored_page(event.event_source_url, rules.domains)
    elif event.action_source == "website":
        pending.warnings.append("MISSING_EVENT_SOURCE_URL")


def _plain_origins(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    """The same, and the pages are stored."""
    sources = {e.event.action_source for e in events}
    urls = {e.event.event_source_url for e in events}
    if not (sources <= _ACTION_SOURCES and None not in urls):
        return False
    try:
        pages = {url: stored_page(url, rules.domains) for url in urls if url is not None}
    except Rejection:
        return False
    for e in events:
        e.event.event_source_url = pages[e.event.event_source_url or ""]
    return True


def check_value(pending: PendingEvent, rules: EventRules) -> None:
    data, accepted = pending.custom_data, rules.source.value_currencies
    value = data.value if data else None
    currency = data.currency if data else None
    if data and currency is not None:
        if currency not in CURRENCIES:
            currency = _repaired_currency(pending, currency)
        if accepted and currency not in accepted:
            raise Rejection(
                "INVALID_REQUEST",
                f"This event source accepts values in {', '.join(accepted)} only, not {currency}.",
                "custom_data.currency",
            )
    elif value is not None:
        if accepted:
            raise Rejection(
                "INVALID_REQUEST",
                f"custom_data.currency is required. This event source accepts values in {', '.join(accepted)} only.",
                "custom_data.currency",
            )
        pending.warnings.append("MISSING_CURRENCY")
    if value is None and pending.event.event_type == "purchase":
        pending.warnings.append("MISSING_VALUE")


def _plain_values(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    data = [e.custom_data for e in events]
    if None in data:
        return False
    currencies = {d.currency for d in data if d}
    accepted = rules.source.value_currencies
    return currencies <= (CURRENCIES.intersection(accepted) if accepted else CURRENCIES) and None not in {
        d.value for d in data if d
    }


def check_order(pending: PendingEvent, rules: EventRules) -> None:
    order_id = pending.custom_data.order_id if pending.custom_data else None
    if order_id is None:
        return
    normal = normalized_id(order_id)
    if not names_an_order(normal):
        pending.warnings.append("JUNK_ORDER_ID")
    elif normal != order_id:
        _repair(pending, "order_id", normal, "REPAIRED_ORDER_ID")


def _plain_orders(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    data = [e.custom_data for e in events]
    return plainly_name_orders([d.order_id for d in data if d and d.order_id is not None])


def check_user_match(pending: PendingEvent, rules: EventRules) -> None:
    if pending.event.user_match is None:
        # A refund follows its purchase, which has the identifiers.
        if rules.require_user_match and pending.event.event_type != "refund":
            raise Rejection(
                "MISSING_USER_MATCH",
                "This seller requires user_match. Send at least one of uids, hashed_email, hashed_phone, click_id, or "
                "client_ip with client_user_agent.",
                "user_match",
            )
        pending.warnings.append("MISSING_USER_MATCH")


def _plain_user_matches(events: Sequence[PendingEvent], rules: EventRules) -> bool:
    return all(e.event.user_match for e in events)


Check: TypeAlias = Callable[[PendingEvent, EventRules], None]

CHECKS: tuple[tuple[Check, Callable[[Sequence[PendingEvent], EventRules], bool]], ...] = (
    (check_event_id, _plain_event_ids),
    (check_event_type, _plain_event_types),
    (check_browser, _no_browser),
    (check_event_time, _plain_event_times),
    (check_origin, _plain_origins),
    (check_value, _plain_values),
    (check_order, _plain_orders),
    (check_user_match, _plain_user_matches),
)
"""Each check of one event, and whether all of several events plainly pass it."""


def _repaired_currency(pending: PendingEvent, currency: str) -> str:
    """A currency without surrounding white space."""
    trimmed = currency.strip()
    if trimmed not in CURRENCIES:
        fix = f"Send {trimmed.upper()}" if trimmed.upper() in CURRENCIES else "Send a code such as USD"
        raise Rejection(
            "INVALID_REQUEST", f"custom_data.currency is not an ISO 4217 currency code. {fix}.", "custom_data.currency"
        )
    _repair(pending, "currency", trimmed, "REPAIRED_CURRENCY")
    return trimmed


def _repair(pending: PendingEvent, name: str, value: str, warning: str) -> None:
    """Replace a text of custom_data, also in what is stored."""
    setattr(pending.custom_data, name, value)
    custom_data = msgspec.json.decode(pending.custom_data_json)
    custom_data[name] = value
    pending.custom_data_json = _encode_sorted(custom_data)
    pending.warnings.append(warning)
