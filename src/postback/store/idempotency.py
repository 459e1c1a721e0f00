"""Idempotency records: the responses of successful calls, stored for a day so that a retry gets the same one.

The day is one of running time, so that no jump of the wall clock lets a call that is repeated happen twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from postback.errors import RateLimitExceeded, StoreUnavailable
from postback.store.coalescing import Coalescer
from postback.store.control_store import ControlStore
from postback.store.known_keys import KnownKeys
from postback.store.stored_answers import LARGE_ANSWER_BYTES, AnswerQuota
from postback.store.tables import idempotency, running_time
from postback.threads import ThreadPool

__all__ = [
    "REPLAY_TTL_SECONDS",
    "AnsweredElsewhere",
    "IdempotencyScope",
    "IdempotencyStore",
    "LoggedAnswer",
    "SaveIn",
    "StoredResponse",
    "insert_answers",
    "is_first",
]

REPLAY_TTL_SECONDS = 86_400

_QUOTA_BYTES = 256_000_000
_PURGED_AT_ONCE = 5_000
"""So few that no other writer waits for long."""

SaveIn = Callable[[Connection, msgspec.Struct | dict[str, Any]], None]
"""Stores a response in a transaction."""


class IdempotencyScope(NamedTuple):
    """The scope of an idempotency key: one caller, acting for one account; an empty account_id means all accounts."""

    key_id: str
    account_id: str
    idempotency_key: str


class StoredResponse(NamedTuple):
    """The response of a successful call.

    Attributes:
        task: The AdCP task's name.
        fingerprint: Digest of the call's canonical body.
        answer: The response's body, as ``pack_answer`` packs it.
    """

    task: str
    fingerprint: bytes
    answer: bytes


class AnsweredElsewhere(Exception):
    """Another server has stored a response under the key of a call: this one's work is to be rolled back."""


class LoggedAnswer(NamedTuple):
    """A response on its way to the control store.

    Attributes:
        scope: The key, its caller and its account.
        record: The response.
        expires_at: Running time, in seconds, from which it is forgotten.
    """

    scope: IdempotencyScope
    record: StoredResponse
    expires_at: int


class Claim:
    """A key that one call has claimed, for ``async with``; others with the same key wait for its end.

    There is something to wait for only once somebody waits: most keys are used once.
    """

    __slots__ = ("_claims", "_scope")

    def __init__(self, claims: dict[IdempotencyScope, asyncio.Event | None], scope: IdempotencyScope) -> None:
        self._claims = claims
        self._scope = scope

    async def __aenter__(self) -> None:
        while self._scope in self._claims:
            ended = self._claims[self._scope] = self._claims[self._scope] or asyncio.Event()
            await ended.wait()
        self._claims[self._scope] = None

    async def __aexit__(self, *_: object) -> None:
        if ended := self._claims.pop(self._scope):
            ended.set()


class IdempotencyStore:
    """Records of calls that succeeded, durable and shared by every process on one control store.

    The responses of calls that write events are durable in the ingest log before they are in the control store. Until
    then they are found here, in memory.

    Args:
        control: The control store.
        threads: The threads for look-ups and commits.
        now: The time in seconds that responses are stored by; a server's is its running time.
        alone: Whether no other process stores responses in the control store. Then most keys are known to be new
            without a look-up, once ``learn`` has run.
        quota_bytes: Bytes of large responses that are stored for each key.
    """

    def __init__(
        self,
        control: ControlStore,
        threads: ThreadPool,
        now: Callable[[], float] = time.time,
        *,
        alone: bool = False,
        quota_bytes: int = _QUOTA_BYTES,
    ) -> None:
        self._control = control
        self._now = now
        self._known = KnownKeys(REPLAY_TTL_SECONDS) if alone else None
        self._quota = AnswerQuota(quota_bytes, now)
        self._learned = False
        self._logged: dict[tuple[str, str], dict[str, StoredResponse]] = {}
        self._claims: dict[IdempotencyScope, asyncio.Event | None] = {}
        self._lookups = Coalescer(self._select, threads)
        self._commits = Coalescer(self._insert, threads)

    def claim(self, scope: IdempotencyScope) -> Claim:
        """Claim a key while its call runs: a second call with the same key waits until the first is done."""
        return Claim(self._claims, scope)

    async def find(self, scope: IdempotencyScope, *, repeatable: bool = False) -> StoredResponse | None:
        """The response that is stored under this key, or None.

        A call without an account uses its key for all accounts, and finds responses of any of them.

        Args:
            scope: The key.
            repeatable: Whether nothing is done twice when the call is. Then what this server has not logged itself
                counts as not stored while a shared control store doesn't answer.

        Raises:
            StoreUnavailable: The control store is unavailable.
        """
        logged = _fitting(self._logged.get((scope.key_id, scope.idempotency_key), {}), scope.account_id)
        if logged or (self._learned and self._known and not self._known.may_have(scope.key_id, scope.idempotency_key)):
            return logged
        try:
            return await self._lookups.submit(scope)
        except StoreUnavailable:
            if repeatable and self._control.shared:
                return None
            raise

    def learn(self) -> None:
        """Read which keys have responses, and how large ones. Call it once, in a thread, before or after other methods.

        Raises:
            StoreUnavailable: The control store is unavailable.
        """
        self._learn_sizes()
        if self._known is None:
            return
        keys = select(idempotency.c.key_id, idempotency.c.idempotency_key).where(
            idempotency.c.expires_at > int(self._now())
        )
        with self._control.connect(seconds=None) as connection:
            for key_id, idempotency_key in connection.execute(keys.execution_options(yield_per=10_000)):
                self._known.add(key_id, idempotency_key)
        self._learned = True

    def _learn_sizes(self) -> None:
        size = func.length(idempotency.c.answer)
        large = (size > LARGE_ANSWER_BYTES) & (idempotency.c.expires_at > int(self._now()))
        with self._control.connect(seconds=None) as connection:
            for key_id, bytes_, expires_at in connection.execute(
                select(idempotency.c.key_id, size, idempotency.c.expires_at).where(large)
            ):
                self._quota.add(key_id, bytes_, expires_at)

    def has_room(self, answer: LoggedAnswer) -> bool:
        """Whether a response may be stored that a retry can do without."""
        return len(answer.record.answer) <= LARGE_ANSWER_BYTES or self._quota.used(answer.scope.key_id) < 1

    def require_room(self, key_id: str) -> None:
        """Check that a response may be stored that a retry can't do without; there is twice as much room for those.

        Raises:
            RateLimitExceeded: This key has used all of it up.
        """
        if self._quota.used(key_id) >= 2:
            raise RateLimitExceeded(
                "Too many large responses are stored for retries of this API key's calls.",
                retry_after=3_600,
                suggestion="Send smaller calls, and correct what fails in them. Responses are stored for 24 hours.",
            )

    def answer(self, scope: IdempotencyScope, record: StoredResponse) -> LoggedAnswer:
        """A call's response, to be stored for a day."""
        return LoggedAnswer(scope, record, int(self._now()) + REPLAY_TTL_SECONDS)

    def logged(self, answer: LoggedAnswer) -> None:
        """Find a response that the ingest log has made durable; only on the event loop."""
        scope = answer.scope
        self._remember(answer)
        self._logged.setdefault((scope.key_id, scope.idempotency_key), {})[scope.account_id] = answer.record

    def flushed(self, scopes: Iterable[IdempotencyScope]) -> None:
        """Look responses up in the control store from now on; only on the event loop."""
        for scope in scopes:
            by_account = self._logged.get((scope.key_id, scope.idempotency_key), {})
            by_account.pop(scope.account_id, None)
            if not by_account:
                self._logged.pop((scope.key_id, scope.idempotency_key), None)

    async def save(self, scope: IdempotencyScope, task: str, fingerprint: bytes, answer: bytes) -> None:
        """Store a call's response for a day; durable on return. If another process has stored one first, that stays.

        Raises:
            StoreUnavailable: The control store rejects the write.
        """
        stored = self.answer(scope, StoredResponse(task, fingerprint, answer))
        self._remember(stored)
        await self._commits.submit(stored)

    def save_in(self, connection: Connection, scope: IdempotencyScope, record: StoredResponse) -> None:
        """Store a call's response in the transaction of its work, which makes both durable.

        While another server's transaction has stored one under the same key, this waits for its end.

        Raises:
            AnsweredElsewhere: Another server has stored one.
        """
        stored = self.answer(scope, record)
        self.insert_first(connection, stored)
        self._remember(stored)

    def insert_first(self, connection: Connection, answer: LoggedAnswer) -> None:
        """The same, without counting its size.

        Raises:
            AnsweredElsewhere: Another server has stored one.
        """
        # Not by rowcount, which PostgreSQL's driver doesn't tell of such an insert.
        insert = _first_wins(self._control).values(_row(answer)).returning(idempotency.c.task)
        if connection.execute(insert).first() is None:
            raise AnsweredElsewhere

    def purge(self) -> int:
        """Delete what has expired; returns how many records."""
        key = idempotency.c.idempotency_key, idempotency.c.key_id, idempotency.c.account_id
        expired = select(*key).where(idempotency.c.expires_at <= int(self._now())).limit(_PURGED_AT_ONCE)
        purged = 0
        while True:
            with self._control.begin() as connection:
                deleted = connection.execute(delete(idempotency).where(tuple_(*key).in_(expired))).rowcount
            purged += deleted
            if deleted < _PURGED_AT_ONCE:
                return purged

    def _select(self, scopes: Sequence[IdempotencyScope]) -> list[StoredResponse | None]:
        # Keys are almost unique, so scopes are compared here; to compare tuples, SQLite would read all rows.
        candidates = select(idempotency).where(idempotency.c.idempotency_key.in_({s.idempotency_key for s in scopes}))
        now = int(self._now())
        with self._control.connect() as connection:
            found: dict[tuple[str, str], dict[str, StoredResponse]] = {}
            for row in connection.execute(candidates):
                if row.expires_at > now:
                    record = StoredResponse(row.task, row.fingerprint, row.answer)
                    found.setdefault((row.key_id, row.idempotency_key), {})[row.account_id] = record
        return [_fitting(found.get((s.key_id, s.idempotency_key), {}), s.account_id) for s in scopes]

    def _insert(self, answers: Sequence[LoggedAnswer]) -> list[None]:
        with self._control.begin() as connection:
            insert_answers(self._control, connection, answers)
        return [None] * len(answers)

    def _remember(self, answer: LoggedAnswer) -> None:
        scope = answer.scope
        self._quota.add(scope.key_id, len(answer.record.answer), answer.expires_at)
        if self._known is not None:
            self._known.add(scope.key_id, scope.idempotency_key)


def insert_answers(control: ControlStore, connection: Connection, answers: Sequence[LoggedAnswer]) -> None:
    """Store responses in a transaction; one that is stored already and has not expired stays unchanged."""
    if not answers:
        return
    connection.execute(_first_wins(control), list(map(_row, answers)))


def _first_wins(control: ControlStore) -> sqlite.Insert | postgresql.Insert:
    """An INSERT of responses that leaves those as they are that have not expired."""
    insert = control.insert(idempotency)
    replaced = (*StoredResponse._fields, "expires_at")
    return insert.on_conflict_do_update(
        index_elements=IdempotencyScope._fields,
        set_={name: insert.excluded[name] for name in replaced},
        where=idempotency.c.expires_at <= insert.excluded.expires_at - REPLAY_TTL_SECONDS,
    )


def _row(answer: LoggedAnswer) -> dict[str, Any]:
    scope, record, expires_at = answer
    return scope._asdict() | record._asdict() | {"expires_at": expires_at}


def is_first(control: ControlStore, connection: Connection, name: str) -> bool:
    """Whether a transaction is the first to note this name, in the last 30 days.

    It is noted beside the responses, under a key that no caller can have, for its space.
    """
    now = connection.scalar(select(running_time.c.seconds)) or int(time.time())
    values: dict[str, Any] = {"idempotency_key": f"flushed {name}", "key_id": "", "account_id": "", "task": "flush"}
    values |= {"fingerprint": b"", "answer": b"", "expires_at": now + 30 * REPLAY_TTL_SECONDS}
    insert = control.insert(idempotency).on_conflict_do_nothing(index_elements=IdempotencyScope._fields)
    # Not by rowcount, which PostgreSQL's driver doesn't tell of such an insert.
    return connection.execute(insert.values(values).returning(idempotency.c.task)).first() is not None


def _fitting(by_account: Mapping[str, StoredResponse], account_id: str) -> StoredResponse | None:
    found = by_account.get(account_id) or by_account.get("")
    return found or (None if account_id else next(iter(by_account.values()), None))
