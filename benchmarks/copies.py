"""What copies cost: batches of events that are known, and of known events that bring another identifier."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from benchmarks.events import Batches
from benchmarks.load import Load, send_batches, store_for
from benchmarks.report import Section, Table
from benchmarks.server import Server, serving
from benchmarks.size import Size

__all__ = ["measure"]

_EVENTS = 10_000
_WARM_UP = 5
_CLICK_ID, _OTHER_CLICK_ID = b"EAIaIQobChMI", b"EAIaIQobChMJ"


def measure(size: Size, folder: Path) -> Section:
    """Send new events, then all of them again, then again with another click id."""
    batches, enriched = Batches(_EVENTS, keyed=False), Batches(_EVENTS, keyed=False)
    enriched.template = batches.template.replace(_CLICK_ID, _OTHER_CLICK_ID)
    with serving(folder) as server:
        warm_up = send_batches(_WARM_UP, server, batches, count())
        new = store_for(size.stored_s, server, batches, count(_WARM_UP))
        sent = (warm_up.events + new.events) // _EVENTS
        copies = _store(server, batches, range(_WARM_UP, sent))
        enriching = _store(server, enriched, range(_WARM_UP, sent))
        server.check_stored(warm_up.events + new.events + copies.events + enriching.events)
    loads = {"new events": new, "the same again": copies, "the same with another click id": enriching}
    return Section(
        title="Copies",
        method=(
            f"Batches of {_EVENTS:,} events over REST, without idempotency keys, {size.stored_s:.0f} s of new events "
            "and then each of them again, until all are stored. Exact copies collapse when parts merge; a copy that "
            "brings an identifier is kept beside the first, and attribution unites the identifiers."
        ),
        table=Table(
            ("batches of", "events/s", "of new events"),
            [(name, f"{load.rate:,.0f}", f"{load.rate / new.rate:.2f}") for name, load in loads.items()],
        ),
    )


def _store(server: Server, batches: Batches, numbers: range) -> Load:
    """Send the batches with these numbers, and wait until they are stored."""
    load = send_batches(len(numbers), server, batches, iter(numbers))
    return replace(load, drain_s=server.wait_until_stored(load.last_events))
