"""Metrics that each scrape of Prometheus reads anew from the control store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from postback.errors import StoreUnavailable

__all__ = ["Backlog", "BacklogCollector", "ClusterCollector"]


class Backlog(NamedTuple):
    """The events of one destination that are not forwarded yet.

    Attributes:
        waiting: Events that wait for an attempt.
        dead: Dead-lettered events, which are not attempted again.
        oldest: Unix time, in seconds, of the oldest waiting event; None when none waits.
    """

    waiting: int
    dead: int
    oldest: int | None


class BacklogCollector(Collector):
    """The backlog of each destination that events are forwarded to."""

    def __init__(self, read: Callable[[], Mapping[str, Backlog]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "postback_forwarding_queued_events", "Events that wait to be forwarded.", labels=["destination"]
        )
        dead = GaugeMetricFamily(
            "postback_forwarding_dead_lettered_events",
            "Dead-lettered events, which are not forwarded any more.",
            labels=["destination"],
        )
        oldest = GaugeMetricFamily(
            "postback_forwarding_oldest_event_timestamp_seconds",
            "Unix time of the oldest event that waits to be forwarded.",
            labels=["destination"],
        )
        try:
            found = self._read()
        except StoreUnavailable:
            found = {}  # the other metrics matter most when a store is down
        for name, backlog in found.items():
            waiting.add_metric([name], backlog.waiting)
            dead.add_metric([name], backlog.dead)
            if backlog.oldest is not None:
                oldest.add_metric([name], backlog.oldest)
        yield from (waiting, dead, oldest)


class ClusterCollector(Collector):
    """The servers that are silent, and whether each shard has one that attributes."""

    def __init__(self, read: Callable[[], tuple[int, bool]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        silent = GaugeMetricFamily(
            "postback_silent_nodes", "Servers that went without leave: attribution waits for what they received."
        )
        led = GaugeMetricFamily("postback_attribution_led", "1 if a server attributes, on every shard.")
        try:
            nodes, leader = self._read()
        except StoreUnavailable:
            return  # the other metrics matter most when a store is down
        silent.add_metric([], nodes)
        led.add_metric([], float(leader))
        yield from (silent, led)
