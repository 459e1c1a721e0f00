"""Connections to PostgreSQL that don't wait for ever: it may be frozen, or behind a network that lost it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event

__all__ = ["IDLE_SECONDS", "connect_impatiently", "wait_at_most"]

_SECONDS = 5
"""How long a connection may take to be opened, and to show that it still is."""

IDLE_SECONDS = 30
"""After so long without a word PostgreSQL ends a transaction that was begun.

A machine that lost its power or its network can't say that it is gone, and would keep what it had locked for hours: its
own place among the nodes, without which it can't start again, and the idempotency keys that others wait for.
"""

_Result = TypeVar("_Result")


class _Connection(psycopg.Connection[Any]):
    answer_seconds: float | None = _SECONDS

    def wait(self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None) -> _Result:
        """Wait for an answer; a connection whose answer is not waited for any longer is of no use any more."""
        try:
            return super().wait(gen, interval, timeout or self.answer_seconds)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect_impatiently(engine: Engine) -> None:
    """Have an engine's connections fail when PostgreSQL keeps still, and PostgreSQL not wait for ever either."""

    def connect(_dialect: object, _record: object, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        connection = _Connection.connect(*arguments, **({"connect_timeout": _SECONDS} | options))
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.commit()
        return connection

    event.listen(engine, "do_connect", connect)


def wait_at_most(connection: Any, seconds: float | None) -> None:
    """Choose how long a driver's connection waits from now on; None for as long as it takes."""
    if isinstance(connection, _Connection):
        connection.answer_seconds = seconds
