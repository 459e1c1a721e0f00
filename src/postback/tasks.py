"""The one door for every transport: a task call in, an answer out.

What every task shares happens here, once: the version that is spoken, the rate limit, the idempotency key, the
envelope of the answer and the words for its errors. A transport brings bytes and a principal; a task function brings
the payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import Connection

from postback.accounts.listing import list_accounts
from postback.accounts.sync import sync_accounts
from postback.arguments import Arguments, pin_of
from postback.capabilities import CAPABILITIES_BLANK, get_adcp_capabilities
from postback.credentials import refuse_credentials
from postback.delivery.report import DELIVERY_BLANK, get_media_buy_delivery
from postback.delivery.totals import report_totals
from postback.envelope import failure, success
from postback.errors import (
    CredentialInArguments,
    IdempotencyConflict,
    InvalidRequest,
    PermissionDenied,
    PostbackError,
    UnsupportedTask,
)
from postback.exposures.links import create_click_link
from postback.exposures.log_exposures import log_exposures
from postback.idempotency import Keep, Keeper, Scope
from postback.ingest.log_event import log_event
from postback.media_buys.create import create_media_buy
from postback.media_buys.discovery import get_products
from postback.media_buys.listing import get_media_buys
from postback.media_buys.update import update_media_buy
from postback.principal import SCOPES, Principal
from postback.protocol.differences import needs_key
from postback.protocol.releases import Release, negotiate
from postback.sandbox.admission import admit
from postback.sandbox.controller import comply_test_controller
from postback.sources.sync import sync_event_sources

if TYPE_CHECKING:
    from postback.services import Services

__all__ = ["SELLER_TASKS", "TASKS", "Answer", "Call", "TaskCall", "Transport", "offered", "require_scope", "run"]

Transport = Literal["rest", "mcp", "a2a"]
Work = Callable[[], Awaitable[dict[str, Any]]]
ControlWork = Callable[[Keep], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """A task call, as a transport received it.

    Attributes:
        task: The AdCP task's name, as ``log_event``.
        arguments: The task's arguments: the bytes of one JSON object, inflated and bounded, not yet parsed.
        principal: Who calls.
        request_id: Identifies this call in the log and in the answer.
        transport: Which door it came through; for metrics only.
    """

    task: str
    arguments: bytes
    principal: Principal
    request_id: str
    transport: Transport


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task answers: a JSON object, and the error it reports when the call failed as a whole."""

    body: dict[str, Any]
    error: PostbackError | None = None

    @property
    def failed(self) -> bool:
        """Whether the call failed, or the test controller's scenario, which is no error of AdCP's."""
        return self.error is not None or self.body.get("success") is False


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A call as a task function sees it: parsed, its release negotiated.

    Attributes:
        services: The opened resources.
        task: The task's name.
        principal: Who calls.
        request_id: Identifies the call in the log.
        arguments: The call's members.
        release: The AdCP release that is spoken; None for the seed's dialect.
        idempotency_key: The caller's key, or None.
    """

    services: Services
    task: str
    principal: Principal
    request_id: str
    arguments: Arguments
    release: Release | None
    idempotency_key: str | None

    async def once(self, account_id: str, fingerprint: bytes, work: Work) -> dict[str, Any]:
        """Do the work, unless this call was answered before: then give that answer again.

        Two calls with one key follow each other. Only success is kept, so a failed call may be corrected under its key.

        Raises:
            IdempotencyConflict: The key was used for something else.
        """
        async with self._claimed(account_id, fingerprint) as (keep, replay):
            if replay is not None:
                return replay
            answer = await work()
            if keep:
                await keep.by_itself(answer)
            return answer

    async def once_in_control(self, account_id: str, fingerprint: bytes, work: ControlWork) -> dict[str, Any]:
        """The same for work that lies in the control store, and keeps its answer in the transaction that it is done in.

        After a crash there are both or neither, so that a retry neither does it again nor judges it anew.
        """
        async with self._claimed(account_id, fingerprint) as (keep, replay):
            if replay is not None:
                return replay
            return await asyncio.to_thread(work, keep.within if keep else _keep_nothing)

    @asynccontextmanager
    async def _claimed(
        self, account_id: str, fingerprint: bytes
    ) -> AsyncIterator[tuple[Keeper | None, dict[str, Any] | None]]:
        """Hold the call's key: what keeps its answer, and the answer that was kept earlier; None without a key."""
        if self.idempotency_key is None:
            yield None, None
            return
        records = self.services.idempotency
        scope = Scope(self.principal.key_id, account_id, self.idempotency_key)
        async with records.claim(scope):
            record = await records.find(scope)
            if record and (record.task, record.fingerprint) != (self.task, fingerprint):
                raise IdempotencyConflict(
                    "This idempotency_key was used for a different call within the last 24 hours. "
                    "Use a fresh one for a new call, and repeat the original call unchanged to retry it."
                )
            replay = {**msgspec.json.decode(record.answer), "replayed": True} if record else None
            yield Keeper(records, scope, self.task, fingerprint), replay


def _keep_nothing(_: Connection, __: dict[str, Any]) -> None:
    """For calls without a key."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A task that is offered.

    Attributes:
        function: Does the work; returns the answer's payload.
        mutating: Whether it changes state.
        scope: Which keys may call it, one of SCOPES; ``both``: any.
        blank: What the schema of its answer requires even of a failure.
        sandbox_only: Whether only sandboxes offer it.
    """

    function: Callable[[TaskCall], Awaitable[dict[str, Any]]]
    mutating: bool
    scope: str = "both"
    blank: Mapping[str, Any] = field(default_factory=dict)
    sandbox_only: bool = False


TASKS: dict[str, _Task] = {
    "get_adcp_capabilities": _Task(get_adcp_capabilities, mutating=False, blank=CAPABILITIES_BLANK),
    "list_accounts": _Task(list_accounts, mutating=False, blank={"accounts": []}),
    "sync_accounts": _Task(sync_accounts, mutating=True),
    "sync_event_sources": _Task(sync_event_sources, mutating=True, scope="buyer"),
    "log_event": _Task(log_event, mutating=True, scope="buyer"),
    "get_products": _Task(get_products, mutating=False, blank={"products": [], "cache_scope": "public"}),
    "create_media_buy": _Task(create_media_buy, mutating=True),
    "update_media_buy": _Task(update_media_buy, mutating=True),
    "get_media_buy_delivery": _Task(get_media_buy_delivery, mutating=False, blank=DELIVERY_BLANK),
    "get_media_buys": _Task(get_media_buys, mutating=False, blank={"media_buys": []}),
    "comply_test_controller": _Task(
        comply_test_controller, mutating=True, blank={"success": False, "error": "INVALID_PARAMS"}, sandbox_only=True
    ),
}
"""Every AdCP task; ``offered`` says which of them a server offers."""

_SEED_TASKS = frozenset({"log_event", "sync_event_sources"})
_KEYLESS = frozenset({"comply_test_controller"})
"""What changes state and needs no key: official runners send none."""

SELLER_TASKS: dict[str, _Task] = {
    "exposures": _Task(log_exposures, mutating=True, scope="seller"),
    "delivery": _Task(report_totals, mutating=True, scope="seller"),
    "click-links": _Task(create_click_link, mutating=False, scope="seller"),
}
"""What sellers report, over REST only; not AdCP's."""


async def run(services: Services, call: Call) -> Answer:
    """Run one task. Never raises a PostbackError: a failure is an answer too."""
    release: Release | None = None
    context: object = None
    try:
        try:
            arguments = Arguments(call.arguments)
        except PostbackError:  # told in the words of the release, where that much can be read
            release = negotiate(*pin_of(call.arguments))
            raise
        try:
            release = negotiate(arguments.value("adcp_version"), arguments.value("adcp_major_version"))
        finally:  # echoed even when no release fits the pin
            context = arguments.context()
        services.limits.hit_request(call.principal.key_id)
        task = _task(services, call)
        principal = call.principal
        require_scope(principal, task.scope)
        refuse_credentials(arguments)
        if services.settings.sandbox:
            principal, arguments = await admit(services, principal, arguments)
        key = arguments.idempotency_key()
        if key is None and _needs_key(call.task, release):
            raise InvalidRequest(
                f"idempotency_key is required: {call.task} changes state.",
                field="idempotency_key",
                suggestion="Send a fresh UUID for each new call, and the same one for each retry.",
            )
        payload = await task.function(
            TaskCall(services, call.task, principal, call.request_id, arguments, release, key)
        )
        return Answer(success(payload, release, call.request_id, context))
    except PostbackError as error:
        if isinstance(error, CredentialInArguments):
            context = None
        blank = TASKS[call.task].blank if call.task in TASKS else {}
        return Answer({**failure(error, release, call.request_id, context), **blank}, error)


def _needs_key(task: str, release: Release | None) -> bool:
    """Whether a call needs an idempotency_key: AdCP requires it; the seed's dialect, which has two tasks, doesn't."""
    changes = task in TASKS and TASKS[task].mutating and task not in _KEYLESS
    return changes and (needs_key(release) or task not in _SEED_TASKS)


def offered(sandbox: bool) -> list[str]:
    """The names of the AdCP tasks that a server offers."""
    return [name for name, task in TASKS.items() if sandbox or not task.sandbox_only]


def _task(services: Services, call: Call) -> _Task:
    names = offered(services.settings.sandbox)
    task = TASKS[call.task] if call.task in names else None
    if task is None and call.transport == "rest":
        task = SELLER_TASKS.get(call.task)
    if task is None:
        raise UnsupportedTask("This server does not offer that task.", details={"supported_tasks": sorted(names)})
    return task


def require_scope(principal: Principal, scope: str) -> None:
    """See that the caller's key may do what is for one of SCOPES.

    Raises:
        PermissionDenied: It may not.
    """
    if not SCOPES[scope] & principal.scopes:
        raise PermissionDenied(f"Your API key is not for {scope}s, and this call is.")
