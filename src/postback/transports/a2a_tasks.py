"""The A2A tasks that were returned: how they are written in each protocol version, and where they are found again.

Every message is answered with a completed task, which a client may read again with ``tasks/get``. Tasks are stored
beside the responses that make retries safe: durably, for a day, for the API key that got them, and for every process on
one control store, since a load balancer may send the second request elsewhere. They expire with those responses. A task
has the caller's ``context``, which may be anything, so it is encrypted.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, delete

from postback.auth.principal import Principal
from postback.errors import PostbackError, TransientError
from postback.forwarding.encryption import Encryptor, Undecryptable
from postback.store.idempotency import IdempotencyScope, IdempotencyStore, StoredResponse
from postback.store.stored_answers import pack_answer, unpack_answer
from postback.store.tables import idempotency
from postback.tasks.dispatch import Answer

__all__ = ["ReturnedTask", "ReturnedTasks", "forget_tasks"]

_TASK = "a2a_task"
_MAX_BYTES = 4_000_000

_log = logging.getLogger(__name__)


class ReturnedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was returned.

    Attributes:
        id: Its id.
        conversation: The conversation that it belongs to, ``contextId``.
        finished_at: When it was finished.
        failed: Whether the call failed as a whole.
        body: The response of the call.
    """

    id: str
    conversation: str
    finished_at: datetime
    failed: bool
    body: dict[str, Any]

    @classmethod
    def of(cls, answer: Answer, conversation: str) -> ReturnedTask:
        """The task that a call is answered with."""
        return cls(
            id=uuid4().hex,
            conversation=conversation,
            finished_at=datetime.now(UTC),
            failed=answer.error is not None,
            body=answer.body,
        )

    def in_1_0(self) -> dict[str, Any]:
        """The task as version 1.0 writes it."""
        return self._written({}, "TASK_STATE_FAILED" if self.failed else "TASK_STATE_COMPLETED")

    def in_0_3(self) -> dict[str, Any]:
        """The task as version 0.3 writes it."""
        # Official 0.3 clients take the state as that of the exchange: they do not read the response of a failed task.
        return {"kind": "task"} | self._written({"kind": "data"}, "completed")

    def _written(self, part: dict[str, Any], state: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "contextId": self.conversation,
            "status": {"state": state, "timestamp": self.finished_at},
            "artifacts": [{"artifactId": "answer", "parts": [part | {"data": self.body}]}],
        }


class ReturnedTasks:
    """The tasks of the last day, each for the API key that got it."""

    def __init__(self, records: IdempotencyStore, secret: bytes) -> None:
        self._records = records
        self._encryptor = Encryptor(secret)

    async def save(self, principal: Principal, task: ReturnedTask, error: PostbackError | None) -> None:
        """Store a task. One that can't be stored is returned all the same; its call was done.

        A call that was refused only for now isn't stored: callers repeat it, and a flood must not fill the store.
        """
        if isinstance(error, TransientError):
            return
        stored = msgspec.json.encode(task)
        if len(stored) > _MAX_BYTES:
            return
        try:
            encrypted = self._encryptor.encrypt(pack_answer(stored), task.id)
            scope, record = _scope(principal, task.id), StoredResponse(_TASK, b"", encrypted)
            if self._records.has_room(self._records.answer(scope, record)):
                await self._records.save(scope, *record)
        except PostbackError as failure:
            _log.warning("an A2A task could not be stored: %s", failure.reason)

    async def find(self, principal: Principal, task_id: str) -> ReturnedTask | None:
        """The task that was returned to this API key under this id within a day; None for any other.

        Raises:
            StoreUnavailable: The control store is unavailable.
        """
        record = await self._records.find(_scope(principal, task_id))
        if record is None or record.task != _TASK:
            return None
        try:
            stored = self._encryptor.decrypt(record.answer, task_id)
        except Undecryptable:
            return None
        return msgspec.json.decode(unpack_answer(stored), type=ReturnedTask)


def forget_tasks(connection: Connection) -> int:
    """Delete every task, in a transaction, since the secret that decrypts them is replaced; returns how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.task == _TASK)).rowcount


def _scope(principal: Principal, task_id: str) -> IdempotencyScope:
    """Where a task is stored: under a name that no idempotency_key of a caller can have, for its space."""
    return IdempotencyScope(principal.key_id, "", f"a2a task {task_id}")
