"""A process that attributes events while they arrive; the fault test starts it and kills it.

Usage: attribution_child.py work|check FOLDER SEED. ``work`` goes on until it is killed. ``check`` catches up and tells
where the results differ from the reference.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.integration.attribution_reference import (
    Event,
    Exposure,
    Outcome,
    attribute,
    hours_of_conversions,
    hours_of_exposures,
)
from tests.integration.test_attribution import CONVERSION_HOURS, EXPOSURE_HOURS, OUTCOMES

from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution, Limits
from postback.media_buys.buys import MediaBuy, MediaBuyStore, Package
from postback.media_buys.goals import EventGoal, GoalSource
from postback.store.control import ControlStore
from postback.store.events import EventStore
from postback.store.rows import Rows
from postback.store.stamps import Stamps

START = datetime(2026, 10, 1, tzinfo=UTC)
ACCOUNT = "default"
_PERSONS = 40


def main(mode: str, folder: Path, seed: int) -> None:
    """Do what the command line says."""
    (folder / "tmp").mkdir(exist_ok=True)
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    events = EventStore.open(f"chdb://{folder}/events", folder / "tmp")
    media_buys = MediaBuyStore(control)
    if not AccountStore(control).list():
        AccountStore(control).create(ACCOUNT, sandbox=False)
        _buy(media_buys)
    attribution = Attribution(events, control, media_buys, Limits(50, 70, 60))
    if mode == "work":
        _work(events, attribution, random.Random(seed))
    attribution.catch_up()
    sys.stdout.write(json.dumps(_differences(events, media_buys)) + "\n")
    events.close()


def _buy(media_buys: MediaBuyStore) -> None:
    sources = tuple(
        GoalSource(event_source_id=source, event_type="purchase", value_field="value") for source in ("web", "app")
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


def _work(events: EventStore, attribution: Attribution, chance: random.Random) -> None:
    """Store facts, some of them again, and attribute them; each round is told when it is done."""
    stamps = Stamps(events.last_stamp())
    while True:
        count = chance.randint(1, 40)
        events.insert([_events(count, stamps.take(count), chance)])
        events.insert([_exposures(count, stamps.take(count), chance)])
        attribution.catch_up()
        sys.stdout.write("round\n")
        sys.stdout.flush()


def _keys(number: int) -> bytes:
    person = number % _PERSONS
    return bytes([1]) + bytes([person]) * 15 + bytes([4]) + bytes([person // 4]) * 15


def _moment(number: int) -> int:
    return int(START.timestamp() + number * 7919 % 5_000_000) * 1_000_000


def _events(count: int, stamp: int, chance: random.Random) -> Rows:
    numbers = [chance.randrange(4_000) for _ in range(count)]
    texts = dict.fromkeys(("event_source_url", "custom_event_name"), "") | {"account_id": ACCOUNT}
    columns: dict[str, Any] = {name: [text] * count for name, text in texts.items()} | {
        "event_source_id": [chance.choice(["web", "app"]) for _ in numbers],
        "event_type": ["purchase"] * count,
        "event_id": [f"o{number}" for number in numbers],
        "event_time": list(map(_moment, numbers)),
        "received_at": list(range(stamp, stamp + count)),
        "action_source": ["website"] * count,
        "custom_data": [b'{"value":%d.25,"currency":"USD"}' % number for number in numbers],
        "extra": [b""] * count,
        "match_keys": list(map(_keys, numbers)),
        "quality": [0.5] * count,
        "warnings": [[]] * count,
    }
    return Rows("event", columns)


def _exposures(count: int, stamp: int, chance: random.Random) -> Rows:
    numbers = [chance.randrange(4_000) for _ in range(count)]
    columns: dict[str, Any] = {
        "account_id": [ACCOUNT] * count,
        "exposure_id": [f"x{number}" for number in numbers],
        "kind": ["click" if number % 3 else "impression" for number in numbers],
        "occurred_at": [_moment(number * 3) for number in numbers],
        "received_at": list(range(stamp, stamp + count)),
        "media_buy_id": ["m"] * count,
        "package_id": [f"p{number % 4}" for number in numbers],
        "creative_id": [f"c{number % 2}" for number in numbers],
        "match_keys": [_keys(number * 11) for number in numbers],
        "cost": [Decimal("0.001")] * count,
        "currency": ["USD"] * count,
    }
    return Rows("exposure", columns)


def _differences(events: EventStore, media_buys: MediaBuyStore) -> dict[str, Any]:
    """What is stored, and how often results and reference differ."""
    with events._reader() as client:

        def rows(statement: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in client.query(statement, parameters={"account_id": ACCOUNT}).result_rows]

        facts = [
            Event(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), "", row[6], row[7])
            for row in rows(
                "SELECT event_source_id, event_type, event_id, toUnixTimestamp64Micro(event_time), "
                "toUnixTimestamp64Micro(received_at), match_keys, action_source, custom_data FROM event FINAL"
            )
        ]
        shown = [
            Exposure(row[0], row[1], row[2], row[3], (row[4], row[5]), row[6], tuple(row[7]), row[8], row[9])
            for row in rows(
                "SELECT exposure_id, kind, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Micro(received_at), "
                "media_buy_id, package_id, creative_id, match_keys, cost, currency FROM exposure FINAL"
            )
        ]
        packages = media_buys.goals(ACCOUNT)
        expected = attribute(facts, shown, packages, {})
        outcomes = {row[:3]: Outcome((row[3], row[4]), *row[5:]) for row in rows(OUTCOMES)}
        exposure_hours = {row[:5]: row[5:] for row in rows(EXPOSURE_HOURS)}
        conversion_hours = {row[:6]: row[6:] for row in rows(CONVERSION_HOURS) if any(row[6:])}
    return {
        "events": len(facts),
        "attributed": sum(outcome.counted for outcome in expected.values()),
        "outcomes": outcomes == expected,
        "exposure_hours": exposure_hours == hours_of_exposures(shown, packages),
        "conversion_hours": conversion_hours == hours_of_conversions(facts, expected),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
