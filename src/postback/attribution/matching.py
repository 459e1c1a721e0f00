"""Which exposure each business event is attributed to: a search in the index of exposures, in columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from postback.attribution.explain import Candidate
from postback.attribution.exposure_index import ExposureView, FoundExposures, high_and_low
from postback.attribution.key_segments import Integers, Words, expand
from postback.attribution.rules import PackageKey
from postback.protocol.timestamps import from_micros, micros

__all__ = ["EventKeys", "Windows", "match", "nearest"]

_WEAKEST = np.arange(256)
_WEAKEST[[3, 4]] = 253, 254
"""Kind of identifier → its rank: two that several people may share come last."""


class Windows(NamedTuple):
    """The longest windows of the goals that a role leads in, in µs; -1 for none. By role and rule set, both from 0.

    Attributes:
        view: After a view.
        click: After a click.
    """

    view: Integers
    click: Integers


class EventKeys:
    """The match keys of business events, one a row for each sibling whose time decides windows; by their first half.

    Args:
        rows: match_key, number (of the business event), role (from 1) and at (in µs) of each row.
    """

    def __init__(self, rows: pa.Table) -> None:
        columns = {name: rows[name].combine_chunks() for name in rows.column_names}
        high, low = high_and_low(columns["match_key"])
        order = np.argsort(high)  # keys that differ in the other half only may be mixed: each row is searched for
        high, low = high[order], low[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        self.number: Integers = columns["number"].to_numpy().astype(np.int64)[order]
        self.role: Integers = columns["role"].to_numpy().astype(np.int64)[order] - 1
        self.at: Integers = columns["at"].to_numpy()[order]
        self.begins: Integers = np.flatnonzero(begins)
        self.counts: Integers = np.diff(np.append(self.begins, len(order)))
        self.high: Words = high[self.begins]
        self.low: Words = low[self.begins]

    def __len__(self) -> int:
        return len(self.number)


def match(events: EventKeys, exposures: ExposureView, packages: dict[PackageKey, int], windows: Windows) -> pa.Table:
    """The exposure of each business event that has one, as rows of ``run_match``.

    A click comes before a view, then the latest, then the strongest identifier, then the least exposure_id. Of equal
    keys, rule sets and kinds only the last exposure before each event can be the one, however many events and exposures
    share a key.

    Args:
        events: The events.
        exposures: The exposures.
        packages: Packages whose exposures count → the number of their rule set, from 1.
        windows: How long after an exposure an event may come.
    """
    rule_sets = np.array([packages.get(key, 0) for key in exposures.packages], np.int64)
    if not len(events) or not rule_sets.any():
        return _rows(exposures, rule_sets, *(np.empty(0, np.int64),) * 3, FoundExposures(*(np.empty(0, np.int64),) * 4))
    earliest = np.minimum.reduceat(events.at, events.begins)
    found = exposures.find(
        events.high,
        events.low,
        since=np.stack([earliest - windows.view.max(), earliest - windows.click.max()]),
        until=np.maximum.reduceat(events.at, events.begins),
        wanted=rule_sets > 0,
    )
    rule_set, click = rule_sets[found.label >> 1] - 1, found.label & 1
    kind = rule_set * 2 + click
    row, place = _last_before(events, exposures, found, kind)
    lag = events.at[row] - found.at[place]
    limits = np.where(
        click[place] == 1,
        windows.click[events.role[row], rule_set[place]],
        windows.view[events.role[row], rule_set[place]],
    )
    within = lag <= limits
    row, place = row[within], place[within]
    number = events.number[row]
    strength = (events.high >> np.uint64(56)).astype(np.int64)
    chosen = FoundExposures(*(column[place] for column in found))
    best = _best(exposures, number, chosen, strength[chosen.key])
    return _rows(exposures, rule_sets, number[best], strength[chosen.key[best]], best, chosen)


def _last_before(
    events: EventKeys, exposures: ExposureView, found: FoundExposures, kind: Integers
) -> tuple[Integers, Integers]:
    """For each row of events and each kind of exposures with its key, the last of them before the event.

    Returns:
        Numbers of rows, and positions in ``found``.
    """
    if not len(found.key):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    groups, group = np.unique(found.key * (int(kind.max()) + 1) + kind, return_inverse=True)
    key_of_group = groups // (int(kind.max()) + 1)
    moments, moment = np.unique(found.at, return_inverse=True)
    width = len(moments) + 1
    position = group * width + moment + 1
    order = _in_order(exposures, position, found.exposure)
    position = position[order]
    rows = expand(events.begins[key_of_group], events.counts[key_of_group])
    asked = np.repeat(np.arange(len(groups)), events.counts[key_of_group])
    before = np.searchsorted(moments, events.at[rows], "right")
    last = np.searchsorted(position, asked * width + before, "right") - 1
    # Nothing of the group is before the event where the last one belongs to the group in front.
    there = (last >= 0) & (position[last] > asked * width)
    return rows[there], order[last[there]]


def _in_order(exposures: ExposureView, position: Integers, exposure: Integers) -> Integers:
    """The order of positions; of equal ones the least exposure_id comes last."""
    order = np.argsort(position, kind="stable")
    sorted_ = position[order]
    equal = np.zeros(len(order), bool)
    equal[1:] = sorted_[1:] == sorted_[:-1]
    equal[:-1] |= equal[1:]
    if equal.any():
        tied = order[equal]
        order[equal] = tied[np.lexsort((-_ranks(exposures, exposure[tied]), position[tied]))]
    return order


def _best(exposures: ExposureView, number: Integers, chosen: FoundExposures, strength: Integers) -> Integers:
    """For each event, the position of the exposure that it is attributed to."""
    view, rank = 1 - (chosen.label & 1), _WEAKEST[strength]
    order = np.lexsort((rank, -chosen.at, view, number))
    tied = np.zeros(len(order), bool)
    tied[1:] = True
    for column in (number, view, chosen.at, rank):
        tied[1:] &= column[order[1:]] == column[order[:-1]]
    tied[:-1] |= tied[1:]
    if tied.any():
        ranks = np.zeros(len(order), np.int64)
        ranks[order[tied]] = _ranks(exposures, chosen.exposure[order[tied]])
        order = np.lexsort((ranks, rank, -chosen.at, view, number))
    first = np.ones(len(order), bool)
    first[1:] = number[order[1:]] != number[order[:-1]]
    return order[first]


def _ranks(exposures: ExposureView, exposure: Integers) -> Integers:
    """The ranks of exposures by their exposure_ids, bytes compared."""
    ids = [text.encode() for text in exposures.exposure_ids(exposure).to_pylist()]
    ranks = {text: rank for rank, text in enumerate(sorted(set(ids)))}
    return np.array([ranks[text] for text in ids], np.int64)


def _rows(
    exposures: ExposureView,
    rule_sets: Integers,
    number: Integers,
    match_kind: Integers,
    best: Integers,
    chosen: FoundExposures,
) -> pa.Table:
    label, exposure = chosen.label[best], chosen.exposure[best]
    package = pa.array(label >> 1)
    buys, packages = (pa.array(list(names), pa.string()) for names in _columns(exposures.packages))
    return pa.table(
        {
            "number": pa.array(number, pa.uint64()),
            "rule_set": pa.array(rule_sets[label >> 1], pa.uint32()),
            "media_buy_id": buys.take(package),
            "package_id": packages.take(package),
            "exposure_id": exposures.exposure_ids(exposure),
            "exposure_kind": pa.array(["impression", "click"]).take(pa.array(label & 1)),
            "exposure_at": pa.array(chosen.at[best], pa.timestamp("us", tz="UTC")),
            "creative_id": exposures.creative_ids(exposure),
            "match_kind": pa.array(match_kind, pa.uint8()),
        }
    )


def _columns(packages: tuple[PackageKey, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(buy for buy, _ in packages), tuple(package for _, package in packages)


def nearest(exposures: ExposureView, match_keys: Iterable[bytes], moment: datetime, most: int) -> list[Candidate]:
    """Of each package, kind of exposure and kind of identifier: the last exposure before a moment, the first after it.

    Args:
        exposures: The exposures.
        match_keys: Those of an event.
        moment: When it happened.
        most: How many at most; the nearest come first.
    """
    keys, when = sorted(set(match_keys)), micros(moment)
    high, low = high_and_low(pa.array(keys, pa.binary(16)))
    packages = exposures.packages
    always = np.full((2, len(keys)), np.iinfo(np.int64).max)
    found = exposures.find(high, low, since=-always, until=always[0], wanted=np.ones(len(packages), bool))
    match_kind = (high >> np.uint64(56)).astype(np.int64)[found.key]
    order = np.argsort(np.abs(found.at - when), kind="stable")
    groups = (found.label * 256 + match_kind) * 2 + (found.at > when)
    _, first = np.unique(groups[order], return_index=True)
    chosen = order[np.sort(first)][:most]
    ids = exposures.exposure_ids(found.exposure[chosen]).to_pylist()
    columns = (found.label[chosen], match_kind[chosen], found.at[chosen])
    return [
        Candidate(
            media_buy_id=packages[label >> 1][0],
            package_id=packages[label >> 1][1],
            kind="click" if label & 1 else "impression",
            match_kind=kind,
            exposure_id=exposure_id,
            occurred_at=from_micros(at),
            after=at > when,
        )
        for label, kind, at, exposure_id in zip(*(column.tolist() for column in columns), ids, strict=True)
    ]
