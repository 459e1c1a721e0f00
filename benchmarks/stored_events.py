"""The rate of ingest by the number of events that are stored already."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import clickhouse_connect

from benchmarks.events import Batches
from benchmarks.floor import ready_rows
from benchmarks.load import send_batches, store_for
from benchmarks.report import Goal, Section, Table
from benchmarks.server import data_folder, serving
from benchmarks.size import Size
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.rows import Rows

__all__ = ["fill_in_a_process", "measure"]

_EVENTS = 10_000
_WARM_UP = 5
_LEAST_SHARE = 0.8

_INSERT_ROWS = 100_000
_KEY_BYTES = 16
_ORDER = b'"order_id":"'
_SCATTER = 2654435761
"""Odd, so that multiplying by it maps numbers below 2³² one to one; neighbours end up far apart, as with UUIDs."""


def measure(size: Size, folder: Path) -> Section:
    """Measure full batches over REST, fill the store up, measure again."""
    batches, numbers = Batches(_EVENTS), count()
    stored, filled = 0, 0
    rates: list[tuple[int, float]] = []
    for level in size.stored:
        missing = max(0, level - stored)
        fill_in_a_process(data_folder(folder), batches, filled, filled + missing)
        filled += missing
        stored += missing
        with serving(folder) as server:
            warm_up = send_batches(_WARM_UP, server, batches, numbers)
            load = store_for(size.stored_s, server, batches, numbers)
        rates.append((stored, load.rate))
        stored += warm_up.events + load.events
    share = min(rate for _, rate in rates) / rates[0][1]
    return Section(
        title="Rate by the number of stored events",
        method=(
            f"Batches of {_EVENTS:,} events over REST, {size.stored_s:.0f} s each and until all are stored. In between "
            "the store was filled with distinct events through its own insert, while no server ran; each rate was "
            "measured when the merges that this left to the engine were done. Those that the rate itself causes are "
            "in it."
        ),
        table=Table(
            ("stored before", "events/s", "of the first"),
            [(f"{stored:,}", f"{rate:,.0f}", f"{rate / rates[0][1]:.2f}") for stored, rate in rates],
        ),
        goals=[Goal("at no number less than 0.8 of the first rate", f"{share:.2f}", share >= _LEAST_SHARE)],
    )


def fill_in_a_process(folder: Path, batches: Batches, first: int, end: int) -> None:
    """Store distinct events with these numbers; ``folder`` is the data folder of a server that doesn't run."""
    if first < end:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(_fill, folder, batches, first, end).result()


def _fill(folder: Path, batches: Batches, first: int, end: int) -> None:
    data = DataDir.open(folder)
    store = EventStore.open(data.events_dsn, data.scratch)
    ready = ready_rows(batches, data.secret).columns
    like = {name: values.to_pylist() if hasattr(values, "to_pylist") else values for name, values in ready.items()}
    for start in range(first, end, _INSERT_ROWS):
        store.insert([_distinct_rows(like, start, min(start + _INSERT_ROWS, end))])
    _wait_for_merges(data.events_dsn)
    store.close()
    data.close()


def _distinct_rows(like: Mapping[str, Sequence[Any]], start: int, end: int) -> Rows:
    """Rows with these numbers, alike but for their event_id and order_id, a match key and their time of receipt."""
    many = end - start
    columns = {name: (list(values) * (many // len(values) + 1))[:many] for name, values in like.items()}
    chance = os.urandom(_KEY_BYTES * many)
    keys = enumerate(columns["match_keys"])
    columns["match_keys"] = [
        k[:1] + chance[i * _KEY_BYTES + 1 : (i + 1) * _KEY_BYTES] + k[_KEY_BYTES:] for i, k in keys
    ]
    orders = enumerate(columns["custom_data"], start)
    columns["custom_data"] = [data.replace(_ORDER, b"%b%d-" % (_ORDER, number)) for number, data in orders]
    columns["event_id"] = [f"stored-{number * _SCATTER % 2**32:08x}" for number in range(start, end)]
    now = time.time_ns() // 1000
    columns["received_at"] = list(range(now, now + many))
    return Rows("event", columns)


def _wait_for_merges(dsn: str) -> None:
    client = clickhouse_connect.get_client(dsn=dsn)
    while client.query("SELECT count() FROM system.merges").result_rows[0][0]:
        time.sleep(0.5)
    client.close()
