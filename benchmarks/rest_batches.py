"""Full batches over REST, durable, sustained, until all are stored; as a share of the floor."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.events import Batches
from benchmarks.floor import measure_floor
from benchmarks.load import send_batches, store_for
from benchmarks.report import Goal, Section, Table
from benchmarks.server import serving
from benchmarks.size import Size

__all__ = ["measure"]

_EVENTS = 10_000
_LEAST_SHARE = 0.8
_WARM_UP = 5


def measure(size: Size, folder: Path) -> Section:
    """Measure the floor, the server, and the floor again."""
    batches, numbers = Batches(_EVENTS), count()
    floor = measure_floor(batches, folder / "floor-before", size.floor_batches)
    with serving(folder / "server") as server:
        warm_up = send_batches(_WARM_UP, server, batches, numbers)
        load = store_for(size.sustained_s, server, batches, numbers)
        server.check_stored(warm_up.events + load.events)
    floor += measure_floor(batches, folder / "floor-after", size.floor_batches)
    share, whole_s = load.rate / floor.rate, load.seconds + load.drain_s
    return Section(
        title=f"Batches of {_EVENTS:,} events over REST",
        method=(
            f"Bodies of {len(batches.template) / 1e6:.1f} MB with an idempotency key each, no event twice, over four "
            "connections from one client process. Acknowledged is durable, but may not be in the event store yet: the "
            "second rate and the goal count until each connection's last event can be looked up, and with it all that "
            "came before. In the end the health of the event source counted every event. The floor is one thread that "
            "decodes the same bytes into typed structs and inserts the ready table, equally durably: "
            f"{len(floor.decode_s)} batches, half of them before and half after, medians."
        ),
        table=Table(
            ("", "events/s", "a batch", "CPU"),
            [
                (
                    f"acknowledged, {load.seconds:.0f} s, {load.events:,} events",
                    f"{load.acknowledged_rate:,.0f}",
                    f"{load.median_s * 1000:,.0f} ms",
                    "",
                ),
                (
                    f"stored, {load.drain_s:.1f} s later",
                    f"{load.rate:,.0f}",
                    "",
                    f"{load.server_s / whole_s:.2f} cores",
                ),
                ("the client", "", "", f"{load.client_s / load.seconds:.2f} cores"),
                ("floor", f"{floor.rate:,.0f}", f"{_EVENTS / floor.rate * 1000:,.0f} ms", ""),
                ("floor: decode", "", f"{median(floor.decode_s) * 1000:,.0f} ms", ""),
                ("floor: insert", "", f"{median(floor.insert_s) * 1000:,.0f} ms", ""),
            ],
        ),
        goals=[
            Goal(f"stored at {_LEAST_SHARE} of the floor or more", f"{share:.2f}", share >= _LEAST_SHARE),
        ],
    )
