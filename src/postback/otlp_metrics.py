"""Metrics as Prometheus has them, in the form that OTLP sends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric
from prometheus_client.samples import Sample

__all__ = ["metrics_data"]

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_Labels = tuple[tuple[str, str], ...]


def metrics_data(metrics: Iterable[Metric], resource: Resource, started: int, now: int) -> MetricsData:
    """Metrics, each counted since the server started; times are in ns since the epoch."""
    found = [_converted(metric, started, now) for metric in metrics if metric.samples]
    of_scope = ScopeMetrics(scope=InstrumentationScope("postback"), metrics=found, schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[of_scope], schema_url="")])


def _converted(metric: Metric, started: int, now: int) -> OtlpMetric:
    """A metric with all its series."""
    if metric.type == "histogram":
        points = _histograms(metric.samples, started, now)
        return OtlpMetric(metric.name, metric.documentation, "", Histogram(points, _CUMULATIVE))
    counts = metric.type == "counter"
    samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    numbers = [NumberDataPoint(dict(s.labels), started if counts else None, now, s.value) for s in samples]  # type: ignore[arg-type]
    if counts:
        return OtlpMetric(
            f"{metric.name}_total", metric.documentation, "", Sum(numbers, _CUMULATIVE, is_monotonic=True)
        )
    return OtlpMetric(metric.name, metric.documentation, "", Gauge(numbers))


def _histograms(samples: Iterable[Sample], started: int, now: int) -> list[HistogramDataPoint]:
    series: dict[_Labels, dict[str, float]] = defaultdict(dict)
    buckets: dict[_Labels, list[tuple[float, int]]] = defaultdict(list)
    for sample in samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            buckets[labels].append((float(sample.labels["le"]), int(sample.value)))
        else:
            series[labels][sample.name.rpartition("_")[2]] = sample.value
    return [
        HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=started,
            time_unix_nano=now,
            count=int(series[labels]["count"]),
            sum=series[labels]["sum"],
            bucket_counts=_apart([count for _, count in found]),
            explicit_bounds=[bound for bound, _ in found[:-1]],
            min=0.0,
            max=0.0,
        )
        for labels, found in buckets.items()
    ]


def _apart(cumulative: list[int]) -> list[int]:
    """How many fell into each bucket, of how many fell into it or one below."""
    return [count - before for count, before in zip(cumulative, [0, *cumulative], strict=False)]
