"""Attribution: many events against ten times as many exposures, a batch more, the report. pandas does the same rule."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped] # its stubs are a package of their own

from benchmarks.audience import REPORTED, Audience, buy_media, reported_conversions
from benchmarks.report import Goal, Section, Table
from benchmarks.size import Size
from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.event_store import EventStore

__all__ = ["measure"]

_BATCH = 10_000
_REPORTS = 20
_GOAL_RATE, _GOAL_BATCH_S, _GOAL_REPORT_S = 200_000, 0.5, 0.3


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
                "CPU, 10,000 events",
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
            Goal("a batch within 0.5 s", f"{found.batch_s:.2f} s", found.batch_s <= _GOAL_BATCH_S),
            Goal("the report under 300 ms", f"{found.report_s * 1000:.0f} ms", found.report_s < _GOAL_REPORT_S),
            Goal("the conversions that pandas counts", str(found.agrees), found.agrees),
        ],
    )


class _Found:
    """What was measured at one number of exposures."""

    def __init__(self, exposures: int) -> None:
        self.exposures = exposures
        self.count_rate = self.rate = self.pandas_rate = self.batch_s = self.report_s = 0.0
        self.cpu_s = 0.0
        self.conversions = 0
        self.agrees = False

    def cells(self) -> tuple[str, ...]:
        return (
            f"{self.exposures:,}",
            f"{self.count_rate:,.0f}",
            f"{self.rate:,.0f}",
            f"{self.cpu_s * 1000:.0f} ms",
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
    attribution = Attribution(store, control, media_buys, folder / "derived")
    audience = Audience(store, people=exposures * 3 // 10)
    audience.see(exposures)
    found.count_rate = exposures / _timed(attribution.catch_up)
    audience.buy(0, events)
    buy_media(media_buys)
    before = time.process_time()
    found.rate = events / _timed(attribution.catch_up)
    found.cpu_s = (time.process_time() - before) / events * 10_000
    audience.buy(events, events + _BATCH)
    found.batch_s = _timed(attribution.catch_up)
    found.report_s = statistics.median(_timed(lambda: _report(store)) for _ in range(_REPORTS))
    found.conversions = _report(store)
    pandas_s, conversions = _by_pandas(store)
    found.pandas_rate = (events + _BATCH) / pandas_s
    found.agrees = conversions == found.conversions
    store.close()
    control.close()
    return found


def _report(store: EventStore) -> int:
    """Ask for what a delivery report is made of; returns the conversions."""
    store.query("delivery_exposures", **REPORTED)
    return reported_conversions(store)


def _by_pandas(store: EventStore) -> tuple[float, int]:
    """The same rule by merge_asof: seconds, and the conversions found."""
    exposures = store.deriver.query_df(
        "SELECT hex(arrayJoin(match_keys)) AS key, occurred_at AS at, kind FROM exposure FINAL"
    ).sort_values("at")
    events = store.deriver.query_df(
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
