"""How to activate an event source: a command to paste, and what to do next."""

from __future__ import annotations

import hashlib
import json
import shlex
from typing import Any

from postback.sources.model import EventSource

__all__ = ["setup"]

_EXAMPLE_BUYER = hashlib.sha256(b"first.buyer@shop.example").hexdigest()
# In JSON no string can hold these unescaped quotes, so the split below finds this member and nothing else.
_EVENT_TIME = '"event_time": "'


def setup(source: EventSource, public_url: str) -> dict[str, str]:
    """The ``setup`` member of a source in the answer of sync_event_sources.

    Args:
        source: The event source.
        public_url: Where this server is reached, as ``https://track.seller.example``.
    """
    return {
        "snippet_type": "server_only",
        "snippet": _curl(source, public_url),
        "instructions": (
            "Call log_event from your server whenever a conversion happens; no tag on the page is needed. "
            "The snippet is a complete call: set POSTBACK_KEY to your API key and run it. "
            "It logs a test event; drop test_event_code to go live. "
            "Give each event an event_id that stays the same when you retry, as the order number, and replace "
            "hashed_email by the SHA-256 of your buyer's lower-case, trimmed e-mail address."
        ),
    }


def _curl(source: EventSource, public_url: str) -> str:
    call = {
        "account": {"account_id": source.account_id},
        "event_source_id": source.event_source_id,
        "test_event_code": "SETUP",
        "events": [_event(source)],
    }
    # Quoted around the time, so that nothing in the JSON means anything to a shell.
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
