"""Templates: the seller's own format of an event."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from jinja2 import ChainableUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from postback.errors import StartupError

__all__ = ["EventTemplate", "Unrenderable"]


_ENDS_A_STRING = re.compile(r'["\\\x00-\x1f]')


class _Absent(ChainableUndefined):
    """A field that an event doesn't have, and any attribute of it: null in JSON."""


class _Environment(ImmutableSandboxedEnvironment):
    # An event may have a field called items or keys; templates see fields only, not the methods of dict.
    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute) if isinstance(obj, dict) else super().getattr(obj, attribute)


def _environment() -> _Environment:
    # Autoescaping marks the output of tojson, which distinguishes it from a buyer's text; _checked prevents escaping.
    environment = _Environment(undefined=_Absent, autoescape=True, finalize=_checked)
    environment.filters["tojson"] = _tojson
    return environment


def _tojson(value: Any) -> Markup:
    return Markup(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_null))  # noqa: S704 - not HTML


def _null(value: Any) -> None:
    if not isinstance(value, _Absent):
        raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _checked(value: Any) -> Any:
    """The output of an expression. Text that isn't JSON must not be able to end the string that it may be in."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if _ENDS_A_STRING.search(value):
        raise ValueError("text with a quotation mark, backslash or control character needs the filter tojson")
    return Markup(value)  # noqa: S704


_QUOTES = '"\\'
_EXAMPLE = msgspec.json.encode(
    {
        "event_id": f"order {_QUOTES}",
        "event_type": "purchase",
        "event_time": "2026-01-15T10:30:00Z",
        "action_source": "website",
        "event_source_url": f"https://shop.example/{_QUOTES}",
        "custom_event_name": f"name {_QUOTES}",
        "user_match": {
            "hashed_email": f"digest {_QUOTES}",
            "hashed_phone": f"digest {_QUOTES}",
            "uids": [{"type": "uid2", "value": f"value {_QUOTES}"}],
            "click_id": f"click {_QUOTES}",
            "click_id_type": f"type {_QUOTES}",
            "client_ip": "192.0.2.1",
            "client_user_agent": f"agent {_QUOTES}",
        },
        "custom_data": {
            "value": 149.99,
            "currency": "EUR",
            "order_id": f"order {_QUOTES}",
            "content_ids": [f"item {_QUOTES}"],
            "content_type": f"type {_QUOTES}",
            "content_name": f"name {_QUOTES}",
            "content_category": f"category {_QUOTES}",
            "num_items": 2,
            "contents": [{"id": f"item {_QUOTES}", "quantity": 2, "price": 75.0, "brand": f"brand {_QUOTES}"}],
        },
    }
)
"""An event with every field. The values that a buyer chooses contain characters that end a JSON string."""


class Unrenderable(Exception):
    """A template does not render valid JSON for an event; the message is the kind of error."""


class EventTemplate:
    """Renders the JSON body of one event's request.

    It is a Jinja template of ``event``, ``event_source_id`` and ``account_id``; ``tojson`` writes a value as JSON.
    """

    def __init__(self, template: Template) -> None:
        self._template = template

    @classmethod
    def of(cls, text: str, at: str) -> EventTemplate:
        """Parse a template; ``at`` is its place, for errors.

        Raises:
            StartupError: It is not a template, or does not render valid JSON for an example.
        """
        try:
            template = cls(_environment().from_string(text))
        except TemplateError as error:
            raise StartupError(f"{at} is not a valid template: {error.message}.") from error
        try:
            template.body(_EXAMPLE, f"source {_QUOTES}", "account")
        except Unrenderable as error:
            raise StartupError(
                f"{at} does not render valid JSON for an example event ({error}: {error.__cause__}). "
                "Write values like {{ event.event_id | tojson }}, without quotation marks around them."
            ) from error
        return template

    def body(self, event: bytes, event_source_id: str, account_id: str) -> bytes:
        """The body for one event. A template may take long, so call it in a thread.

        Raises:
            Unrenderable: It does not render valid JSON for this event.
        """
        try:
            body = self._template.render(
                event=msgspec.json.decode(event), event_source_id=event_source_id, account_id=account_id
            ).encode()
            msgspec.json.decode(body)
        except Exception as error:  # an expression in a template can raise anything
            raise Unrenderable(type(error).__name__) from error
        return body
