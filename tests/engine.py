"""What lies in an event store's tables, straight from its engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import events_of_default

from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.flusher import drain
from postback.store.shards import Shards


def open_events(data: Path) -> EventStore:
    """The event store with the account ``default`` of a data folder, which nobody has open; the caller closes it."""
    return EventStore.open(events_of_default(data) or f"chdb://{data}/events", data / "tmp")


@contextmanager
def opened(data: Path) -> Iterator[EventStore]:
    """The event store of a data folder that no server holds, with all that was acknowledged."""
    with ExitStack() as stack:
        folder = stack.enter_context(closing(DataDir.open(data)))
        events = stack.enter_context(closing(open_events(data)))
        control = stack.enter_context(closing(ControlStore(folder.control_url)))
        control.migrate()
        drain(folder, Shards.alone(events), control)
        yield events


def select(events: EventStore, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows that a query selects."""
    return [tuple(row) for row in events.deriver.query(query, parameters=parameters).result_rows]


def select_from(data: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query selects from the data folder of a server that is stopped."""
    with opened(data) as events:
        return select(events, query)
