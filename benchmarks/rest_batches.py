"""Full batches over REST, durable, sustained; as a share of the floor."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.events import Batches
from benchmarks.floor import measure_floor
from benchmarks.load import send_batches, send_for
from benchmarks.report import Goal, Section, Table
from benchmarks.server import serving
from benchmarks.size import Size

__all__ = ["measure"]

_EVENTS = 10_000
_LEAST_SHARE = 0.5
_WARM_UP = 5


def measure(size: Size, folder: Path) -> Section:
    """Measure the floor, the server, and the floor again."""
    batches, numbers = Batches(_EVENTS), count()
    floor = measure_floor(batches, folder / "floor-before", size.floor_batches)
    with serving(folder / "server") as server:
        send_batches(_WARM_UP, server, batches, numbers)
        before = server.cpu_s()
        load = send_for(size.sustained_s, server, batches, numbers)
        cpu = server.cpu_s() - before
    floor += measure_floor(batches, folder / "floor-after", size.floor_batches)
    share = load.rate / floor.rate
    return Section(
        title=f"Batches of {_EVENTS:,} events over REST",
        method=(
            f"Bodies of {len(batches.template) / 1e6:.1f} MB with an idempotency key each, no event twice, over four "
            f"connections from one client process. The floor is one thread that decodes the same bytes into typed "
            f"structs and inserts the ready table, equally durably: {len(floor.decode_s)} batches, half of them before "
            "and half after, medians."
        ),
        table=Table(
            ("", "events/s", "a batch", "CPU"),
            [
                (
                    f"server, {load.seconds:.0f} s, {load.events:,} events",
                    f"{load.rate:,.0f}",
                    f"{load.median_s * 1000:,.0f} ms",
                    f"{cpu / load.seconds:.2f} cores",
                ),
                ("its client", "", "", f"{load.client_s / load.seconds:.2f} cores"),
                ("floor", f"{floor.rate:,.0f}", f"{_EVENTS / floor.rate * 1000:,.0f} ms", ""),
                ("floor: decode", "", f"{median(floor.decode_s) * 1000:,.0f} ms", ""),
                ("floor: insert", "", f"{median(floor.insert_s) * 1000:,.0f} ms", ""),
            ],
        ),
        goals=[Goal(f"at least {_LEAST_SHARE} of the floor", f"{share:.2f}", share >= _LEAST_SHARE)],
    )
