"""sync_event_sources: declare an account's event sources, or discover those that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from postback.accounts.permissions import require_open
from postback.accounts.references import AccountArgument, resolve_account
from postback.auth.principal import Account
from postback.errors import InvalidRequest
from postback.event_sources.entries import MAX_ENTRIES, SourceEntry, read_entries
from postback.event_sources.event_source import EventSource
from postback.event_sources.health import SourceHealth
from postback.event_sources.setup_snippets import SourceSetup, setup
from postback.event_sources.store import AccountSources, new_seller_id
from postback.event_sources.tag_settings import PostbackSourceExt, SourceExt
from postback.event_sources.validation import DeclarationError, DeclaredEntry, SourceSettings
from postback.protocol.enums import EVENT_TYPES, accepted_event_types, released_event_types
from postback.protocol.envelope import IDEMPOTENCY_KEY_EXAMPLE, ErrorObject, error_object
from postback.protocol.json_schema import published_as, word
from postback.protocol.releases import Release
from postback.store.idempotency import SaveIn
from postback.tasks.call import Payload, TaskCall
from postback.tasks.source_health import Traffic, account_traffic
from postback.tasks.task import Task

__all__ = ["SYNC_EVENT_SOURCES", "SyncEventSourcesRequest", "SyncEventSourcesResponse", "sync_event_sources"]

_DECLARED = SourceSettings.__struct_fields__

_TOO_MANY = DeclarationError(
    "event_source_id",
    "The account has as many event sources as it may have, deleted ones included.",
    "Use one that it has, or ask the seller for more.",
)

Action = Literal["created", "updated", "unchanged", "deleted", "failed"]


_Entries = Annotated[
    list[DeclaredEntry],
    Meta(min_length=1, max_length=MAX_ENTRIES, description="Sources to create, or to replace the settings of."),
]


class SyncEventSourcesRequest(msgspec.Struct):
    """The task's own arguments (media-buy/sync-event-sources-request.json); each entry is decoded on its own."""

    account: AccountArgument = None
    event_sources: Annotated[list[msgspec.Raw], published_as(_Entries)] | None = None
    delete_missing: Annotated[
        bool, Meta(description="Remove the sources that you created and that the call doesn't list.")
    ] = False


class SyncedSource(SourceSettings, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of media-buy/sync-event-sources-response.json."""

    event_types: Annotated[
        tuple[Annotated[str, word(EVENT_TYPES, "An event type.")], ...] | None,
        Meta(description="Event types that it accepts, of those that the release knows; all when absent."),
    ] = None
    event_source_id: Annotated[str, Meta(description="The buyer's identifier; index:3 for one that can't be read.")]
    action: Annotated[Action, Meta(description="What was done with the source.")]
    seller_id: (
        Annotated[str, Meta(description="The seller's identifier; works as event_source_id too.")] | UnsetType
    ) = UNSET
    managed_by: Annotated[Literal["buyer", "seller"] | UnsetType, Meta(description="Who may change it.")] = UNSET
    setup: Annotated[SourceSetup | UnsetType, Meta(description="How to activate it.")] = UNSET
    health: Annotated[SourceHealth | UnsetType, Meta(description="How it does.")] = UNSET
    errors: Annotated[list[ErrorObject] | UnsetType, Meta(description="Why the action failed.")] = UNSET
    ext: Annotated[SourceExt | UnsetType, Meta(description="Extensions.")] = UNSET


class SyncEventSourcesResponse(msgspec.Struct):
    """The success arm of media-buy/sync-event-sources-response.json, without the envelope."""

    event_sources: Annotated[
        list[SyncedSource], Meta(description="Those of the call in its order, then the account's others.")
    ]
    sandbox: Annotated[bool | UnsetType, Meta(description="True: the account is a sandbox.")] = UNSET


class SourceOutcome(NamedTuple):
    """The result for one source or entry.

    Attributes:
        action: The ``action`` of the response.
        event_source_id: The source's; ``index:3`` for an entry whose id is malformed.
        source: The source after the call; None if the entry failed.
        errors: Why the entry failed.
    """

    action: Action
    event_source_id: str
    source: EventSource | None = None
    errors: Sequence[InvalidRequest] = ()


async def sync_event_sources(call: TaskCall) -> Payload:
    """Apply the call's entries to the account, each on its own, and list all its sources.

    Returns:
        A SyncEventSourcesResponse.

    Raises:
        InvalidRequest: ``event_sources`` is not a list, is empty or is too long.
        AccountRequired, AccountNotFound, AccountAmbiguous: The reference doesn't match exactly one account.
        AccountSetupRequired, AccountSuspended: The account's status doesn't allow it.
        IdempotencyConflict: The key was used for another call.
        StoreUnavailable: A store is unavailable; nothing is changed.
    """
    request = call.arguments.to(SyncEventSourcesRequest)
    account = resolve_account(call.principal, request.account)
    raws = [bytes(raw) for raw in request.event_sources or ()]
    entries = None
    if request.event_sources is not None:
        entries = await call.services.threads.compute.run(read_entries, raws, accepted_event_types(call.release))

    async def sync(save_in: SaveIn) -> SyncEventSourcesResponse:
        require_open(account)
        traffic = await call.services.read_events(
            [account.account_id], account_traffic, call.services, account.account_id
        )
        answer, declared = await call.services.threads.control.run(
            _sync, call, request, account, entries, traffic, save_in
        )
        call.services.forwarding.wake(declared)
        return answer

    return await call.once_in_control(account.account_id, call.arguments.fingerprint(), sync)


def _sync(
    call: TaskCall,
    request: SyncEventSourcesRequest,
    account: Account,
    entries: Sequence[SourceEntry] | None,
    traffic: Traffic,
    save_in: SaveIn,
) -> tuple[SyncEventSourcesResponse, frozenset[str]]:
    """The response, and the destinations that have declarations in the outbox; one transaction stores it all."""
    delete_missing = request.delete_missing and entries is not None
    with call.services.sources.edit(account.account_id) as sources:
        most = call.services.settings.event_sources
        outcomes = _apply(sources, account.account_id, entries or (), delete_missing, most)
        response = _response(call, account, outcomes, sources.by_id, traffic)
        # The entries' outcomes come first and in their order.
        synced = zip(outcomes, request.event_sources or (), strict=False)
        raws = {outcome.event_source_id: raw for outcome, raw in synced if outcome.action != "failed"}
        declared = call.services.forwarding.declare(sources.connection, call.principal.key_id, account.account_id, raws)
        save_in(sources.connection, response)
    return response, declared


def _response(
    call: TaskCall,
    account: Account,
    outcomes: Iterable[SourceOutcome],
    stored: Mapping[str, EventSource],
    traffic: Traffic,
) -> SyncEventSourcesResponse:
    now = call.services.clock.utc()
    results = []
    for outcome in outcomes:
        result = _described(outcome, call.release)
        if outcome.source and outcome.action != "deleted":
            health = traffic.health(stored[outcome.event_source_id], now)
            source_setup = setup(outcome.source, call.services.settings.public_url, call.services.tag_script)
            result = msgspec.structs.replace(result, setup=source_setup, health=health)
        results.append(result)
    return SyncEventSourcesResponse(results, sandbox=account.sandbox or UNSET)


def _apply(
    sources: AccountSources, account_id: str, entries: Sequence[SourceEntry], delete_missing: bool, most: int
) -> list[SourceOutcome]:
    """Save what the entries declare; there may be so many sources at ``most``, deleted ones included.

    Returns:
        The entries' outcomes in their order, then those of the other sources.
    """
    mentioned = {entry.event_source_id for entry in entries}
    # An entry whose id is malformed may mean any source, so no source can be called missing.
    delete_missing = delete_missing and "" not in mentioned
    others = [source for id_, source in sorted(sources.by_id.items()) if id_ not in mentioned]
    outcomes = [
        *_synced(account_id, sources.by_id, entries, most),
        *(_other(source, delete_missing) for source in others if not source.archived),
    ]
    sources.save(o.source for o in outcomes if o.source and o.action != "unchanged")
    return outcomes


def _synced(
    account_id: str, existing: Mapping[str, EventSource], entries: Iterable[SourceEntry], most: int
) -> list[SourceOutcome]:
    synced: list[SourceOutcome] = []
    room = most - len(existing)
    earlier: set[str] = set()
    seller_ids = {source.seller_id for source in existing.values()}
    for index, (id_, declared, errors) in enumerate(entries):
        current = existing.get(id_)
        errors = errors or _conflicts(id_, current, earlier, seller_ids)
        if current is None and not errors:
            errors = [] if room > 0 else [_TOO_MANY]
            room -= 1
        if errors or declared is None:
            request_errors = [_request_error(index, error) for error in errors]
            synced.append(SourceOutcome("failed", id_ or f"index:{index}", errors=request_errors))
        else:
            synced.append(_upserted(account_id, current, declared))
        earlier.add(id_)
    return synced


def _conflicts(
    id_: str, current: EventSource | None, earlier: set[str], seller_ids: set[str]
) -> list[DeclarationError]:
    if id_ in earlier:
        message, suggestion = "An earlier entry has the same event_source_id.", "Name each event source once in a call."
    elif current and current.managed_by == "seller" and not current.archived:
        message, suggestion = "The seller manages this event source.", "Choose another event_source_id."
    elif id_ in seller_ids:
        message, suggestion = "This is the seller_id of one of your event sources.", "Use its event_source_id here."
    else:
        return []
    return [DeclarationError("event_source_id", message, suggestion)]


def _upserted(account_id: str, current: EventSource | None, declared: DeclaredEntry) -> SourceOutcome:
    id_ = declared.event_source_id
    fields: dict[str, Any] = {field: getattr(declared, field) for field in _DECLARED}
    if declared.tag:  # a caller that knows nothing of it must not take a site's consent back
        fields["tag"] = declared.tag
    if current is None:
        source = EventSource(account_id=account_id, event_source_id=id_, seller_id=new_seller_id(), **fields)
        return SourceOutcome("created", id_, source)
    source = msgspec.structs.replace(current, managed_by="buyer", archived=False, archived_at=None, **fields)
    if current.archived:
        return SourceOutcome("created", id_, source)
    return SourceOutcome("unchanged" if source == current else "updated", id_, source)


def _other(source: EventSource, delete: bool) -> SourceOutcome:
    if delete and source.managed_by == "buyer":
        return SourceOutcome("deleted", source.event_source_id, msgspec.structs.replace(source, archived=True))
    return SourceOutcome("unchanged", source.event_source_id, source)


def _request_error(index: int, error: DeclarationError) -> InvalidRequest:
    path = f"event_sources[{index}]"
    field = f"{path}.{error.field}" if error.field else path
    return InvalidRequest(error.message, field=field, suggestion=error.suggestion)


def _described(outcome: SourceOutcome, release: Release | None) -> SyncedSource:
    """The outcome as the response shows it, with the event types that the release knows."""
    source = outcome.source
    if source is None:
        errors = [error_object(error, release) for error in outcome.errors]
        return SyncedSource(event_source_id=outcome.event_source_id, action=outcome.action, errors=errors or UNSET)
    settings = {field: getattr(source, field) for field in _DECLARED}
    if source.event_types:
        known = released_event_types(release)
        settings["event_types"] = tuple(event_type for event_type in source.event_types if event_type in known)
    return SyncedSource(
        event_source_id=outcome.event_source_id,
        action=outcome.action,
        seller_id=source.seller_id,
        managed_by=source.managed_by,
        ext=SourceExt(PostbackSourceExt(source.tag)) if source.tag else UNSET,
        **settings,
    )


SYNC_EVENT_SOURCES = Task(
    name="sync_event_sources",
    title="Sync event sources",
    description=(
        "Set up where conversions come from (a website, an app, a shop) before logging events; each source gets "
        "set-up instructions and health. Creates the listed sources or replaces their settings. Without "
        "event_sources it only lists what exists. delete_missing removes those that the call doesn't list."
    ),
    function=sync_event_sources,
    request=SyncEventSourcesRequest,
    response=SyncEventSourcesResponse,
    example={
        "idempotency_key": IDEMPOTENCY_KEY_EXAMPLE,
        "event_sources": [{"event_source_id": "website", "event_types": ["purchase", "lead"]}],
    },
    mutating=True,
    key="when_pinned",
    scope="buyer",
)
