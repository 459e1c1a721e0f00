"""The checks on one event, each a named function that returns nothing or raises the event's Rejection.

They run in the order of CHECKS. What the schemas say about types and bounds was checked when the event was decoded;
these are the rules that need the event source, the clock, or a list from elsewhere (ISO 4217, AdCP's enumerations).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from postback.ingest.clear_text import looks_personal, redact
from postback.ingest.decode import Decoded
from postback.ingest.rejection import Rejection
from postback.protocol.currencies import CURRENCIES
from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES
from postback.sources.model import EventSource
from postback.times import rfc3339

__all__ = ["CHECKS", "Rules"]

FUTURE_TOLERANCE = timedelta(minutes=10)
_LAST_TIME = datetime(2299, 12, 31, tzinfo=UTC)
_EVENT_TYPES = frozenset(EVENT_TYPES)
_ACTION_SOURCES = frozenset(ACTION_SOURCES)


@dataclass(frozen=True, slots=True)
class Rules:
    """What one batch is checked against.

    Attributes:
        source: The event source that it names.
        event_types: The types that the source takes.
        oldest: No event may be older.
        newest: No event may be newer.
        max_age_days: Where ``oldest`` comes from; for messages.
        require_user_match: Whether an event without user_match fails.
        domains: The source's allowed_domains with a leading dot; empty allows all.
    """

    source: EventSource
    event_types: frozenset[str]
    oldest: datetime
    newest: datetime
    max_age_days: int
    require_user_match: bool
    domains: tuple[str, ...]

    @classmethod
    def of(
        cls, source: EventSource, *, now: datetime, sandbox: bool, max_age_days: int, require_user_match: bool
    ) -> Rules:
        """The rules for a batch that arrives at ``now``. Sandbox accounts may log the future, as official tests do."""
        days = source.max_event_age_days or max_age_days
        return cls(
            source=source,
            event_types=frozenset(source.event_types) if source.event_types else _EVENT_TYPES,
            oldest=max(now - timedelta(days=min(days, 100_000)), datetime(1970, 1, 1, tzinfo=UTC)),
            newest=_LAST_TIME if sandbox else now + FUTURE_TOLERANCE,
            max_age_days=days,
            require_user_match=require_user_match,
            domains=tuple(f".{domain}" for domain in source.allowed_domains or ()),
        )


def check_event_id(decoded: Decoded, rules: Rules) -> None:
    event_id = decoded.event.event_id
    if not event_id.isprintable():
        raise Rejection("INVALID_REQUEST", "event_id holds a control character.", "event_id")
    if ("@" in event_id or "%40" in event_id or event_id[0] == "+") and looks_personal(event_id):
        raise Rejection(
            "INVALID_REQUEST",
            "event_id holds an e-mail address or phone number. Use an order number or a UUID; the value was not kept.",
            "event_id",
        )
    user_match = decoded.event.user_match
    if user_match and event_id in (user_match.hashed_email, user_match.hashed_phone, user_match.click_id):
        raise Rejection(
            "INVALID_REQUEST",
            "event_id repeats an identifier of user_match. Use an order number or a UUID; the value was not kept.",
            "event_id",
        )


def check_event_type(decoded: Decoded, rules: Rules) -> None:
    event = decoded.event
    if event.event_type not in rules.event_types:
        if event.event_type not in _EVENT_TYPES:
            message = f"event_type is none of AdCP's event types: {', '.join(EVENT_TYPES)}."
        else:
            taken = ", ".join(sorted(rules.event_types))
            message = (
                f"The event source does not take {event.event_type} events, only {taken}. "
                "Add the type to the source's event_types with sync_event_sources."
            )
        raise Rejection("INVALID_EVENT_TYPE", message, "event_type")
    if event.event_type == "custom" and not (event.custom_event_name and event.custom_event_name.strip()):
        raise Rejection(
            "INVALID_REQUEST", "custom_event_name is required when event_type is custom.", "custom_event_name"
        )


def check_event_time(decoded: Decoded, rules: Rules) -> None:
    event_time = decoded.event.event_time
    if event_time < rules.oldest:
        raise Rejection(
            "INVALID_EVENT_TIME",
            f"event_time is older than {rules.max_age_days} days; the oldest taken now is {rfc3339(rules.oldest)}. "
            "Ask the seller to raise the event source's bound if older events should count.",
            "event_time",
        )
    if event_time > rules.newest:
        raise Rejection(
            "INVALID_EVENT_TIME",
            f"event_time is in the future; the newest taken now is {rfc3339(rules.newest)}, 10 minutes ahead. "
            "Check the sender's clock and UTC offset.",
            "event_time",
        )


def check_origin(decoded: Decoded, rules: Rules) -> None:
    event = decoded.event
    if event.action_source is None:
        event.action_source = rules.source.action_source
    elif event.action_source not in _ACTION_SOURCES:
        raise Rejection(
            "INVALID_REQUEST", f"action_source must be one of {', '.join(ACTION_SOURCES)}.", "action_source"
        )
    if event.event_source_url is not None:
        event.event_source_url = _page(event.event_source_url, rules.domains)
    elif event.action_source == "website":
        decoded.notes.append("MISSING_EVENT_SOURCE_URL")


def check_value(decoded: Decoded, rules: Rules) -> None:
    data, accepted = decoded.custom_data, rules.source.value_currencies
    value = data.value if data else None
    currency = data.currency if data else None
    if currency is not None:
        _check_currency(currency, accepted)
    elif value is not None:
        if accepted:
            raise Rejection(
                "INVALID_REQUEST",
                f"custom_data.currency is required: this event source takes values in {', '.join(accepted)} only.",
                "custom_data.currency",
            )
        decoded.notes.append("MISSING_CURRENCY")
    if value is None and decoded.event.event_type == "purchase":
        decoded.notes.append("MISSING_VALUE")


def check_user_match(decoded: Decoded, rules: Rules) -> None:
    if decoded.event.user_match is None:
        if rules.require_user_match:
            raise Rejection(
                "MISSING_USER_MATCH",
                "user_match is required by this seller. Include at least one of uids, hashed_email, hashed_phone, "
                "click_id, or client_ip with client_user_agent.",
                "user_match",
            )
        decoded.notes.append("MISSING_USER_MATCH")


CHECKS: tuple[Callable[[Decoded, Rules], None], ...] = (
    check_event_id,
    check_event_type,
    check_event_time,
    check_origin,
    check_value,
    check_user_match,
)


_PLAIN_PAGE = re.compile(r"(https?://([a-z0-9.-]+)(?::\d{1,5})?(?:/[^\s?#@%+]{0,63})?)(?:[?#]\S*)?\Z")
"""Most pages: nothing in their path can be personal data, which needs one of those signs or the length of a digest."""


def _page(url: str, domains: tuple[str, ...]) -> str:
    """The page's address without query and fragment, where click ids and e-mail addresses live."""
    plain = _PLAIN_PAGE.match(url)
    page, host = (plain[1], plain[2]) if plain else _unusual_page(url)
    if domains and not f".{host}".endswith(domains):
        allowed = ", ".join(domain[1:] for domain in domains)
        raise Rejection(
            "INVALID_REQUEST",
            f"event_source_url is not on one of the event source's allowed_domains: {allowed}.",
            "event_source_url",
        )
    return page


_LONG_AUTHORITY = re.compile(r"[^/?#]*//[^/?#]{512}")
"""More than any host name, port and credentials. Python normalises it, in time that grows with its square."""


def _unusual_page(url: str) -> tuple[str, str]:
    """The same for any other URI: upper case, credentials, app schemes, international names."""
    try:
        parts = urlsplit("" if _LONG_AUTHORITY.match(url) else url.strip())
        host = (parts.hostname or "").rstrip(".")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, host, port = urlsplit(""), "", ""
    if not parts.scheme or not (host or parts.path):
        raise Rejection(
            "INVALID_REQUEST",
            "event_source_url must be an absolute URI, as https://shop.example/checkout.",
            "event_source_url",
        )
    path = "" if redact(parts.path)[1] else parts.path
    return f"{parts.scheme}:{'//' if host else ''}{host}{port}{path}", host


def _check_currency(currency: str, accepted: tuple[str, ...] | None) -> None:
    if currency not in CURRENCIES:
        fix = f"Send {currency.upper()}" if currency.upper() in CURRENCIES else "Send three capital letters, as USD"
        raise Rejection("INVALID_REQUEST", f"custom_data.currency is no ISO 4217 code. {fix}.", "custom_data.currency")
    if accepted and currency not in accepted:
        raise Rejection(
            "INVALID_REQUEST",
            f"This event source takes values in {', '.join(accepted)} only, not {currency}.",
            "custom_data.currency",
        )
