"""What a page of a visitor sends, and the call of log_event that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from postback.errors import InvalidRequest
from postback.event_sources.event_source import EventSource
from postback.event_sources.tag_settings import TagSettings
from postback.events.ip_addresses import single_address
from postback.events.rules import TAGGED
from postback.exposures.click_traffic import Visitor, no_person
from postback.protocol.hostnames import is_within, url_hostname
from postback.protocol.origins import web_origin
from postback.protocol.strict_json import InvalidJson, Json, parse_json
from postback.protocol.type_errors import describe_validation_error

__all__ = ["DROPPED", "MAX_BODY_BYTES", "MAX_EVENTS", "TagCall", "Visit", "log_event_arguments", "page_of", "read_call"]

MAX_BODY_BYTES = 65_536
"""The most that a browser sends of a page that is being left."""

MAX_EVENTS = 25
"""Events in one request."""

DROPPED = {
    "GPC": "The visitor's browser sends Global Privacy Control, and the event source drops such events.",
    "NO_CONSENT": "The event source requires the visitor's consent, and the request does not say that it was given.",
    "BOT": "The visitor is a known bot.",
    "NOT_A_BROWSER": "The User-Agent is not a browser's.",
    "PREFETCH": "The browser loads the page in advance: nobody has seen it.",
}
"""Why events are dropped before they are validated."""


class TagCall(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request.

    Attributes:
        events: As those of log_event; the server sets event_time where it is missing, and action_source.
        test_event_code: As in log_event.
        consent: What the visitor decided.
    """

    events: Annotated[list[Json], Meta(min_length=1, max_length=MAX_EVENTS)]
    test_event_code: str | None = None
    consent: Literal["granted", "denied"] | None = None


class Visit(NamedTuple):
    """A request of a page.

    Attributes:
        source: The event source that it names.
        visitor: Who looks at the page.
        address: The visitor's IP address.
        page: The page, or its origin, as the browser names it in Origin or Referer; None if it does not.
        privacy: Whether the browser sends Global Privacy Control.
    """

    source: EventSource
    visitor: Visitor
    address: str
    page: str | None
    privacy: bool

    @property
    def settings(self) -> TagSettings:
        """Those of the source's tag."""
        return self.source.tag or TagSettings()

    @property
    def is_allowed(self) -> bool:
        """Whether the source takes events from browsers, and the page is on its allowed_domains, which it must have."""
        host = url_hostname(urlsplit(self.page).hostname or "") if self.page else ""
        return self.takes_events and bool(host) and is_within(host, self.source.domains)

    @property
    def takes_events(self) -> bool:
        """Whether the source takes events from browsers at all."""
        return self.settings.enabled and self.source.action_source in TAGGED and bool(self.source.domains)

    def dropped(self, call: TagCall) -> str | None:
        """One of DROPPED, or None if the events are to be logged."""
        if self.privacy and self.settings.gpc == "drop":
            return "GPC"
        if call.consent == "denied" or (self.settings.consent_required and call.consent != "granted"):
            return "NO_CONSENT"
        return no_person(self.visitor)


def page_of(headers: Mapping[str, str]) -> str | None:
    """The page that a request comes from, if its headers name one on the web; their names are in lower case."""
    page = headers.get("origin") or headers.get("referer") or ""
    return page if len(page) <= _LONGEST_PAGE and web_origin(page) else None


_LONGEST_PAGE = 8_192


def read_call(body: bytes) -> TagCall:
    """The body of a request.

    Raises:
        InvalidRequest: It is not one.
    """
    try:
        return msgspec.convert(parse_json(body, _QUOTABLE, what="The body"), TagCall)
    except InvalidJson as error:
        raise InvalidRequest(error.message) from None
    except msgspec.ValidationError as error:
        path, wrong = describe_validation_error(str(error))
        raise InvalidRequest(f"{path.lstrip('.') or 'The body'} {wrong}.", field=path.lstrip(".") or None) from None


_QUOTABLE = frozenset(TagCall.__struct_fields__)


def log_event_arguments(visit: Visit, call: TagCall, now: datetime) -> bytes:
    """The arguments of log_event for the events of a request; each is validated there."""
    arguments: dict[str, Json] = {
        "event_source_id": visit.source.event_source_id,
        "events": [_event(visit, event, now) if isinstance(event, dict) else event for event in call.events],
    }
    if call.test_event_code is not None:
        arguments["test_event_code"] = call.test_event_code
    return msgspec.json.encode(arguments)


def _event(visit: Visit, sent: dict[str, Json], now: datetime) -> dict[str, Json]:
    event: dict[str, Json] = {"event_time": now, "action_source": "website"} | {
        name: value for name, value in sent.items() if value is not None
    }
    if visit.page and not (visit.is_allowed and "event_source_url" in event):
        event["event_source_url"] = visit.page
    elif not visit.page:
        event.pop("event_source_url", None)
    if visit.privacy:
        event.pop("user_match", None)
    elif isinstance(user_match := event.pop("user_match", {}), dict):
        identifiers = _with_visitor(user_match, visit)
        event |= {"user_match": identifiers} if identifiers else {}
    else:
        event["user_match"] = user_match  # of a wrong type, which log_event refuses
    return event


def _with_visitor(user_match: dict[str, Json], visit: Visit) -> dict[str, Json]:
    """Identifiers, among them the visitor's address and browser as the connection shows them, and no others."""
    identifiers = {name: value for name, value in user_match.items() if name not in _OF_CONNECTION}
    address, problem = single_address(visit.address)
    if not problem and visit.visitor.user_agent:
        identifiers |= dict(zip(_OF_CONNECTION, (address, visit.visitor.user_agent), strict=True))
    return identifiers


_OF_CONNECTION = ("client_ip", "client_user_agent")
