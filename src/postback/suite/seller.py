"""A seller's server, called with one key, and what it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from postback.protocol.releases import RELEASES, Release
from postback.suite.answer import Answer
from postback.suite.transports import Transport
from postback.times import rfc3339

__all__ = ["Seller", "event", "fresh", "too_many_events"]

_READING = ("get_adcp_capabilities", "list_accounts", "get_media_buy_delivery")
_OF_NO_ACCOUNT = ("get_adcp_capabilities", "list_accounts", "sync_accounts")


class Seller:
    """Calls one server with one key, in one AdCP release.

    Args:
        transport: How to call it.
        key: The API key.
        account: core/account-ref.json to send along, or None.

    Attributes:
        source: The event source that the checks use.
        purchases: One that takes nothing but purchases.
        capabilities: What the server says of itself.
        release: What is pinned; None pins none.
    """

    def __init__(self, transport: Transport, key: str, account: dict[str, Any] | None = None) -> None:
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

    def call(self, task: str, **arguments: Any) -> Answer:
        """Call a task in the release, as another call than any before; an argument that is None is left out.

        Raises:
            StartupError: The server can't be reached.
            Unreadable: What came back isn't an answer.
        """
        said = _pin(self.release)
        if task not in _READING:
            said["idempotency_key"] = str(uuid4())
        if self.account and task not in _OF_NO_ACCOUNT:
            said["account"] = self.account
        said |= arguments
        return self.send(task, {name: value for name, value in said.items() if value is not None})

    def send(self, task: str, arguments: dict[str, Any]) -> Answer:
        """Call a task with exactly these arguments.

        Raises:
            StartupError: The server can't be reached.
            Unreadable: What came back isn't an answer.
        """
        return self.transport.call(task, arguments, self._key)

    def log(self, *events: Any, source: str | None = None, **arguments: Any) -> Answer:
        """Log events to the suite's source, or another."""
        return self.call("log_event", event_source_id=source or self.source, events=list(events), **arguments)

    def speaking(self, release: Release | None) -> Seller:
        """The same seller, called in another release; None pins none."""
        other = copy(self)
        other.release = release
        return other

    def holding(self, key: str | None) -> Seller:
        """The same seller, called with another key; None sends none."""
        other = copy(self)
        other._key = key
        return other

    def acting_for(self, account: dict[str, Any]) -> Seller:
        """The same seller, called for an account: core/account-ref.json."""
        other = copy(self)
        other.account = account
        return other

    def in_every_release(self) -> Iterator[Seller]:
        """The same seller, called without a pin and in each release that it serves."""
        for release in (None, *self.releases):
            yield self.speaking(release)

    @property
    def releases(self) -> list[Release]:
        """The releases that it serves; one that names only its major version serves that one's first."""
        said = self.declared("adcp", "supported_versions")
        if isinstance(said, list):
            return [release for release in RELEASES if release in said]
        majors = self.declared("adcp", "major_versions")
        return [RELEASES[0]] if isinstance(majors, list) and 3 in majors else []

    def takes(self, event_type: str) -> bool:
        """Whether it takes this event type: all, unless it lists them."""
        listed = self.declared("media_buy", "conversion_tracking", "supported_event_types")
        return not isinstance(listed, list) or event_type in listed

    def declared(self, *path: str) -> Any:
        """What the capabilities say at a path, as ``("adcp", "idempotency")``; None where they say nothing."""
        found: Any = self.capabilities
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _pin(release: Release | None) -> dict[str, Any]:
    """Both members that pin a release, for the first is all that AdCP 3.0 knew."""
    return {"adcp_major_version": int(release.partition(".")[0]), "adcp_version": release} if release else {}


def event(event_id: str, /, **members: Any) -> dict[str, Any]:
    """An event that is right in every respect but for ``members``; one that is None is left out."""
    whole = {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": rfc3339(datetime.now(UTC) - timedelta(minutes=5)),
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user_match": {"hashed_email": sha256(secrets.token_bytes(16)).hexdigest()},
        "custom_data": {"value": 149.99, "currency": "USD"},
    } | members
    return {name: value for name, value in whole.items() if value is not None}


def too_many_events() -> list[dict[str, Any]]:
    """One more than fit into a call."""
    return [event("many", user_match=None, custom_data=None, event_source_url=None)] * 10_001


def fresh(name: str) -> str:
    """An id that nobody has used."""
    return f"{name}-{secrets.token_hex(6)}"
