"""The geometry of charts: from numbers to coordinates. Templates draw them as SVG, with a table of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Bar", "Chart", "Line", "Plot", "Series", "Tone", "plot", "round_ticks"]

WIDTH, HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 12, 28
_TICKS = 4
_LABELS = 6
"""About so many labels fit below the axis."""

_HOURS_SHOWN_FOR = timedelta(days=2)
"""Of longer times the days are named, not the hours."""

Scale = Callable[[float], float]
"""From a number to its vertical coordinate."""


Tone: TypeAlias = Literal["", "good", "warn", "bad"]


class Series(msgspec.Struct, frozen=True):
    """One row of numbers.

    Attributes:
        name: What they are, for the legend and the table.
        values: One number for each label of the chart; None where there is none.
        tone: ``good``, ``warn`` or ``bad`` for what has such a meaning; else the next colour is used.
    """

    name: str
    values: tuple[float | None, ...]
    tone: Tone = ""


class Chart(msgspec.Struct, frozen=True):
    """The numbers of a chart, as a page's struct carries them.

    Attributes:
        title: What it shows, with the unit, for example ``Events an hour``.
        summary: One sentence with what a reader would see in it; for those who can't see it.
        labels: What the numbers belong to, from left to right: times, or names.
        series: The rows of numbers.
        kind: ``bars``, which are stacked, or ``lines``.
        unit: The unit of the numbers, for example ``EUR`` or ``%``; empty for counts.
    """

    title: str
    summary: str
    labels: tuple[datetime | str, ...]
    series: tuple[Series, ...]
    kind: Literal["bars", "lines"] = "bars"
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, and what it says."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of dots: the path's ``d``, and the dots with what each says."""

    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart in coordinates of SVG.

    Attributes:
        width, height: The size of the view box.
        left, right, bottom: Where the axes are.
        ticks: Numbers at the vertical axis: position and text.
        labels: Texts below the horizontal axis: position and text.
        series: The class of a series' colour and its bars or its line.
    """

    width: int
    height: int
    left: float
    right: float
    bottom: float
    ticks: tuple[tuple[float, str], ...]
    labels: tuple[tuple[float, str], ...]
    series: tuple[tuple[str, tuple[Bar, ...] | Line], ...]


def plot(chart: Chart) -> Plot:
    """The chart in coordinates."""
    ticks = round_ticks(*_bounds(chart), whole=not chart.unit)
    left, right, bottom = _LEFT, WIDTH - _RIGHT, HEIGHT - _BOTTOM
    step = (right - left) / max(1, len(chart.labels))

    def y(value: float) -> float:
        return round(bottom - (bottom - _TOP) * (value - ticks[0]) / (ticks[-1] - ticks[0]), 2)

    middles = [round(left + step * (index + 0.5), 2) for index in range(len(chart.labels))]
    shapes: Sequence[tuple[Bar, ...] | Line]
    if chart.kind == "bars":
        shapes = _bars(chart, middles, round(min(step * 0.8, 48), 2), y)
    else:
        shapes = [_line(chart, series, middles, y) for series in chart.series]
    colours = [_colour(series, index) for index, series in enumerate(chart.series)]
    return Plot(
        WIDTH,
        HEIGHT,
        left,
        right,
        bottom,
        tuple((y(tick), _tick(tick)) for tick in ticks),
        tuple(_spread(middles, chart.labels)),
        tuple(zip(colours, shapes, strict=True)),
    )


def round_ticks(lowest: float, highest: float, *, whole: bool = False) -> tuple[float, ...]:
    """Round numbers around both, about five of them: steps of 1, 2 or 5 times a power of ten; or ``whole`` ones."""
    rough = max((highest - lowest) / _TICKS, 1 if whole else 1e-9)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return tuple(round(step * index, 12) for index in range(first, max(last, first + 1) + 1))


def _bounds(chart: Chart) -> tuple[float, float]:
    """What the axis must reach: 0 and every value, and in bars every sum of those that stand on each other."""
    columns = [[value or 0 for value in column] for column in zip(*(s.values for s in chart.series), strict=True)]
    if chart.kind == "bars":
        columns = [[sum(v for v in column if v < 0), sum(v for v in column if v > 0)] for column in columns]
    lowest = min((min(column) for column in columns), default=0)
    highest = max((max(column) for column in columns), default=0)
    return min(lowest, 0), max(highest, 0) if highest > 0 or lowest < 0 else 1


def _bars(chart: Chart, middles: Sequence[float], width: float, y: Scale) -> list[tuple[Bar, ...]]:
    """The bars of each series, stacked on those of the series before."""
    above, below = [0.0] * len(middles), [0.0] * len(middles)
    stacked = []
    for series in chart.series:
        bars = []
        for index, (middle, value) in enumerate(zip(middles, series.values, strict=True)):
            if value:
                stack = above if value > 0 else below
                near, stack[index] = y(stack[index]), stack[index] + value
                far = y(stack[index])
                text = _text(chart, series, index)
                bars.append(Bar(round(middle - width / 2, 2), min(near, far), width, round(abs(near - far), 2), text))
        stacked.append(tuple(bars))
    return stacked


def _line(chart: Chart, series: Series, middles: Sequence[float], y: Scale) -> Line:
    """The line of a series, which is broken where there is no number."""
    path, dots, pen = [], [], "M"
    for index, (middle, value) in enumerate(zip(middles, series.values, strict=True)):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{middle} {y(value)}")
        dots.append((middle, y(value), _text(chart, series, index)))
        pen = "L"
    return Line("".join(path), tuple(dots))


def _text(chart: Chart, series: Series, index: int) -> str:
    value = _number(series.values[index] or 0)
    return f"{_label(chart.labels[index])}, {series.name}: {value} {chart.unit}".rstrip()


def _spread(middles: Sequence[float], labels: Sequence[datetime | str]) -> Iterator[tuple[float, str]]:
    shown = [*range(len(labels))]
    times = [label for label in labels if isinstance(label, datetime)]
    if times and times[-1] - times[0] >= _HOURS_SHOWN_FOR:
        shown = [index for index, time in enumerate(times) if time.hour == time.minute == 0] or shown
    for index in shown[:: max(1, math.ceil(len(shown) / _LABELS))]:
        yield middles[index], _label(labels[index], short=True)


def _label(label: datetime | str, *, short: bool = False) -> str:
    if isinstance(label, str):
        return label
    if label.hour == label.minute == 0:
        return f"{label:%-d %b}"
    return f"{label:%H:%M}" if short else f"{label:%-d %b %H:%M}"


def _tick(value: float) -> str:
    """A round number that fits beside the axis: ``2,500``, but ``25k`` and ``1.5M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and size > 1e3):
            return f"{value / size:,.10g}{letter}"
    return _number(value)


def _number(value: float) -> str:
    return f"{value:,.10g}" if value == round(value) else f"{value:,.2f}"


def _colour(series: Series, index: int) -> str:
    return f"tone-{series.tone}" if series.tone else f"series-{index % 6 + 1}"
