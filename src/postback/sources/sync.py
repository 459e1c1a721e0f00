"""sync_event_sources: declare an account's event sources, or discover those that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from postback.accounts.references import resolve_account
from postback.accounts.standing import require_open
from postback.envelope import error_object
from postback.errors import InvalidRequest
from postback.principal import Account
from postback.protocol.enums import released_event_types
from postback.protocol.releases import Release
from postback.sources.declared import DeclaredSource, Problem
from postback.sources.entries import Entry, read_entries
from postback.sources.health import assess
from postback.sources.model import EventSource
from postback.sources.registry import SourceRegistry, new_seller_id
from postback.sources.snippets import setup

if TYPE_CHECKING:
    from postback.services import Services
    from postback.tasks import TaskCall

__all__ = ["SyncEventSourcesRequest", "sync_event_sources"]

_DECLARED = tuple(field for field in DeclaredSource.__struct_fields__ if field != "event_source_id")
_SHOWN = ("seller_id", "managed_by", *_DECLARED)

Action = Literal["created", "updated", "unchanged", "deleted", "failed"]


class SyncEventSourcesRequest(msgspec.Struct):
    """The task's own arguments (media-buy/sync-event-sources-request.json); each entry is decoded alone.

    Attributes:
        account: core/account-ref.json; None means the only account.
        event_sources: The sources to create or update; None discovers.
        delete_missing: Whether buyer-managed sources that aren't among them are archived.
    """

    account: Any = None
    event_sources: list[msgspec.Raw] | None = None
    delete_missing: bool = False


class Outcome(NamedTuple):
    """What became of one source, or of an entry.

    Attributes:
        action: As the answer says it.
        event_source_id: The source's; ``index:3`` for an entry whose id can't be read.
        source: The source as it is now; None when the entry failed.
        errors: Why the entry failed.
    """

    action: Action
    event_source_id: str
    source: EventSource | None = None
    errors: Sequence[InvalidRequest] = ()


async def sync_event_sources(call: TaskCall) -> dict[str, Any]:
    """Apply the call's entries to the account, each on its own, and list all its sources.

    Returns:
        The success arm of media-buy/sync-event-sources-response.json, without the envelope.

    Raises:
        InvalidRequest: ``event_sources`` is no list, empty or too long.
        AccountRequired, AccountNotFound, AccountAmbiguous: No single account fits.
        AccountSetupRequired, AccountSuspended: The account takes nothing.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store doesn't answer; nothing was changed.
    """
    request = call.arguments.to(SyncEventSourcesRequest)
    account = resolve_account(call.principal, request.account)
    raws = [bytes(raw) for raw in request.event_sources or ()]
    entries = None
    if request.event_sources is not None:
        entries = await asyncio.to_thread(read_entries, raws, released_event_types(call.release))

    async def sync() -> dict[str, Any]:
        require_open(account)
        answer = await asyncio.to_thread(_sync, call.services, account, entries, request.delete_missing, call.release)
        # The entries' outcomes come first and in their order.
        synced = zip(answer["event_sources"], request.event_sources or (), strict=False)
        declared = {told["event_source_id"]: raw for told, raw in synced if told["action"] != "failed"}
        await call.services.forwarding.declare(call.principal.key_id, account.account_id, declared)
        return answer

    return await call.once(account.account_id, call.arguments.fingerprint(), sync)


def _sync(
    services: Services, account: Account, entries: list[Entry] | None, delete_missing: bool, release: Release | None
) -> dict[str, Any]:
    activity = services.events.activity(account.account_id)
    matching = services.events.matching(account.account_id)
    if entries is None:
        outcomes = _discover(services.sources, account.account_id)
    else:
        outcomes = _apply(services.sources, account.account_id, entries, delete_missing)
    now = datetime.now(UTC)
    results = []
    for outcome in outcomes:
        result = _described(outcome, release)
        if outcome.source and outcome.action != "deleted":
            result["setup"] = setup(outcome.source, services.settings.public_url)
            result["health"] = assess(activity.get(outcome.event_source_id), matching.get(outcome.event_source_id), now)
        results.append(result)
    return {"event_sources": results} | ({"sandbox": True} if account.sandbox else {})


def _discover(registry: SourceRegistry, account_id: str) -> list[Outcome]:
    return [Outcome("unchanged", source.event_source_id, source) for source in registry.list(account_id)]


def _apply(registry: SourceRegistry, account_id: str, entries: list[Entry], delete_missing: bool) -> list[Outcome]:
    """Save what the entries declare. Returns the entries' outcomes in their order, then those of the other sources."""
    mentioned = {entry.event_source_id for entry in entries}
    # An entry whose id can't be read may mean any source: then none is known to be missing.
    delete_missing = delete_missing and "" not in mentioned
    with registry.edit(account_id) as sources:
        others = [source for id_, source in sorted(sources.by_id.items()) if id_ not in mentioned]
        outcomes = [
            *_synced(account_id, sources.by_id, entries),
            *(_other(source, delete_missing) for source in others if not source.archived),
        ]
        sources.save(o.source for o in outcomes if o.source and o.action != "unchanged")
    return outcomes


def _synced(account_id: str, existing: Mapping[str, EventSource], entries: Iterable[Entry]) -> list[Outcome]:
    synced = []
    earlier: set[str] = set()
    seller_ids = {source.seller_id for source in existing.values()}
    for index, (id_, declared, problems) in enumerate(entries):
        current = existing.get(id_)
        problems = problems or _conflicts(id_, current, earlier, seller_ids)
        if problems or declared is None:
            errors = [_error(index, problem) for problem in problems]
            synced.append(Outcome("failed", id_ or f"index:{index}", errors=errors))
        else:
            synced.append(_upserted(account_id, current, declared))
        earlier.add(id_)
    return synced


def _conflicts(id_: str, current: EventSource | None, earlier: set[str], seller_ids: set[str]) -> list[Problem]:
    if id_ in earlier:
        message, suggestion = "An earlier entry has the same event_source_id.", "Name each event source once in a call."
    elif current and current.managed_by == "seller" and not current.archived:
        message, suggestion = "The seller manages this event source.", "Choose another event_source_id for yours."
    elif id_ in seller_ids:
        message, suggestion = "This is the seller_id of one of your event sources.", "Use its event_source_id here."
    else:
        return []
    return [Problem("event_source_id", message, suggestion)]


def _upserted(account_id: str, current: EventSource | None, declared: DeclaredSource) -> Outcome:
    id_ = declared.event_source_id
    members: dict[str, Any] = {field: getattr(declared, field) for field in _DECLARED}
    if current is None:
        source = EventSource(account_id=account_id, event_source_id=id_, seller_id=new_seller_id(), **members)
        return Outcome("created", id_, source)
    source = msgspec.structs.replace(current, managed_by="buyer", archived=False, **members)
    if current.archived:
        return Outcome("created", id_, source)
    return Outcome("unchanged" if source == current else "updated", id_, source)


def _other(source: EventSource, delete: bool) -> Outcome:
    if delete and source.managed_by == "buyer":
        return Outcome("deleted", source.event_source_id, msgspec.structs.replace(source, archived=True))
    return Outcome("unchanged", source.event_source_id, source)


def _error(index: int, problem: Problem) -> InvalidRequest:
    path = f"event_sources[{index}]"
    field = f"{path}.{problem.field}" if problem.field else path
    return InvalidRequest(problem.message, field=field, suggestion=problem.suggestion)


def _described(outcome: Outcome, release: Release | None) -> dict[str, Any]:
    """The outcome as the answer shows it, in the words that the release knows."""
    shown: dict[str, Any] = {"event_source_id": outcome.event_source_id, "action": outcome.action}
    if outcome.errors:
        shown["errors"] = [error_object(error, release) for error in outcome.errors]
    source = outcome.source
    if source is None:
        return shown
    members = msgspec.to_builtins(source)
    shown |= {field: members[field] for field in _SHOWN if members[field] is not None}
    if source.event_types:
        known = released_event_types(release)
        shown["event_types"] = [event_type for event_type in source.event_types if event_type in known]
    return shown
