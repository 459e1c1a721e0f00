"""An event source, as Postback keeps it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["EventSource"]


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """One configured event source (media-buy/sync-event-sources-request.json).

    Attributes:
        account_id: The account it belongs to.
        event_source_id: The buyer's identifier; unique within the account.
        seller_id: Our identifier; unique overall and accepted wherever event_source_id is.
        managed_by: "buyer" for those that a sync created, "seller" for those from the seller's configuration.
        event_types: The event types it takes; None takes all.
        value_currencies: ISO 4217 codes it takes for monetary values; None takes all.
        action_source: Where its events originate by default, or None.
        allowed_domains: Hosts (with their subdomains) that event_source_url may name; None allows all.
        surface: core/event-surface.json, kept as sent, or None.
        max_event_age_days: Oldest event it takes, in days; None means the server's setting.
        archived: Deleted by a sync; its events stay.
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
    archived: bool = False
