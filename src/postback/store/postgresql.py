"""Connections to PostgreSQL that don't wait for ever: it may be frozen, or behind a network that lost it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event

__all__ = ["connect_impatiently", "wait_at_most"]

_SECONDS = 5
"""How long a connection may take to be opened, and to show that it still is."""

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
    """Have an engine's connections fail when PostgreSQL keeps still."""

    def connect(_dialect: object, _record: object, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        return _Connection.connect(*arguments, **({"connect_timeout": _SECONDS} | options))

    event.listen(engine, "do_connect", connect)


def wait_at_most(connection: Any, seconds: float | None) -> None:
    """Choose how long a driver's connection waits from now on; None for as long as it takes."""
    if isinstance(connection, _Connection):
        connection.answer_seconds = seconds
