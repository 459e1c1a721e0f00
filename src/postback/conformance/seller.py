"""A seller's server, called with one key, and the events that it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from postback.conformance.answer import SellerAnswer
from postback.conformance.transports import SellerTransport
from postback.protocol.releases import RELEASES, Release
from postback.protocol.timestamps import rfc3339

__all__ = ["Seller", "event", "fresh", "too_many_events"]

_READING = ("get_adcp_capabilities", "list_accounts", "get_media_buy_delivery")
_OF_NO_ACCOUNT = ("get_adcp_capabilities", "list_accounts", "sync_accounts")


class Seller:
    """Calls one server with one key, in one AdCP release.

    Args:
        transport: The transport.
        key: The API key.
        account: core/account-ref.json to send with calls, or None.

    Attributes:
        source: The event source that the checks use.
        purchases: One that accepts purchases only.
        capabilities: The server's capabilities.
        release: The release that calls pin; None pins none.
    """

    def __init__(self, transport: SellerTransport, key: str, account: dict[str, Any] | None = None) -> None:
        self.transport = transport
        self.account = account
        self.source = fresh("suite")
        self.purchases = f"{self.source}-purchases"
        self.capabilities: dict[str, Any] = {}
        self.release: Release | None = None
        self._key: str | None = key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    def call(self, task: str, **arguments: Any) -> SellerAnswer:
        """Call a task in the release with a new idempotency key; an argument that is None is omitted.

        Raises:
            StartupError: The server can't be reached.
            Unreadable: The response is malformed.
        """
        request = _pin(self.release)
        if task not in _READING:
            request["idempotency_key"] = str(uuid4())
        if self.account and task not in _OF_NO_ACCOUNT:
            request["account"] = self.account
        request |= arguments
        return self.send(task, {name: value for name, value in request.items() if value is not None})

    def send(self, task: str, arguments: dict[str, Any]) -> SellerAnswer:
        """Call a task with exactly these arguments.

        Raises:
            StartupError: The server can't be reached.
            Unreadable: The response is malformed.
        """
        return self.transport.call(task, arguments, self._key)

    def log(self, *events: Any, source: str | None = None, **arguments: Any) -> SellerAnswer:
        """Log events to the suite's source, or another."""
        return self.call("log_event", event_source_id=source or self.source, events=list(events), **arguments)

    def pinning(self, release: Release | None) -> Seller:
        """The same seller, called in another release; None pins none."""
        other = copy(self)
        other.release = release
        return other

    def with_key(self, key: str | None) -> Seller:
        """The same seller, called with another key; None sends none."""
        other = copy(self)
        other._key = key  # noqa: SLF001 - a copy of this one
        return other

    def acting_for(self, account: dict[str, Any]) -> Seller:
        """The same seller, called for an account: core/account-ref.json."""
        other = copy(self)
        other.account = account
        return other

    def in_every_release(self) -> Iterator[Seller]:
        """The same seller, called without a pin and in each release that it serves."""
        for release in (None, *self.releases):
            yield self.pinning(release)

    @property
    def releases(self) -> list[Release]:
        """The releases that it serves. A server that declares only a major version serves the first release of it."""
        supported = self.declared("adcp", "supported_versions")
        if isinstance(supported, list):
            return [release for release in RELEASES if release in supported]
        majors = self.declared("adcp", "major_versions")
        return [RELEASES[0]] if isinstance(majors, list) and 3 in majors else []

    def accepts(self, event_type: str) -> bool:
        """Whether it accepts this event type: all, unless it lists them."""
        listed = self.declared("media_buy", "conversion_tracking", "supported_event_types")
        return not isinstance(listed, list) or event_type in listed

    def declared(self, *path: str) -> Any:
        """The value at a path of the capabilities, for example ``("adcp", "idempotency")``; None if absent."""
        found: Any = self.capabilities
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _pin(release: Release | None) -> dict[str, Any]:
    """Both fields that pin a release, because AdCP 3.0 knows only the first."""
    return {"adcp_major_version": int(release.partition(".")[0]), "adcp_version": release} if release else {}


def event(event_id: str, /, **fields: Any) -> dict[str, Any]:
    """A valid event with some ``fields`` replaced; a field that is None is omitted."""
    complete = {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": rfc3339(datetime.now(UTC) - timedelta(minutes=5)),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": {"hashed_email": sha256(secrets.token_bytes(16)).hexdigest()},
        "custom_data": {"value": 149.99, "currency": "USD"},
    } | fields
    return {name: value for name, value in complete.items() if value is not None}


def too_many_events() -> list[dict[str, Any]]:
    """One more event than a call may have."""
    return [event("many", user_match=None, custom_data=None, event_source_url=None)] * 10_001


def fresh(name: str) -> str:
    """An unused id."""
    return f"{name}-{secrets.token_hex(6)}"
