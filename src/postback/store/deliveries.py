"""Rows of the outbox, as its owner makes them and the ingest log carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from postback.store.control_store import ControlStore
from postback.store.tables import forward

__all__ = ["insert_deliveries"]


def insert_deliveries(control: ControlStore, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the table ``forward`` in a transaction; one that is stored already stays unchanged."""
    if rows:
        insert = control.insert(forward).on_conflict_do_nothing(index_elements=["delivery_id"])
        connection.execute(insert, list(rows))
