"""Growth: attribution by the number of exposures, the report by the number of conversions in one media buy."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks.audience import Audience, buy_media, reported_conversions
from benchmarks.report import Goal, Section, Table
from benchmarks.server import Server, data_folder, serving
from benchmarks.size import Size
from postback.accounts.store import AccountStore
from postback.attribution.runner import Attribution
from postback.media_buys.store import MediaBuyStore
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore

__all__ = ["convert_in_a_process", "measure_attribution", "measure_reports"]

_BATCH = 10_000
_REPORTS = 20
_MOST_BATCH_S = 0.5
_MOST_REPORT_S = 0.3

_TABLE_BYTES = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table IN ('exposure', 'exposure_hour')"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a server would open of its data folder."""

    store: EventStore
    accounts: AccountStore
    media_buys: MediaBuyStore
    attribution: Attribution
    derived: Path


@dataclass(frozen=True, slots=True)
class _Attributed:
    """What attribution took against so many exposures: rates a second, ``batch_s`` for a batch more.

    The figures are CPU seconds for a million exposures and events, and the bytes that an exposure takes on disk.
    """

    exposures: int
    count_rate: float
    rate: float
    batch_s: float
    conversions: int
    peak_mb: float
    figures: dict[str, float]


def measure_attribution(size: Size, folder: Path) -> Section:
    """Attribute a tenth as many events as there are exposures, then a batch more, at each number of exposures."""
    found = [_in_a_process(_attribute, folder / f"with-{exposures}", exposures) for exposures in size.growing_exposures]
    first, compared = found[0], next((f for f in found if f.exposures == 10_000_000), found[-1])
    return Section(
        title="Attribution by the number of exposures",
        method=(
            "Exposures of three tenths as many people, events of a tenth as many as exposures, two identifiers each, "
            "ten packages, a click in twenty. Both were stored before the clock started; attributing takes what is "
            f"stored to outcomes and sums on disk. A batch is {_BATCH:,} events more. Peak is the resident memory of "
            "the process, files that it maps included. Of the first: the events/s, divided by those of the first row."
        ),
        table=Table(
            ("exposures", "counted/s", "events/s", "of the first", "a batch more", "conversions", "peak"),
            [
                (
                    f"{f.exposures:,}",
                    f"{f.count_rate:,.0f}",
                    f"{f.rate:,.0f}",
                    f"{f.rate / first.rate:.2f}",
                    f"{f.batch_s:.2f} s",
                    f"{f.conversions:,}",
                    f"{f.peak_mb:,.0f} MB",
                )
                for f in found
            ],
        ),
        figures=compared.figures,
        goals=[
            Goal(
                f"a batch within {_MOST_BATCH_S} s at {compared.exposures:,} exposures",
                f"{compared.batch_s:.2f} s",
                compared.batch_s <= _MOST_BATCH_S,
            )
        ],
    )


def measure_reports(size: Size, folder: Path) -> Section:
    """Call get_media_buy_delivery over REST for a media buy with more and more conversions."""
    with serving(folder):
        pass  # its first start makes the account
    rows: list[tuple[str, ...]] = []
    medians: list[float] = []
    filled = 0
    for conversions in size.growing_conversions:
        convert_in_a_process(folder, filled, conversions)
        filled = conversions
        with serving(folder) as server:
            answered_in = [_report(server, conversions) for _ in range(1 + _REPORTS)][1:]
        medians.append(median(answered_in))
        rows.append(
            (
                f"{conversions:,}",
                f"{medians[-1] * 1000:,.0f} ms",
                f"{max(answered_in) * 1000:,.0f} ms",
                f"{medians[-1] / medians[0]:.1f}",
            )
        )
    return Section(
        title="Reports by the number of conversions",
        method=(
            "get_media_buy_delivery over REST for one media buy of ten packages, all of whose conversions are "
            "attributed; they came on ten days. One call after the other, each over a connection of its own, "
            f"{_REPORTS} after one that is left out. Every report had the number of conversions that were made."
        ),
        table=Table(("conversions", "a report, median", "slowest", "times the first"), rows),
        goals=[
            Goal(
                f"the report under {_MOST_REPORT_S * 1000:.0f} ms at {filled:,} conversions",
                f"{medians[-1] * 1000:,.0f} ms",
                medians[-1] < _MOST_REPORT_S,
            )
        ],
    )


def _report(server: Server, conversions: int) -> float:
    started = time.perf_counter()
    report = server.call("get_media_buy_delivery", media_buy_ids=["mb"])
    seconds = time.perf_counter() - started
    [buy] = report["media_buy_deliveries"]
    counted = buy["totals"]["conversions"]
    if counted != conversions:
        raise RuntimeError(f"the report counts {counted:,} conversions; {conversions:,} were made")
    return seconds


def _attribute(folder: Path, exposures: int) -> _Attributed:
    events = exposures // 10
    with _opened(folder) as opened:
        opened.accounts.create("default", sandbox=False)
        audience = Audience(opened.store, people=exposures * 3 // 10)
        audience.see(exposures)
        cpu = [time.process_time()]
        count_s = _timed(opened.attribution.catch_up)
        cpu.append(time.process_time())
        audience.buy(0, events)
        buy_media(opened.media_buys)
        cpu.append(time.process_time())
        events_s = _timed(opened.attribution.catch_up)
        cpu.append(time.process_time())
        audience.buy(events, events + _BATCH)
        batch_s = _timed(opened.attribution.catch_up)
        conversions = reported_conversions(opened.store)
        index_bytes = sum(file.stat().st_size for file in opened.derived.rglob("*") if file.is_file())
        [[table_bytes]] = opened.store.deriver.query(_TABLE_BYTES).result_rows
    figures = {
        "exposures": exposures,
        "exposure_cpu_s": (cpu[1] - cpu[0]) / exposures * 1e6,
        "attribution_cpu_s": (cpu[3] - cpu[2]) / events * 1e6,
        "exposure_bytes": table_bytes / exposures,
        "index_bytes": index_bytes / exposures,
    }
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return _Attributed(exposures, exposures / count_s, events / events_s, batch_s, conversions, peak_mb, figures)


def convert_in_a_process(folder: Path, first: int, end: int) -> None:
    """Have the persons from ``first`` to ``end`` click and buy, once each, and attribute everything.

    ``folder`` is one that a server has served from and doesn't.
    """
    _in_a_process(_convert, folder, first, end)


def _convert(folder: Path, first: int, end: int) -> None:
    with _opened(data_folder(folder)) as opened:
        if not first:
            buy_media(opened.media_buys)
        Audience(opened.store).click_and_buy(first, end)
        opened.attribution.catch_up()


@contextmanager
def _opened(folder: Path) -> Iterator[_Opened]:
    data = DataDir.open(folder)
    control = ControlStore(data.control_url)
    control.migrate()
    store, media_buys = EventStore.open(data.events_dsn, data.scratch), MediaBuyStore(control)
    with closing(data), closing(control), closing(store):
        attribution = Attribution(store, control, media_buys, data.derived)
        yield _Opened(store, AccountStore(control), media_buys, attribution, data.derived)


def _in_a_process(work: Callable[..., _T], *arguments: object) -> _T:
    """Work in a process that ends with it: its engine's threads must not go on."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
