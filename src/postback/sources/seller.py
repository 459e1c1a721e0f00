"""The seller's own event sources, read at start from a TOML file; it also says where events are forwarded to.

```toml
[[event_sources]]
account_id = "default"
event_source_id = "store_tills"
name = "Tills of our stores"
event_types = ["purchase"]
value_currencies = ["EUR"]
action_source = "in_store"
max_event_age_days = 30
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from postback.accounts.store import AccountStore
from postback.errors import StartupError
from postback.protocol.enums import EVENT_TYPES
from postback.sources.declared import DeclaredSource, Problem, normalised, problems, structure_problem
from postback.sources.model import EventSource
from postback.sources.registry import AccountSources, SourceRegistry, new_seller_id

__all__ = ["apply_seller_config"]


class _SellerSource(DeclaredSource, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account_id: str
    max_event_age_days: Annotated[int, Meta(ge=1)] | None = None


class _SellerConfig(msgspec.Struct, forbid_unknown_fields=True):
    event_sources: list[dict[str, Any]] = msgspec.field(default_factory=list)
    forwards: list[dict[str, Any]] = msgspec.field(default_factory=list)


def apply_seller_config(path: Path | None, accounts: AccountStore, registry: SourceRegistry) -> list[dict[str, Any]]:
    """Make the seller-managed sources of every account those that the file lists; None lists none.

    A source keeps its seller_id as long as it has its account and event_source_id; one that isn't listed any more is
    archived.

    Returns:
        What the file says of forwarding: its tables ``[[forwards]]``.

    Raises:
        StartupError: The file can't be read or used; the sentence names the place.
    """
    listed, forwards = _read(path) if path else ([], [])
    account_ids = [account.account_id for account in accounts.list()]
    for index, source in enumerate(listed):
        if source.account_id not in account_ids:
            raise StartupError(f"{path}: event_sources[{index}].account_id names no account. Create it first.")
    for account_id in account_ids:
        with registry.edit(account_id) as sources:
            _replace(sources, [source for source in listed if source.account_id == account_id], path)
    return forwards


def _replace(sources: AccountSources, listed: Iterable[_SellerSource], path: Path | None) -> None:
    wanted = {}
    for declared in listed:
        current = sources.by_id.get(declared.event_source_id)
        if current and current.managed_by == "buyer" and not current.archived:
            raise StartupError(
                f"{path}: the account {current.account_id!r} has a source {current.event_source_id!r} of the buyer's. "
                "Choose another event_source_id."
            )
        wanted[declared.event_source_id] = _configured(declared, current)
    dropped = [
        msgspec.structs.replace(source, archived=True)
        for source in sources.by_id.values()
        if source.managed_by == "seller" and source.event_source_id not in wanted and not source.archived
    ]
    changed = [source for id_, source in wanted.items() if source != sources.by_id.get(id_)]
    sources.save([*changed, *dropped])


def _configured(declared: _SellerSource, current: EventSource | None) -> EventSource:
    members = msgspec.structs.asdict(declared)
    if declared.max_event_age_days is None and current:
        members["max_event_age_days"] = current.max_event_age_days  # 'postback sources set' may have set it
    seller_id = current.seller_id if current else new_seller_id()
    return EventSource(seller_id=seller_id, managed_by="seller", **members)


def _read(path: Path) -> tuple[list[_SellerSource], list[dict[str, Any]]]:
    try:
        config = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _SellerConfig)
    except OSError as error:
        raise StartupError(f"The seller's configuration {path} can't be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        raise StartupError(f"{path}: {structure_problem(error).message}") from error
    except ValueError as error:
        raise StartupError(f"{path} is not TOML: {error}.") from error
    listed = [_source(table, f"{path}: event_sources[{index}]") for index, table in enumerate(config.event_sources)]
    seen: set[tuple[str, str]] = set()
    for index, source in enumerate(listed):
        identity = (source.account_id, source.event_source_id)
        if identity in seen:
            raise StartupError(f"{path}: event_sources[{index}] names an event_source_id that an earlier one has.")
        seen.add(identity)
    return listed, config.forwards


def _source(table: dict[str, Any], place: str) -> _SellerSource:
    try:
        source = msgspec.convert(table, _SellerSource)
    except msgspec.ValidationError as error:
        raise _unusable(place, structure_problem(error)) from error
    if found := problems(source, EVENT_TYPES):
        raise _unusable(place, found[0])
    return normalised(source)


def _unusable(place: str, problem: Problem) -> StartupError:
    return StartupError(f"{place}: {problem.message} {problem.suggestion}")
