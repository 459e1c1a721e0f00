"""How to activate an event source: a command to run, and what to do next."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from postback.event_sources.event_source import EventSource

__all__ = ["SourceSetup", "setup"]


class SourceSetup(msgspec.Struct):
    """How to activate a source."""

    snippet_type: Annotated[Literal["server_only"], Meta(description="No tag on the page is needed.")]
    snippet: Annotated[str, Meta(description="A command that logs a test event of this source.")]
    instructions: Annotated[str, Meta(description="What to do with it, and what next.")]


_EXAMPLE_BUYER = hashlib.sha256(b"first.buyer@shop.example").hexdigest()
# A JSON string can't contain these unescaped quotes, so the split below finds this field and nothing else.
_EVENT_TIME = '"event_time": "'


def setup(source: EventSource, public_url: str) -> SourceSetup:
    """The ``setup`` field of a source in the response of sync_event_sources.

    Args:
        source: The event source.
        public_url: The server's URL, for example ``https://track.seller.example``.
    """
    return SourceSetup(
        snippet_type="server_only",
        snippet=_curl(source, public_url),
        instructions=(
            "Call log_event from your server whenever a conversion happens. The page needs no tag. "
            "The snippet is a complete call: set POSTBACK_KEY to your API key and run it. "
            "It logs a test event. Remove test_event_code to go live. "
            "Give each event an event_id that stays the same when you retry, for example the order number. "
            "Set hashed_email to the SHA-256 of the customer's e-mail address, trimmed and in lower case."
        ),
    )


def _curl(source: EventSource, public_url: str) -> str:
    call = {
        "account": {"account_id": source.account_id},
        "event_source_id": source.event_source_id,
        "test_event_code": "SETUP",
        "events": [_event(source)],
    }
    # Everything but the time is quoted, so that the shell expands nothing else.
    before, after = json.dumps(call).split(_EVENT_TIME)
    data = f'{shlex.quote(before + _EVENT_TIME)}"$(date -u +%Y-%m-%dT%H:%M:%SZ)"{shlex.quote(after)}'
    return (
        f"curl --silent --show-error {shlex.quote(f'{public_url}/v1/log_event')} \\\n"
        '  --header "Authorization: Bearer $POSTBACK_KEY" \\\n'
        "  --header 'Content-Type: application/json' \\\n"
        f"  --data {data}"
    )


def _event(source: EventSource) -> dict[str, Any]:
    types = source.event_types or ("purchase",)
    event_type = "purchase" if "purchase" in types else types[0]
    action_source = source.action_source or "website"
    event: dict[str, Any] = {
        "event_id": "order_98765",
        "event_type": event_type,
        "event_time": "",
        "action_source": action_source,
        "user_match": {"hashed_email": _EXAMPLE_BUYER},
    }
    if event_type == "purchase":
        currency = source.value_currencies[0] if source.value_currencies else "USD"
        event["custom_data"] = {"value": 49.95, "currency": currency, "order_id": "98765"}
    if event_type == "custom":
        event["custom_event_name"] = "quiz_finished"
    if action_source == "website":
        domain = source.allowed_domains[0] if source.allowed_domains else "www.example.com"
        event["event_source_url"] = f"https://{domain}/checkout"
    return event
