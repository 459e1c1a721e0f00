"""Counters and histograms for Prometheus that cost little: a short call of a task adds to twenty of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf
from threading import Lock
from time import perf_counter

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["Counter", "Histogram", "StageTimer", "Stages"]


class Counter(Collector):
    """A number that only grows, for each combination of labels. Thread-safe.

    Args:
        name: Its name for Prometheus, without ``_total``.
        documentation: What it counts.
        labels: The names of its labels.
        registry: Where it is read.
    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._described = name, documentation
        self._labels = labels
        self._lock = Lock()
        self._counts: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        registry.register(self)

    def add(self, amount: float, *labels: str) -> None:
        """Add to the number under the values of the labels."""
        with self._lock:
            self._counts[labels] = self._counts.get(labels, 0.0) + amount

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Its numbers, for the registry."""
        family = CounterMetricFamily(*self._described, labels=self._labels)
        with self._lock:
            counts = list(self._counts.items())
        for labels, count in counts:
            family.add_metric(labels, count)
        yield family


class _Observed:
    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class Histogram(Collector):
    """Counts observations by their size, for each combination of labels. Thread-safe.

    Args:
        name: Its name for Prometheus.
        documentation: What is observed.
        labels: The names of its labels.
        registry: Where it is read.
        buckets: The upper bounds of the counts, ascending; larger observations are counted, too.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        buckets: Sequence[float],
    ) -> None:
        self._described = name, documentation
        self._labels = labels
        self._bounds = buckets
        self._lock = Lock()
        self._observed: dict[tuple[str, ...], _Observed] = {} if labels else {(): _Observed(len(buckets) + 1)}
        registry.register(self)

    def observe(self, amount: float, *labels: str) -> None:
        """Count an observation under the values of the labels."""
        with self._lock:
            observed = self._observed.get(labels)
            if observed is None:
                observed = self._observed[labels] = _Observed(len(self._bounds) + 1)
            observed.counts[bisect_left(self._bounds, amount)] += 1
            observed.sum += amount

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Its counts, for the registry."""
        family = HistogramMetricFamily(*self._described, labels=self._labels)
        with self._lock:
            found = [(labels, list(observed.counts), observed.sum) for labels, observed in self._observed.items()]
        bounds = list(map(floatToGoString, (*self._bounds, inf)))
        for labels, counts, total in found:
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family


class Stages:
    """Times the named stages of one pipeline. Thread-safe."""

    def __init__(self, durations: Histogram, pipeline: str) -> None:
        self._durations = durations
        self._pipeline = pipeline

    def observe(self, stage: str, seconds: float) -> None:
        """Record that a stage took this long; ``stage`` comes from a closed set."""
        self._durations.observe(seconds, self._pipeline, stage)

    def time(self, stage: str) -> StageTimer:
        """A context manager that times a stage, also one that fails."""
        return StageTimer(self, stage)


class StageTimer:
    """Times what happens inside a ``with`` block."""

    __slots__ = ("_stage", "_stages", "_started")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages = stages
        self._stage = stage

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._stages.observe(self._stage, perf_counter() - self._started)
