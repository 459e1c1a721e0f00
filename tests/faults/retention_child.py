"""A process that drops what is old; the fault test starts it and kills it.

Usage: retention_child.py fill|check|STATEMENT FOLDER. ``fill`` stores and attributes, and prints what is reported.
With the name of a statement it sweeps, and is killed when that statement has begun. ``check`` completes the sweep; it
prints how many rows still have something to drop, and what is reported before and after a rebuild.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.engine import select
from tests.integration.derived import CONVERSION_HOURS, EXPOSURE_HOURS, OUTCOMES

from postback.accounts.store import AccountStore
from postback.attribution.retention import Retention
from postback.attribution.runner import Attribution
from postback.attribution.statements import DerivedStore
from postback.event_sources.store import SourceRegistry
from postback.media_buys.goals import EventGoal, GoalSource
from postback.media_buys.media_buy import MediaBuy, Package
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore
from postback.threads import Threads

START = datetime(2024, 1, 1, tzinfo=UTC)
ACCOUNT = "default"
_EVENTS = 300_000
"""So many that the engine takes a second to rewrite them."""


def main(mode: str, folder: Path) -> None:
    """Do what the command line says."""
    (folder / "tmp").mkdir(exist_ok=True)
    with (
        closing(ControlStore(f"sqlite:///{folder}/control.db")) as control,
        closing(EventStore.open(f"chdb://{folder}/events", folder / "tmp")) as events,
    ):
        control.migrate()
        attribution = Attribution(events, control, MediaBuyStore(control), folder / "derived")
        if mode == "fill":
            _fill(events, control)
        elif mode == "check":
            _sweep(events, control, attribution)
            swept = _reported(events)
            attribution.rebuild()
            left = select(events, "SELECT count() FROM event WHERE notEmpty(match_keys) OR custom_data LIKE '%note%'")
            _print({"left": left[0][0], "swept": swept})
        else:
            with patch.object(DerivedStore, "run", _killed_after(mode, DerivedStore.run)):
                _sweep(events, control, attribution)
        attribution.catch_up()
        _print(_reported(events))


def _print(found: Any) -> None:
    sys.stdout.write(f"{json.dumps(found, default=str)}\n")


def _killed_after(statement: str, run: Callable[..., None]) -> Callable[..., None]:
    def killed(derived: DerivedStore, name: str, **parameters: object) -> None:
        run(derived, name, **parameters)
        if name == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    return killed


def _fill(events: EventStore, control: ControlStore) -> None:
    AccountStore(control).create(ACCOUNT, sandbox=False)
    source = GoalSource(event_source_id="web", event_type="purchase", value_field="value")
    package = Package(
        package_id="p",
        product_id="x",
        pricing_option_id="y",
        budget=1.0,
        goals=(EventGoal(kind="event", event_sources=(source,)),),
    )
    MediaBuyStore(control).create(
        MediaBuy(
            account_id=ACCOUNT,
            media_buy_id="m",
            currency="USD",
            start_at=START,
            end_at=START + timedelta(days=90),
            created_at=START,
            total_budget=1.0,
            packages=(package,),
        )
    )
    parameters = {"count": _EVENTS, "start": int(START.timestamp())}
    events.deriver.command(
        "INSERT INTO exposure (account_id, exposure_id, kind, occurred_at, received_at, media_buy_id, package_id, "
        "match_keys) SELECT 'default', toString(number), 'click', {start:UInt32} + number, {start:UInt32} + number, "
        "'m', 'p', [MD5(toString(number))] FROM numbers(1000)",
        parameters=parameters,
    )
    events.deriver.command(
        "INSERT INTO event (account_id, event_source_id, event_type, event_id, event_time, received_at, custom_data, "
        "match_keys) SELECT 'default', if(number % 300 = 0, 'web', 'app'), 'purchase', toString(number), "
        "{start:UInt32} + 9000 + number % 7000, {start:UInt32} + 20000 + number, "
        """concat('{"value":', toString(number % 100), '.5,"currency":"USD","note":"', toString(number), '"}'), """
        "[MD5(toString(number % 1500))] FROM numbers({count:UInt32})",
        parameters=parameters,
    )


def _sweep(events: EventStore, control: ControlStore, attribution: Attribution) -> None:
    threads = Threads(1)
    with (
        closing(threads),
        closing(Retention(events, attribution, SourceRegistry(control), 90, 400, Metrics(), time.time)) as retention,
    ):
        asyncio.run(retention.sweep(threads))


def _reported(events: EventStore) -> Any:
    """Outcomes and sums by hour, in a form that JSON keeps."""
    rows = [sorted(select(events, query, account_id=ACCOUNT)) for query in (OUTCOMES, EXPOSURE_HOURS, CONVERSION_HOURS)]
    return json.loads(json.dumps(rows, default=str))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
