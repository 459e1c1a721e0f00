"""How to activate an event source: a tag for its pages or a command to run, and what to do next."""

from __future__ import annotations

import hashlib
import html
import json
import shlex
from collections.abc import Collection
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.event_sources.event_source import EventSource
from postback.event_sources.tag_settings import TagSettings, tag_event_types

__all__ = ["SourceSetup", "TagScript", "setup"]


class TagScript(NamedTuple):
    """The browser tag as this server serves it.

    Attributes:
        path: Where, below the server's URL; it never has other contents.
        integrity: Their digest, as the attribute of that name takes it (Subresource Integrity).
    """

    path: str
    integrity: str


class SourceSetup(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How to activate a source."""

    snippet_type: Annotated[
        Literal["javascript", "pixel_url", "server_only"],
        Meta(description="server_only: no tag on the page is needed."),
    ]
    snippet: Annotated[
        str, Meta(description="HTML for every page, the pixel's URL, or a command that logs a test event.")
    ]
    instructions: Annotated[str, Meta(description="What to do with it, and what next.")]
    server_snippet: Annotated[
        str | UnsetType, Meta(description="Beside a tag: a command that logs a test event from a server.")
    ] = UNSET


_EXAMPLE_BUYER = hashlib.sha256(b"first.buyer@shop.example").hexdigest()
# A JSON string can't contain these unescaped quotes, so the split below finds this field and nothing else.
_EVENT_TIME = '"event_time": "'


def setup(source: EventSource, public_url: str, script: TagScript) -> SourceSetup:
    """The ``setup`` field of a source in the response of sync_event_sources.

    A website whose domains are known gets a tag; what happens elsewhere is logged from a server.

    Args:
        source: The event source.
        public_url: The server's URL, for example ``https://track.seller.example``.
        script: The browser tag.
    """
    command = _curl(source, public_url)
    settings = source.tag or TagSettings()
    if source.action_source != "website" or not source.domains or not settings.enabled:
        return SourceSetup(snippet_type="server_only", snippet=command, instructions=_FROM_SERVER)
    if settings.snippet_type == "pixel_url":
        pixel = f"{public_url}/tag/{source.seller_id}.gif?{urlencode(_pixel_query(source))}"
        return SourceSetup(snippet_type="pixel_url", snippet=pixel, instructions=_PIXEL, server_snippet=command)
    tag = _html(source, settings, public_url, script)
    return SourceSetup(snippet_type="javascript", snippet=tag, instructions=_SCRIPT, server_snippet=command)


_FROM_SERVER = (
    "Call log_event from your server whenever a conversion happens. The page needs no tag. "
    "The snippet is a complete call: set POSTBACK_KEY to your API key and run it. "
    "It logs a test event. Remove test_event_code to go live. "
    "Give each event an event_id that stays the same when you retry, for example the order number. "
    "Set hashed_email to the SHA-256 of the customer's e-mail address, trimmed and in lower case."
)

_ALSO_SERVER = (
    "Anyone can change what a browser sends. Log each order from your server too, with the same event_id, in an event "
    "source of its own, and let goals name that source first: server_snippet is a complete call."
)

_SCRIPT = (
    "Put the two script elements into the head of every page of allowed_domains. Where a conversion happens, call "
    "postback as the example in the comment does. The order_id becomes the event_id. E-mail addresses and phone "
    "numbers are hashed in the browser. The browser's console says what is wrong with a call. "
    f"{_ALSO_SERVER}"
)

_PIXEL = (
    "Show the URL as an image on the page that confirms an order, with the order's value, currency and order_id: "
    '<img src="URL" width="1" height="1" alt="" referrerpolicy="strict-origin-when-cross-origin">. '
    "The response's header X-Postback-Error says what is wrong with an event. "
    f"{_ALSO_SERVER}"
)


def _html(source: EventSource, settings: TagSettings, public_url: str, script: TagScript) -> str:
    event_type = _example_type(tag_event_types(settings, source.event_types))
    facts = json.dumps(_example_order(source) if event_type == "purchase" else {})
    address = html.escape(f"{public_url}{script.path}")
    return (
        "<script>window.postback = window.postback || function () "
        "{ (postback.q = postback.q || []).push(arguments) }</script>\n"
        f'<script src="{address}" integrity="{script.integrity}" crossorigin '
        f'data-source="{source.seller_id}" async></script>\n'
        f"<!-- Where it happens: <script>postback('{event_type}', {facts})</script> -->"
    )


def _pixel_query(source: EventSource) -> dict[str, Any]:
    event_type = _example_type(tag_event_types(source.tag or TagSettings(), source.event_types))
    return {"e": event_type, **(_example_order(source) if event_type == "purchase" else {"event_id": "98765"})}


def _example_type(types: Collection[str]) -> str:
    return "purchase" if "purchase" in types else min(types, default="purchase")


def _example_order(source: EventSource) -> dict[str, Any]:
    currency = source.value_currencies[0] if source.value_currencies else "USD"
    return {"value": 49.95, "currency": currency, "order_id": "98765"}


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
        event["custom_data"] = _example_order(source)
    if event_type == "custom":
        event["custom_event_name"] = "quiz_finished"
    if action_source == "website":
        domain = source.allowed_domains[0] if source.allowed_domains else "www.example.com"
        event["event_source_url"] = f"https://{domain}/checkout"
    return event
