"""A media buy's list of conversions is that of the newest outcomes, whatever earlier runs attributed to it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.engine import open_events

from postback.media_buys.media_buy import MediaBuy
from postback.services import Services
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore
from postback.tasks.list_conversions import ConversionFilter, Position, read_conversions

Row = dict[str, Any]
Identity = tuple[str, str, str]

FIRST_DAY = datetime(2026, 10, 17, tzinfo=UTC)
QUERIES: tuple[dict[str, str], ...] = (
    {},
    {"package_id": "p1"},
    {"event_type": "purchase", "event_source_id": "web"},
    {"kind": "refund"},
    {"kind": "conversion", "creative_id": "c"},
    {"value_reason": "NEGATIVE"},
    {"start_date": "2026-10-18", "end_date": "2026-10-19"},
    {"start_date": "2026-10-16", "end_date": "2026-10-18", "package_id": "p2"},
    {"hour": "2026-10-17T05:00:00Z"},
)


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventStore]:
    data = DataDir.open(tmp_path / "data")
    store = open_events(data.path)
    yield store
    store.close()
    data.close()


@pytest.mark.parametrize("merged", [False, True])
def test_pages_are_those_of_the_newest_outcomes(events: EventStore, *, merged: bool) -> None:
    chance = random.Random(merged)
    newest: dict[Identity, Row] = {}
    for run in range(1, 5):
        outcomes = dict(_outcome(chance, run) for _ in range(300))
        rows = [list(row.values()) for row in outcomes.values()]
        events.deriver.insert("attribution", rows, column_names=list(next(iter(outcomes.values()))))
        newest |= outcomes
    if merged:
        events.deriver.command("OPTIMIZE TABLE attributed_event FINAL")

    for query in QUERIES:
        wanted = [row for row in newest.values() if row["media_buy_id"] == "mb" and _fits(row, query)]
        wanted.sort(key=lambda row: (row["event_time"], row["event_type"], row["event_id"], row["event_source_id"]))
        listed = [(row["event_source_id"], row["event_type"], row["event_id"]) for row in reversed(wanted)]
        assert _listed(events, query, chance.choice((3, 40, 1_000))) == listed, query


def _outcome(chance: random.Random, run: int) -> tuple[Identity, Row]:
    """What a run found of some event; a refund is mostly reported at the time of its purchase."""
    event_type, source = chance.choice(("purchase", "lead", "refund")), chance.choice(("web", "crm"))
    number = chance.randrange(150)
    at = FIRST_DAY + timedelta(hours=number % 36, microseconds=number % 2)
    refund = event_type == "refund" and chance.random() < 0.8
    media_buy_id = chance.choice(("mb", "mb", "other", ""))
    counted = chance.random() < 0.8
    row = {
        "account_id": "default",
        "event_type": event_type,
        "event_id": str(number),
        "event_source_id": source,
        "run_id": run,
        "event_time": at,
        "reported_at": at - timedelta(days=chance.randrange(3)) if refund else at,
        "reported_type": "purchase" if refund else event_type,
        "media_buy_id": media_buy_id,
        "package_id": chance.choice(("p1", "p2")) if media_buy_id else "",
        "creative_id": chance.choice(("", "c")),
        "exposure_id": "seen",
        "exposure_kind": "click",
        "exposure_at": at,
        "match_kind": 1,
        "counted": counted,
        "conversions": int(counted and not refund),
        "value_reason": chance.choice(("", "NEGATIVE")),
    }
    return (source, event_type, str(number)), row


def _fits(row: Row, query: Mapping[str, str]) -> bool:
    chosen = ConversionFilter.of(query)
    span = chosen.stored()
    kinds = {"": True, "conversion": row["conversions"] != 0, "refund": row["counted"] and not row["conversions"]}
    return (
        span["start"] <= row["reported_at"] < span["end"]
        and kinds[chosen.kind]
        and chosen.event_type in ("", row["reported_type"])
        and all(
            getattr(chosen, name) in ("", row[name])
            for name in ("package_id", "creative_id", "event_source_id", "value_reason")
        )
    )


def _listed(events: EventStore, query: Mapping[str, str], most: int) -> list[Identity]:
    """All pages of so many."""
    services = cast("Services", SimpleNamespace(shards=SimpleNamespace(of=lambda _: events)))
    buy = cast("MediaBuy", SimpleNamespace(account_id="default", media_buy_id="mb"))
    found: list[Identity] = []
    after: Position | None = None
    while True:
        page, after = read_conversions(services, buy, ConversionFilter.of(query), after, most)
        found += [(each.event_source_id, each.event_type, each.event_id) for each in page]
        if after is None:
            return found
