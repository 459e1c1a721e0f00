"""An event source, as Postback stores it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from postback.event_sources.tag_settings import TagSettings
from postback.protocol.hostnames import normal_hostname

__all__ = ["EventSource"]


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """One configured event source (media-buy/sync-event-sources-request.json).

    Attributes:
        account_id: The account it belongs to.
        event_source_id: The buyer's identifier; unique within the account.
        seller_id: Our identifier; globally unique and accepted wherever event_source_id is.
        managed_by: "buyer" for sources that a sync created, "seller" for those in the seller's configuration.
        event_types: The event types it accepts; None accepts all.
        value_currencies: The ISO 4217 codes it accepts for monetary values; None accepts all.
        action_source: The default action_source of its events, or None.
        allowed_domains: Hosts (and their subdomains) that event_source_url may have; None allows all.
        surface: core/event-surface.json, stored as sent, or None.
        max_event_age_days: Maximum age of an event in days; None means the server's setting.
        tag: The settings of its browser tag; None: the defaults.
        archived: Whether it is deleted; its events stay.
        archived_at: When it was deleted, in seconds since the epoch, or None.
        restored_at: When it was last created again, or its account opened again, in seconds since the epoch, or None.
    """

    account_id: str
    event_source_id: str
    seller_id: str
    managed_by: Literal["buyer", "seller"] = "buyer"
    name: str | None = None
    event_types: tuple[str, ...] | None = None
    value_currencies: tuple[str, ...] | None = None
    action_source: str | None = None
    allowed_domains: tuple[str, ...] | None = None
    surface: dict[str, Any] | None = None
    max_event_age_days: int | None = None
    tag: TagSettings | None = None
    archived: bool = False
    archived_at: int | None = None
    restored_at: int | None = None

    def watched_since(self, server_watches_since: datetime) -> datetime:
        """Since when its events could arrive: a server has been there since then, and it was not deleted."""
        return max(server_watches_since, datetime.fromtimestamp(self.restored_at or 0, UTC))

    @property
    def domains(self) -> tuple[str, ...]:
        """The allowed_domains, normal and with a leading dot."""
        return tuple(f".{normal_hostname(domain) or domain}" for domain in self.allowed_domains or ())
