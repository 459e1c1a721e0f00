"""Attribution: many events against ten times as many exposures, a batch more, the report. pandas does the same rule."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped] # its stubs are a package of their own

from benchmarks.report import Goal, Section, Table
from benchmarks.size import Size
from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.media_buys.buys import MediaBuy, MediaBuyStore, Package
from postback.media_buys.goals import EventGoal, GoalSource
from postback.store.control import ControlStore
from postback.store.events import EventStore

__all__ = ["measure"]

_BATCH = 10_000
_REPORTS = 20
_START = datetime(2026, 10, 1, tzinfo=UTC)
_GOAL_RATE, _GOAL_BATCH_S, _GOAL_REPORT_S = 200_000, 1.0, 0.3

# A person has an e-mail address and a browser; both sides know both. Engine functions make the same people every time.
_KEY = (
    "CAST(concat(char({kind}), substring(concat("
    "reinterpretAsString(bitOr(sipHash64({person}, {kind}), 0x8000000000000000)), "
    "reinterpretAsString(bitOr(sipHash64({person}, 5, {kind}), 0x8000000000000000))), 1, 15)) AS FixedString(16))"
)
_EXPOSURES = """
INSERT INTO exposure (account_id, exposure_id, kind, occurred_at, received_at, media_buy_id, package_id, creative_id,
    match_keys, cost, currency)
SELECT 'default', concat('imp-', toString(sipHash64(number, 3)), '-', toString(number)),
    if(number % 20 = 0, 'click', 'impression'),
    toDateTime64('2026-10-01 00:00:00', 6, 'UTC') + toIntervalSecond(sipHash64(number) % (45 * 86400)),
    fromUnixTimestamp64Micro(toInt64({stamp} + number), 'UTC'),
    'mb', concat('p', toString(number % 10)), concat('c', toString(number % 3)),
    [{email}, {browser}], JSONExtract('0.003', 'Decimal(38, 9)'), 'USD'
FROM numbers({first}, {count})
"""
_EVENTS = """
INSERT INTO event (account_id, event_source_id, event_type, event_id, event_time, received_at, action_source,
    custom_data, match_keys, quality)
SELECT 'default', 'web', 'purchase', concat('order-', toString(sipHash64(number, 3)), '-', toString(number)),
    toDateTime64('2026-10-15 00:00:00', 6, 'UTC') + toIntervalSecond(sipHash64(number, 7) % (30 * 86400)),
    fromUnixTimestamp64Micro(toInt64({stamp} + number), 'UTC'), 'website', '{{"value":12.5,"currency":"USD"}}',
    [{email}, {browser}], 0.85
FROM numbers({first}, {count})
"""


def measure(size: Size, folder: Path) -> Section:
    """Attribute, attribute a batch more, report; at a tenth of the exposures and at all of them."""
    rows: list[tuple[str, ...]] = []
    for exposures in (size.exposures // 10, size.exposures):
        found = _measure(exposures, folder / f"with-{exposures}")
        rows.append(found.cells())
    return Section(
        title="Attribution and reports",
        method=(
            "Exposures of three tenths as many people, events of a tenth as many as exposures, two identifiers each, "
            "ten packages, a click in twenty; 30 days after a click, 1 day after a view. Both were stored before "
            "the clock started; attributing takes what is stored to outcomes and sums on disk. pandas does the "
            "same rule in memory, from data frames that are ready, and counts the same conversions. A batch is "
            f"{_BATCH:,} events more; the report is get_media_buy_delivery's queries over all ten packages."
        ),
        table=Table(
            (
                "exposures",
                "counted/s",
                "events/s",
                "pandas events/s",
                "of pandas",
                "a batch more",
                "report, median",
                "conversions",
            ),
            rows,
        ),
        goals=[
            Goal(f"{_GOAL_RATE:,} events/s", f"{found.rate:,.0f}", found.rate >= _GOAL_RATE),
            Goal("a batch within 1 s", f"{found.batch_s:.2f} s", found.batch_s <= _GOAL_BATCH_S),
            Goal("the report under 300 ms", f"{found.report_s * 1000:.0f} ms", found.report_s < _GOAL_REPORT_S),
            Goal("the conversions that pandas counts", str(found.agrees), found.agrees),
        ],
    )


class _Found:
    """What was measured at one number of exposures."""

    def __init__(self, exposures: int) -> None:
        self.exposures = exposures
        self.count_rate = self.rate = self.pandas_rate = self.batch_s = self.report_s = 0.0
        self.conversions = 0
        self.agrees = False

    def cells(self) -> tuple[str, ...]:
        return (
            f"{self.exposures:,}",
            f"{self.count_rate:,.0f}",
            f"{self.rate:,.0f}",
            f"{self.pandas_rate:,.0f}",
            f"{self.rate / self.pandas_rate:.1f}",
            f"{self.batch_s:.2f} s",
            f"{self.report_s * 1000:.0f} ms",
            f"{self.conversions:,}",
        )


def _measure(exposures: int, folder: Path) -> _Found:
    found, events = _Found(exposures), exposures // 10
    (folder / "tmp").mkdir(parents=True)
    control = ControlStore(f"sqlite:///{folder}/control.db")
    control.migrate()
    AccountStore(control).create("default", sandbox=False)
    store, media_buys = EventStore.open(f"chdb://{folder}/events", folder / "tmp"), MediaBuyStore(control)
    attribution = Attribution(store, control, media_buys)
    people = exposures * 3 // 10
    for first in range(0, exposures, 1_000_000):
        _insert(store, _EXPOSURES, 0, first, min(1_000_000, exposures - first), people)
    found.count_rate = exposures / _timed(attribution.catch_up)
    _insert(store, _EVENTS, 10**12, 0, events, people)
    _buy(media_buys)
    found.rate = events / _timed(attribution.catch_up)
    _insert(store, _EVENTS, 2 * 10**12, events, _BATCH, people)
    found.batch_s = _timed(attribution.catch_up)
    found.report_s = statistics.median(_timed(lambda: _report(store)) for _ in range(_REPORTS))
    found.conversions = _report(store)
    pandas_s, conversions = _by_pandas(store)
    found.pandas_rate = (events + _BATCH) / pandas_s
    found.agrees = conversions == found.conversions
    store.close()
    control.close()
    return found


def _insert(store: EventStore, statement: str, stamp: int, first: int, count: int, people: int) -> None:
    person = f"intHash64(number) % {people}"
    keys = {name: _KEY.format(kind=kind, person=person) for name, kind in (("email", 1), ("browser", 4))}
    store._writer.command(statement.format(stamp=stamp + 1, first=first, count=count, **keys))


def _buy(media_buys: MediaBuyStore) -> None:
    source = GoalSource(event_source_id="web", event_type="purchase", value_field="value")
    goal = EventGoal(kind="event", event_sources=(source,))
    packages = tuple(
        Package(package_id=f"p{n}", product_id="x", pricing_option_id="y", budget=1.0, goals=(goal,)) for n in range(10)
    )
    media_buys.create(
        MediaBuy(
            account_id="default",
            media_buy_id="mb",
            currency="USD",
            start_at=_START,
            end_at=_START + timedelta(days=45),
            created_at=_START,
            total_budget=1.0,
            packages=packages,
        )
    )


def _report(store: EventStore) -> int:
    """Ask for what a delivery report is made of; returns the conversions."""
    asked = {
        "account_ids": ["default"],
        "media_buy_ids": ["mb"],
        "start": datetime(1970, 1, 1, tzinfo=UTC),
        "end": datetime(2106, 1, 1, tzinfo=UTC),
    }
    store.query("delivery_exposures", **asked, currencies=["USD"])
    return sum(int(row[-2]) for row in store.query("delivery_conversions", **asked))


def _by_pandas(store: EventStore) -> tuple[float, int]:
    """The same rule by merge_asof: seconds, and the conversions found."""
    with store._reader() as client:
        exposures = client.query_df(
            "SELECT hex(arrayJoin(match_keys)) AS key, occurred_at AS at, kind FROM exposure FINAL"
        ).sort_values("at")
        events = client.query_df(
            "SELECT event_id, hex(arrayJoin(match_keys)) AS key, event_time AS at FROM event FINAL"
        ).sort_values("at")
    started = time.perf_counter()
    matched: set[str] = set()
    for kind, days in (("click", 30), ("impression", 1)):
        shown = exposures[exposures["kind"] == kind].rename(columns={"at": "shown_at"})
        joined = pd.merge_asof(
            events,
            shown,
            left_on="at",
            right_on="shown_at",
            by="key",
            tolerance=pd.Timedelta(days=days),
        )
        matched |= set(joined.loc[joined["shown_at"].notna(), "event_id"])
    return time.perf_counter() - started, len(matched)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
