"""A call as a task function sees it, and the stored response that makes a retry safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection

from postback.auth.principal import Principal
from postback.errors import IdempotencyConflict, RequestError
from postback.protocol.releases import Release
from postback.services import Services
from postback.store.idempotency import (
    AnsweredElsewhere,
    IdempotencyScope,
    IdempotencyStore,
    LoggedAnswer,
    SaveIn,
    StoredResponse,
)
from postback.store.rows import Rows
from postback.store.stored_answers import pack_answer, unpack_answer
from postback.tasks.arguments import Arguments

__all__ = ["ControlWork", "LogCall", "LogWork", "Payload", "ResponseSaver", "TaskCall"]

Payload = msgspec.Struct | dict[str, Any]
"""What a task function returns: its response struct, or the one of an earlier call, decoded from what was stored."""


class ResponseSaver:
    """Stores the response of one call under its key."""

    def __init__(self, records: IdempotencyStore, scope: IdempotencyScope, task: str, fingerprint: bytes) -> None:
        self._records = records
        self._scope = scope
        self._task = task
        self._fingerprint = fingerprint

    def save_in(self, connection: Connection, answer: Payload) -> None:
        """Store the response in the transaction of its work.

        Raises:
            AnsweredElsewhere: Another server has done the call meanwhile; the transaction is to be rolled back.
        """
        self._records.save_in(connection, self._scope, self._record(answer))

    def logged(self, answer: Payload) -> LoggedAnswer:
        """The response as the ingest log takes it, with the rows of its call."""
        return self._records.answer(self._scope, self._record(answer))

    def _record(self, answer: Payload) -> StoredResponse:
        return StoredResponse(self._task, self._fingerprint, pack_answer(msgspec.json.encode(answer)))


ControlWork = Callable[[SaveIn], Awaitable[Payload]]
"""Does all of its work in one transaction of the control store, in which it stores its response last."""

LogCall = Callable[[Payload, Sequence[Rows], Sequence[Mapping[str, Any]]], Awaitable[None]]
"""Makes the response, the rows and the deliveries of a call durable, all of it or nothing."""

LogWork = Callable[[LogCall], Awaitable[Payload]]


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A call as a task function sees it: parsed, its release negotiated.

    Attributes:
        services: The opened resources.
        task: The task's name.
        principal: Who calls.
        request_id: Identifies the call in the log.
        arguments: The call's fields.
        release: The AdCP release that was negotiated; None for an unversioned request.
        idempotency_key: The caller's key, or None.
        warnings: What the caller should know of the call as a whole.
    """

    services: Services
    task: str
    principal: Principal
    request_id: str
    arguments: Arguments
    release: Release | None
    idempotency_key: str | None
    warnings: list[str] = field(default_factory=list)

    async def once_in_control(self, account_id: str, fingerprint: bytes, work: ControlWork) -> Payload:
        """Do the work, or replay the stored response of the same call.

        Two calls with one key are serialized, on one server and on several. Only responses of successful calls are
        stored, so a failed call can be corrected with its key. After a crash both the work and its response are
        stored, or neither, so that a retry does not repeat the work.

        Raises:
            IdempotencyConflict: The key was used for another call.
        """

        async def save(saver: ResponseSaver | None) -> Payload:
            return await work(saver.save_in if saver else _save_nothing)

        return await self._replayed_or(save, account_id, fingerprint)

    async def once_in_log(
        self, account_id: str, fingerprint: bytes, work: LogWork, *, repeatable: bool = True
    ) -> Payload:
        """The same for work that writes rows, which the ingest log makes durable together with its response.

        If the work is ``repeatable``, as that of events which are stored once by their ids, its response is not stored
        when the key has too many large ones: a retry does the work again.
        """

        async def save(saver: ResponseSaver | None) -> Payload:
            async def log(response: Payload, rows: Sequence[Rows], deliveries: Sequence[Mapping[str, Any]]) -> None:
                answer = saver.logged(response) if saver else None
                if answer and repeatable and not self.services.idempotency.has_room(answer):
                    answer = None
                    self.warnings.append(_NOT_STORED)
                if answer and not repeatable and self.services.control.shared:
                    await self._append_once(answer, rows, deliveries)
                else:
                    await self.services.log.append(rows, answer, deliveries)

            return await work(log)

        return await self._replayed_or(save, account_id, fingerprint, repeatable=repeatable)

    async def _append_once(
        self, answer: LoggedAnswer, rows: Sequence[Rows], deliveries: Sequence[Mapping[str, Any]]
    ) -> None:
        """Append to the log in a transaction that stores the response, so that no other server does so meanwhile."""
        services, loop = self.services, asyncio.get_running_loop()

        def append() -> None:
            with services.control.begin() as connection:
                services.idempotency.insert_first(connection, answer)
                asyncio.run_coroutine_threadsafe(services.log.append(rows, answer, deliveries), loop).result()

        await services.threads.control.run(append)

    async def _replayed_or(
        self,
        save: Callable[[ResponseSaver | None], Awaitable[Payload]],
        account_id: str,
        fingerprint: bytes,
        *,
        repeatable: bool = False,
    ) -> Payload:
        """The stored response; else what ``save`` returns, which has it stored if the call has a key."""
        if self.idempotency_key is None:
            return await save(None)
        records = self.services.idempotency
        scope = IdempotencyScope(self.principal.key_id, account_id, self.idempotency_key)
        async with records.claim(scope):
            with self.services.metrics.request_stages.time("idempotency"):
                record = await records.find(scope, repeatable=repeatable)
            if record is None:
                if not repeatable:
                    records.require_room(self.principal.key_id)
                try:
                    return await save(ResponseSaver(records, scope, self.task, fingerprint))
                except (AnsweredElsewhere, RequestError):
                    # Where several servers share a store, this call may be refused for what its twin has just done.
                    record = await records.find(scope)
                    if record is None:
                        raise
            if (record.task, record.fingerprint) != (self.task, fingerprint):
                raise IdempotencyConflict(
                    "This idempotency_key was used for a different call within the last 24 hours. "
                    "Use a new one for a new call, and repeat the original call unchanged to retry it."
                )
            return {**msgspec.json.decode(unpack_answer(record.answer)), "replayed": True}


_NOT_STORED = (
    "This response is not stored, since too many large responses are stored for this API key already. A retry "
    "validates the call again, and stores nothing twice."
)


def _save_nothing(_: Connection, __: Payload) -> None:
    """For calls without a key."""
