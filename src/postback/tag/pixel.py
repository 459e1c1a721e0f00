"""The pixel: an event as the query of an image's URL, for pages without script."""

from __future__ import annotations

import base64
from typing import Literal
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec

from postback.protocol.strict_json import Json
from postback.tag.visits import TagCall

__all__ = ["GIF", "PARAMETERS", "pixel_call"]

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent image of one pixel."""

_EVENT = {"e": "event_type", "event_id": "event_id", "custom_event_name": "custom_event_name"}
_USER_MATCH = ("hashed_email", "hashed_phone", "click_id", "click_id_type")
_NUMBERS = ("value", "num_items")
_TEXTS = ("currency", "order_id", "content_type", "content_name", "content_category", "search_string")
_LISTS = ("content_ids",)
_CALL = ("consent", "test_event_code")
_DECISIONS: dict[str, Literal["granted", "denied"]] = {"granted": "granted", "denied": "denied"}
_AGAINST_CACHES = ("cb", "ord", "rnd")
PARAMETERS = (*_EVENT, *_USER_MATCH, *_NUMBERS, *_TEXTS, *_LISTS, *_CALL)
"""Those that the query may have."""


def pixel_call(query: bytes) -> tuple[TagCall, str | None]:
    """The call that a query makes, and what its developer should know of it.

    A parameter without a value is one that is missing. The order_id is the event_id where there is no other.
    """
    sent: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=False, errors="replace"):
        sent.setdefault(name, value)
    data: dict[str, Json] = {name: sent[name] for name in _TEXTS if name in sent}
    data |= {name: _number(sent[name]) for name in _NUMBERS if name in sent}
    data |= {name: sent[name].split(",") for name in _LISTS if name in sent}
    event: dict[str, Json] = {"event_id": sent.get("order_id") or str(uuid4())}
    event |= {field: sent[name] for name, field in _EVENT.items() if name in sent}
    event |= {"custom_data": data} if data else {}
    if user_match := {name: sent[name] for name in _USER_MATCH if name in sent}:
        event["user_match"] = user_match
    unknown = [name for name in sent if name not in (*PARAMETERS, *_AGAINST_CACHES)]
    problem = (
        f"{len(unknown)} of the parameters are unknown. The pixel has {', '.join(PARAMETERS)}." if unknown else None
    )
    consent = _DECISIONS.get(sent.get("consent", ""))
    if "consent" in sent and not consent:
        problem = "consent is granted or denied."
    return TagCall([event], sent.get("test_event_code"), consent), problem


def _number(text: str) -> Json:
    """A number as JSON writes it; the text itself if it is none, which log_event then refuses."""
    try:
        return msgspec.json.decode(text, type=float)
    except msgspec.DecodeError:
        return text
