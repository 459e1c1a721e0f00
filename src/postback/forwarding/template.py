"""The bodies of the requests that carry events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from jinja2 import ChainableUndefined, Environment, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from postback.errors import StartupError

__all__ = ["EventTemplate", "Unrenderable", "adcp_body"]


class _Absent(ChainableUndefined):
    """A member that an event doesn't have: null in JSON, whatever is asked of it."""

    def __json__(self) -> None:
        return None


def _tojson(value: Any) -> str:
    return json.dumps(None if isinstance(value, ChainableUndefined) else value, ensure_ascii=False)


def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(undefined=_Absent, autoescape=False)
    environment.filters["tojson"] = _tojson
    return environment


class Unrenderable(Exception):
    """A template that makes no JSON of an event."""


class EventTemplate:
    """A text that becomes the JSON body of one event's request.

    It is a Jinja template with ``event``, ``event_source_id`` and ``account_id``; ``tojson`` writes a value as JSON.
    """

    def __init__(self, template: Template) -> None:
        self._template = template

    @classmethod
    def of(cls, text: str, at: str) -> EventTemplate:
        """The template of a text; ``at`` says where it stands.

        Raises:
            StartupError: It is no template, or makes no JSON of an event.
        """
        try:
            template = cls(_environment().from_string(text))
            template.body(b'{"event_id": "example", "event_type": "purchase"}', "source", "account")
        except TemplateError as error:
            raise StartupError(f"{at} is not a template: {error.message}.") from error
        except Unrenderable:
            raise StartupError(f"{at} makes no JSON. Write values as {{{{ event.event_id | tojson }}}}.") from None
        return template

    def body(self, event: bytes, event_source_id: str, account_id: str) -> bytes:
        """The body for one event.

        Raises:
            Unrenderable: It makes no JSON of this event.
        """
        try:
            told = self._template.render(
                event=msgspec.json.decode(event), event_source_id=event_source_id, account_id=account_id
            )
            json.loads(told)
        except (TemplateError, ValueError, TypeError, ArithmeticError) as error:
            raise Unrenderable from error
        return told.encode()


def adcp_body(events: Sequence[msgspec.Raw], event_source_id: str, account_id: str, idempotency_key: str) -> bytes:
    """The body for a batch, in the shape of log_event (media-buy/log-event-request.json)."""
    return msgspec.json.encode(
        {
            "account": {"account_id": account_id},
            "event_source_id": event_source_id,
            "idempotency_key": idempotency_key,
            "events": events,
        }
    )
