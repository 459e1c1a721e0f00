"""Exposures from a file: the import command, beside an insert of the same rows that are judged already."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from benchmarks.report import Goal, Section, Table
from benchmarks.server import data_folder, serving
from benchmarks.size import Size
from postback.events.identifiers import IdentifierHasher
from postback.exposures.file_reader import ExposureFile
from postback.exposures.validate_columns import validate_block
from postback.store.data_folder import DataDir
from postback.store.event_store import EventStore

__all__ = ["measure"]

_GOAL_RATE = 200_000
_REFERENCE_BLOCKS = 3


def measure(size: Size, folder: Path) -> Section:
    """Import a tenth of the rows, and all of them."""
    with serving(folder):
        pass  # its first start makes the account
    rows: list[tuple[str, ...]] = []
    rate = 0.0
    for count in (size.exposures // 10, size.exposures):
        file = _file(folder / f"exposures-{count}.csv", count)
        floor = _floor(file, folder)
        rate, peak = _import(file, count, folder)
        rows.append((f"{count:,}", f"{rate:,.0f}", f"{floor:,.0f}", f"{rate / floor:.2f}", f"{peak:,.0f} MB"))
        file.unlink()
    return Section(
        title="Exposures from a file",
        method=(
            "`postback exposures import` of a CSV file with seven columns and the digest of an e-mail address, from "
            "the start of the command to its end. The floor inserts the first rows of the same file, judged "
            "already, in blocks of the same size through the same client. Peak is the resident memory of the command."
        ),
        table=Table(("rows", "rows/s", "floor rows/s", "of the floor", "peak"), rows),
        goals=[Goal(f"{_GOAL_RATE:,} rows/s", f"{rate:,.0f}", rate >= _GOAL_RATE)],
    )


def _file(path: Path, count: int) -> Path:
    digests = [sha256(str(number).encode()).hexdigest() for number in range(100_000, 300_000)]
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(
            ("exposure_id", "kind", "occurred_at", "media_buy_id", "package_id", "user_match.hashed_email", "cost")
        )
        rows.writerows(
            (
                f"imp-{count}-{number * 2654435761 % 2**32:010d}",
                "click" if number % 20 == 0 else "impression",
                f"2026-10-{1 + number % 30:02d}T{number % 24:02d}:{number % 60:02d}:00Z",
                "mb_1",
                f"p{number % 10}",
                digests[number * 7919 % len(digests)],
                "0.0035",
            )
            for number in range(count)
        )
    return path


def _floor(file: Path, folder: Path) -> float:
    data = DataDir.open(data_folder(folder))
    store = EventStore.open(data.events_dsn, data.scratch)
    hasher = IdentifierHasher(data.secret)
    described = ExposureFile(file, None, {}, {"currency": "USD"})
    judged = [
        validate_block(block.records, "floor", hasher, datetime.now(UTC), sandbox=False)
        for block, _ in zip(described.blocks(), range(_REFERENCE_BLOCKS), strict=False)
    ]
    started = time.perf_counter()
    for block in judged:
        store.insert(block.rows)
    seconds = time.perf_counter() - started
    store.close()
    data.close()
    return sum(block.accepted for block in judged) / seconds


def _import(file: Path, count: int, folder: Path) -> tuple[float, float]:
    """Rows a second, and the peak of resident memory in MB (10⁶ bytes)."""
    command = [sys.executable, "-m", "postback", "exposures", "import", str(file), "--set", "currency=USD"]
    started = time.perf_counter()
    importing = subprocess.Popen([*command, "--data", str(data_folder(folder))], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(importing.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError("the import failed; it said why above")
    return count / seconds, usage.ru_maxrss * 1024 / 1e6
