"""The seller's own event sources, read at startup from a TOML file that also lists destinations of events and alerts.

```toml
[[event_sources]]
account_id = "default"
event_source_id = "store_tills"
name = "Tills of our stores"
event_types = ["purchase"]
value_currencies = ["EUR"]
action_source = "in_store"
max_event_age_days = 30

[[event_sources]]
account_id = "default"
event_source_id = "shop"
action_source = "website"
allowed_domains = ["shop.example"]
tag = { page_view = true, consent_required = true }
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from postback.accounts.store import AccountStore
from postback.errors import StartupError
from postback.event_sources.event_source import EventSource
from postback.event_sources.store import AccountSources, SourceRegistry, new_seller_id
from postback.event_sources.tag_settings import TagSettings
from postback.event_sources.validation import (
    DeclarationError,
    DeclaredSource,
    declaration_errors,
    normalized,
    structure_error,
    tag_errors,
)
from postback.protocol.enums import EVENT_TYPES

__all__ = ["DeclaredDestinations", "apply_seller_config"]


class _SellerSource(DeclaredSource, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account_id: str
    max_event_age_days: Annotated[int, Meta(ge=1)] | None = None
    tag: TagSettings | None = None


class DeclaredDestinations(NamedTuple):
    """What the file says of destinations: its tables ``[[forwards]]`` and ``[[alerts]]``."""

    forwards: Sequence[dict[str, Any]] = ()
    alerts: Sequence[dict[str, Any]] = ()


class _SellerConfig(msgspec.Struct, forbid_unknown_fields=True):
    event_sources: list[dict[str, Any]] = msgspec.field(default_factory=list)
    forwards: list[dict[str, Any]] = msgspec.field(default_factory=list)
    alerts: list[dict[str, Any]] = msgspec.field(default_factory=list)


def apply_seller_config(path: Path | None, accounts: AccountStore, registry: SourceRegistry) -> DeclaredDestinations:
    """Replace the seller-managed sources of every account with those in the file; with none if ``path`` is None.

    A source's seller_id stays the same while its account and event_source_id do. Sources that are no longer listed are
    archived.

    Returns:
        What the file says of destinations.

    Raises:
        StartupError: The file is unreadable or invalid; the message names the place.
    """
    listed, destinations = _read(path) if path else ([], DeclaredDestinations())
    account_ids = [account.account_id for account in accounts.list()]
    for index, source in enumerate(listed):
        if source.account_id not in account_ids:
            raise StartupError(
                f"{path}: event_sources[{index}].account_id names an account that does not exist. Create it first."
            )
    for account_id in account_ids:
        with registry.edit(account_id) as sources:
            _replace(sources, [source for source in listed if source.account_id == account_id], path)
    return destinations


def _replace(sources: AccountSources, listed: Iterable[_SellerSource], path: Path | None) -> None:
    configured = {}
    for declared in listed:
        current = sources.by_id.get(declared.event_source_id)
        if current and current.managed_by == "buyer" and not current.archived:
            raise StartupError(
                f"{path}: the buyer of account {current.account_id!r} already has an event source "
                f"{current.event_source_id!r}. Choose another event_source_id."
            )
        configured[declared.event_source_id] = _configured(declared, current)
    removed = [
        msgspec.structs.replace(source, archived=True)
        for source in sources.by_id.values()
        if source.managed_by == "seller" and source.event_source_id not in configured and not source.archived
    ]
    changed = [source for id_, source in configured.items() if source != sources.by_id.get(id_)]
    sources.save([*changed, *removed])


def _configured(declared: _SellerSource, current: EventSource | None) -> EventSource:
    fields = msgspec.structs.asdict(declared)
    if declared.max_event_age_days is None and current:
        fields["max_event_age_days"] = current.max_event_age_days  # 'postback sources set' may have set it
    if current is None:
        return EventSource(seller_id=new_seller_id(), managed_by="seller", **fields)
    return EventSource(seller_id=current.seller_id, managed_by="seller", restored_at=current.restored_at, **fields)


def _read(path: Path) -> tuple[list[_SellerSource], DeclaredDestinations]:
    try:
        config = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _SellerConfig)
    except OSError as error:
        raise StartupError(f"The seller configuration {path} can't be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        raise StartupError(f"{path}: {structure_error(error).message}") from error
    except ValueError as error:
        raise StartupError(f"{path} is not valid TOML: {error}.") from error
    listed = [_source(table, f"{path}: event_sources[{index}]") for index, table in enumerate(config.event_sources)]
    seen: set[tuple[str, str]] = set()
    for index, source in enumerate(listed):
        identity = (source.account_id, source.event_source_id)
        if identity in seen:
            raise StartupError(
                f"{path}: event_sources[{index}] has the event_source_id of an earlier one. Use each once per account."
            )
        seen.add(identity)
    return listed, DeclaredDestinations(config.forwards, config.alerts)


def _source(table: dict[str, Any], place: str) -> _SellerSource:
    try:
        source = msgspec.convert(table, _SellerSource)
    except msgspec.ValidationError as error:
        raise _invalid(place, structure_error(error)) from error
    if errors := [*declaration_errors(source, EVENT_TYPES), *tag_errors(source.tag, source, "tag")]:
        raise _invalid(place, errors[0])
    return normalized(source)


def _invalid(place: str, error: DeclarationError) -> StartupError:
    return StartupError(f"{place}: {error.message} {error.suggestion}")
