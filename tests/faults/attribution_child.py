"""A process that attributes events while they arrive; the fault test starts it and kills it.

Usage: attribution_child.py work|snapshots|check FOLDER SEED. ``work`` goes on until it is killed, and prints when each
statement begins and ends and when each round is done. ``snapshots`` does the same work until it has a snapshot from the
midst of a run over exposures and one from between two runs, which it copies into folders beside it, by
the names ``exposures`` and ``none``. ``check`` catches up and prints where the results differ from the reference.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.engine import select
from tests.integration.derived import derived, derived_by_reference

from postback.accounts.store import AccountStore
from postback.attribution.account_runs import Limits
from postback.attribution.exposure_index import ExposureIndex
from postback.attribution.runner import Attribution
from postback.attribution.state import StateStore
from postback.attribution.statements import DerivedStore
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.store.leases import Lease
from postback.store.rows import Rows
from postback.store.snapshots import snapshot

START = datetime(2026, 10, 1, tzinfo=UTC)
ACCOUNT = "default"
_PERSONS = 40


def main(mode: str, folder: Path, seed: int) -> None:
    """Do what the command line says."""
    data = DataDir.open(folder)
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    events = EventStore.open(data.events_dsn, data.scratch)
    media_buys = MediaBuyStore(control)
    if not AccountStore(control).list():
        AccountStore(control).create(ACCOUNT, sandbox=False)
        _buy(media_buys)
    attribution = Attribution(events, control, media_buys, folder / "derived", Limits(50, 70, 60))
    if mode == "work":
        with (
            patch.object(DerivedStore, "run", _announced(DerivedStore.run)),
            patch.object(ExposureIndex, "extend", _announced_extension(ExposureIndex.extend)),
        ):
            _work(events, attribution, random.Random(seed), threading.Event())
    if mode == "snapshots":
        _take_snapshots(data, control, events, attribution, random.Random(seed))
        return
    attribution.catch_up()
    _print(json.dumps(_differences(events, media_buys)))
    events.close()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _announced(run: Callable[..., None]) -> Callable[..., None]:
    def announced(store: DerivedStore, name: str, **parameters: object) -> None:
        _print(f"begin {name}")
        run(store, name, **parameters)
        _print(f"end {name}")

    return announced


def _announced_extension(extend: Callable[..., None]) -> Callable[..., None]:
    def announced(index: ExposureIndex, *exposures: object) -> None:
        _print("begin extend")
        extend(index, *exposures)
        _print("end extend")

    return announced


def _buy(media_buys: MediaBuyStore) -> None:
    sources = tuple(
        GoalSource(event_source_id=source, event_type=event_type, value_field="value")
        for source in ("web", "app")
        for event_type in ("purchase", "refund")
    )
    goal = EventGoal(kind="event", event_sources=sources)
    packages = tuple(
        Package(package_id=f"p{n}", product_id="x", pricing_option_id="y", budget=1.0, goals=(goal,)) for n in range(3)
    )
    media_buys.create(
        MediaBuy(
            account_id=ACCOUNT,
            media_buy_id="m",
            currency="USD",
            start_at=START,
            end_at=START + timedelta(days=90),
            created_at=START,
            total_budget=1.0,
            packages=packages,
        )
    )


def _take_snapshots(
    data: DataDir, control: ControlStore, events: EventStore, attribution: Attribution, chance: random.Random
) -> None:
    stop, summed, fixed = threading.Event(), threading.Event(), threading.Event()

    def run(store: DerivedStore, name: str, run: Callable[..., None] = DerivedStore.run, **parameters: object) -> None:
        run(store, name, **parameters)
        if name == "sum_exposures":
            summed.set()
            fixed.wait()

    with (
        patch.object(DerivedStore, "run", run),
        patch.object(EventStore, "freeze", _slowed(EventStore.freeze)),
        ThreadPoolExecutor(1) as worker,
    ):
        working = worker.submit(_work, events, attribution, chance, stop)
        missing = {"exposures", "none"}
        try:
            while not (summed.wait(0.1) or working.done()):
                pass
            while missing and not working.done():
                with snapshot(data, events, control, nullcontext()) as taken:
                    fixed.set()
                    taken.copy_control()
                    under_way = _sums_under_way(taken.path) & missing
                    for sums in under_way:
                        shutil.copytree(taken.path, data.path.parent / sums, symlinks=True)
                    missing -= under_way
        finally:
            stop.set()
            fixed.set()
        working.result()
    events.close()


def _sums_under_way(folder: Path) -> set[str]:
    """The table of sums that a run which was cut short may have added to; ``none`` if there is no such run."""
    control = ControlStore(f"sqlite:///{folder}/control.db")
    found = {
        sums if pending else "none"
        for _, pending, sums in StateStore(control, Lease(control, "attribution")).load().values()
    }
    control.close()
    return found


def _slowed(freeze: Callable[[EventStore, str], list[Path]]) -> Callable[[EventStore, str], list[Path]]:
    """As of a store with so many parts that a run could end meanwhile."""

    def slow(store: EventStore, name: str) -> list[Path]:
        frozen = freeze(store, name)
        time.sleep(0.5)
        return frozen

    return slow


def _work(events: EventStore, attribution: Attribution, chance: random.Random, stop: threading.Event) -> None:
    """Store facts, some of them again, and attribute them, round after round."""
    while not stop.is_set():
        count = chance.randint(1, 40)
        events.insert([_events(count, chance)])
        events.insert([_exposures(count, chance)])
        attribution.catch_up()
        _print("round")


def _keys(number: int) -> bytes:
    person = number % _PERSONS
    return bytes([1]) + bytes([person]) * 15 + bytes([4]) + bytes([person // 4]) * 15


def _moment(number: int) -> int:
    return int(START.timestamp() + number * 7919 % 5_000_000) * 1_000_000


def _events(count: int, chance: random.Random) -> Rows:
    numbers = [chance.randrange(500) for _ in range(count)]
    texts = dict.fromkeys(("event_source_url", "custom_event_name"), "") | {"account_id": ACCOUNT}
    columns: dict[str, Any] = {name: [text] * count for name, text in texts.items()} | {
        "event_source_id": [chance.choice(["web", "app"]) for _ in numbers],
        "event_type": [chance.choice(["purchase"] * 4 + ["refund"]) for _ in numbers],
        "event_id": [f"o{number}" for number in numbers],
        "event_time": list(map(_moment, numbers)),
        "place": list(range(count)),
        "action_source": ["website"] * count,
        "custom_data": [b'{"value":%d.25,"currency":"USD"}' % number for number in numbers],
        "extra": [b""] * count,
        "match_keys": list(map(_keys, numbers)),
        "quality": [0.5] * count,
        "warnings": [[]] * count,
    }
    return Rows("event", columns)


def _exposures(count: int, chance: random.Random) -> Rows:
    numbers = [chance.randrange(4_000) for _ in range(count)]
    columns: dict[str, Any] = {
        "account_id": [ACCOUNT] * count,
        "exposure_id": [f"x{number}" for number in numbers],
        "kind": ["click" if number % 3 else "impression" for number in numbers],
        "occurred_at": [_moment(number * 3) for number in numbers],
        "place": list(range(count)),
        "media_buy_id": ["m"] * count,
        "package_id": [f"p{number % 4}" for number in numbers],
        "creative_id": [f"c{number % 2}" for number in numbers],
        "match_keys": [_keys(number * 11) for number in numbers],
        "cost": [Decimal("0.001")] * count,
        "currency": ["USD"] * count,
    }
    return Rows("exposure", columns)


def _differences(events: EventStore, media_buys: MediaBuyStore) -> dict[str, Any]:
    """What is stored, and whether results and reference agree."""
    expected = derived_by_reference(events, ACCOUNT, media_buys.goals(ACCOUNT))
    counted = {outcome.lead: outcome for outcome in expected.outcomes.values()}
    agrees = {name: not count for name, count in derived(events, ACCOUNT).differs_in(expected).items()}
    [(stored,)] = select(events, "SELECT count() FROM event FINAL")
    return agrees | {
        "events": stored,
        "attributed": sum(outcome.conversions for outcome in counted.values()),
        "refunds": sum(outcome.purchase is not None for outcome in expected.outcomes.values()),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
