"""A report with less in it: the metrics that a call asks for, and the event types that its release has."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from postback.delivery.report import DeliveryReport
from postback.protocol.enums import EVENT_TYPES, released_event_types
from postback.protocol.releases import Release

__all__ = ["selected"]

_CARRIERS = {
    "clicks": ("clicks",),
    "ctr": ("ctr",),
    "conversions": ("conversions", "by_event_type", "by_action_source"),
    "conversion_value": ("conversion_value", "by_event_type", "by_action_source"),
    "roas": ("roas",),
    "cost_per_acquisition": ("cost_per_acquisition",),
    **dict.fromkeys(
        (
            "viewability",
            "viewable_rate",
            "viewable_impressions",
            "measurable_impressions",
            "viewed_seconds",
            "viewed_seconds_percentiles",
            "viewed_seconds_histogram",
        ),
        ("viewability",),
    ),
}
"""Metric → the fields of a report that have it. ``impressions`` and ``spend`` are always there."""

_NARROWED = frozenset(field for fields in _CARRIERS.values() for field in fields)


def selected(
    report: DeliveryReport, requested_metrics: Collection[str] | None, release: Release | None
) -> DeliveryReport | dict[str, Any]:
    """The report with what a call asks for.

    Args:
        report: The whole report.
        requested_metrics: enums/available-metric.json; those that are not reported are ignored. None: all.
        release: The release that is served, whose event types alone are listed.
    """
    known = released_event_types(release)
    if requested_metrics is None and known == EVENT_TYPES:
        return report
    whole: dict[str, Any] = msgspec.to_builtins(report)
    wanted = None
    if requested_metrics is not None:
        wanted = {field for metric in requested_metrics for field in _CARRIERS.get(metric, ())}
    for row in list(_metric_rows(whole)):
        if "by_event_type" in row:
            row["by_event_type"] = [part for part in row["by_event_type"] if part["event_type"] in known]
        if wanted is not None:
            _narrow(row, wanted)
    return whole


def _narrow(row: dict[str, Any], wanted: Collection[str]) -> None:
    for name in _NARROWED.intersection(row).difference(wanted):
        del row[name]
    if "conversion_value" not in wanted:
        _drop_exact(row, "conversion_value")
        for part in (*row.get("by_event_type", ()), *row.get("by_action_source", ())):
            part.pop("value", None)
            _drop_exact(part, "value")


def _drop_exact(row: dict[str, Any], name: str) -> None:
    """Drop the exact figure of a negative value."""
    exact = row.get("ext", {}).get("postback", {})
    if exact.pop(name, None) is not None and not exact:
        del row["ext"]


def _metric_rows(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a report that has metrics."""
    if isinstance(tree, dict):
        if {"impressions", "spend"} <= tree.keys():
            yield tree
        for value in tree.values():
            yield from _metric_rows(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _metric_rows(value)
