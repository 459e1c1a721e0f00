"""The measured figures that plans are made of: benchmarks/figures.json, written by ``--keep``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["Figures", "keep_figures", "kept_figures"]

_FILE = Path(__file__).with_name("figures.json")


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one server, and what attribution takes.

    Attributes:
        postback_s: CPU seconds of Postback for a million events in full batches, by one server on shared stores.
        clickhouse_s: Those of ClickHouse, merges included.
        postgresql_s: Those of PostgreSQL.
        several_postback_s: Those of Postback with four servers on the same stores.
        several_clickhouse_s: Those of ClickHouse then.
        several_postgresql_s: Those of PostgreSQL then.
        single_postback_s: Those of Postback for a million events that come in a call each, by one server.
        event_bytes: What an event takes on the disk of ClickHouse, with all that is written for it.
        exposures: Exposures against which attribution was measured.
        exposure_cpu_s: CPU seconds in which a million exposures are counted and indexed.
        attribution_cpu_s: CPU seconds in which a million events are attributed.
        exposure_bytes: What an exposure takes on the disk of ClickHouse.
        index_bytes: What an exposure takes in the index by match key, in files of a server that attributes.
    """

    postback_s: float
    clickhouse_s: float
    postgresql_s: float
    several_postback_s: float
    several_clickhouse_s: float
    several_postgresql_s: float
    single_postback_s: float
    event_bytes: float
    exposures: float
    exposure_cpu_s: float
    attribution_cpu_s: float
    exposure_bytes: float
    index_bytes: float


def kept_figures() -> Figures:
    """What was kept last."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Figures)


def keep_figures(measured: Mapping[str, float]) -> None:
    """Replace those that were measured."""
    kept = msgspec.json.decode(_FILE.read_bytes(), type=dict[str, float]) if _FILE.exists() else {}
    text = msgspec.json.format(msgspec.json.encode({**kept, **measured}, order="sorted"))
    _FILE.write_bytes(text + b"\n")
