"""What a start of the event store and of attribution replaces and refuses, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postback.attribution.runner import Attribution
from postback.errors import StartupError
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore


@contextmanager
def opened(folder: Path) -> Iterator[EventStore]:
    store = EventStore.open(f"chdb://{folder}/events", folder)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    yield control
    control.close()


def scratch(store: EventStore) -> dict[str, str]:
    """How the tables of runs, and the view that they read, are made: temporary ones, which go before others."""
    query = (
        "SELECT name, create_table_query FROM system.tables WHERE is_temporary "
        "AND (name LIKE 'run\\_%' OR name = 'named_event')"
    )
    return dict(map(tuple, store.deriver.query(query).result_rows))


def test_a_newer_folder_is_refused_and_its_engine_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.deriver.command("INSERT INTO schema_version (version, name) VALUES (99, 'post_of_the_future')")
    # Held, as by whoever reports it: the frames of the error must not keep the engine, of which a process can have one.
    with pytest.raises(StartupError, match="written by a newer Postback") as refused, opened(tmp_path):
        pass
    other = tmp_path / "other"
    other.mkdir()
    with opened(other) as store:
        assert store.ping()
    assert refused.tb is not None


def test_attribution_works_in_tables_of_its_own_whatever_older_code_left(tmp_path: Path, control: ControlStore) -> None:
    with opened(tmp_path) as store:
        Attribution(store, control, MediaBuyStore(control), tmp_path / "derived").catch_up()
        made = scratch(store)
        assert {"run_event", "run_rule", "named_event"} <= made.keys()
    with opened(tmp_path) as store:
        assert scratch(store) == {}
        store.deriver.command("CREATE VIEW named_event AS SELECT 'of older code' AS event_id")
        for table in ("run_event", "run_rule"):
            store.deriver.command(f"CREATE TABLE {table} (number UInt8) ENGINE = Memory")
        Attribution(store, control, MediaBuyStore(control), tmp_path / "derived").catch_up()
        assert scratch(store) == made
