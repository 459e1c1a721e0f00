"""The index of exposures finds what a plain search finds, and never what damaged files hold."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest

from postback.attribution import exposure_index
from postback.attribution.exposure_index import ExposureIndex
from postback.attribution.matching import EventKeys, Windows, match, nearest
from postback.errors import StoreUnavailable

START = datetime(2026, 10, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Shown = tuple[str, str, int, int, list[bytes]]
"""exposure_id, package_id, whether it is a click, time in µs, match keys."""


def table(shown: list[Shown]) -> pa.Table:
    ids, packages, clicks, times, keys = map(list, zip(*shown, strict=True)) if shown else ([], [], [], [], [])
    return pa.table(
        {
            "exposure_id": pa.array(ids, pa.string()),
            "media_buy_id": pa.array(["m"] * len(ids), pa.string()),
            "package_id": pa.array(packages, pa.string()),
            "creative_id": pa.array([f"c{len(name) % 3}" for name in ids], pa.string()),
            "click": pa.array(clicks, pa.uint8()),
            "at": pa.array(times, pa.int64()),
            "match_keys": pa.array(keys, pa.list_(pa.binary(16))),
        }
    )


def key(kind: int, number: int) -> bytes:
    """Keys of which many have the first eight bytes in common."""
    return bytes([kind]) + bytes([number % 2]) * 7 + number.to_bytes(8)


def exposures(chance: random.Random, count: int, base: int) -> list[Shown]:
    return [
        (
            f"x{base + n}" + "y" * chance.randrange(3),
            f"p{chance.randrange(4)}",
            chance.randrange(2),
            chance.randrange(40),
            [key(chance.choice([1, 3, 4, 9]), chance.randrange(12)) for _ in range(chance.randrange(4))],
        )
        for n in range(count)
    ]


def matched(
    index: ExposureIndex, events: list[tuple[int, list[bytes]]], windows: Windows
) -> dict[int, tuple[str, int]]:
    rows = [(match_key, number, 1, at) for number, (at, keys) in enumerate(events) for match_key in keys]
    keys = EventKeys(
        pa.table(
            {
                "match_key": pa.array([row[0] for row in rows], pa.binary(16)),
                "number": pa.array([row[1] for row in rows], pa.uint64()),
                "role": pa.array([row[2] for row in rows], pa.uint32()),
                "at": pa.array([row[3] for row in rows], pa.int64()),
            }
        )
    )
    packages = {("m", "p0"): 1, ("m", "p1"): 2, ("m", "p2"): 2}
    found = match(keys, index.view, packages, windows)
    return {row["number"]: (row["exposure_id"], row["match_kind"]) for row in found.to_pylist()}


def searched(shown: list[Shown], events: list[tuple[int, list[bytes]]], windows: Windows) -> dict[int, tuple[str, int]]:
    found = {}
    for number, (at, keys) in enumerate(events):
        best = [
            (1 - click, -shown_at, {3: 253, 4: 254}.get(match_key[0], match_key[0]), exposure_id, match_key[0])
            for exposure_id, package, click, shown_at, shown_keys in shown
            if package != "p3"
            for match_key in set(keys) & set(shown_keys)
            if 0 <= at - shown_at <= (windows.click if click else windows.view)[0, min(int(package[1]), 1)]
        ]
        if best:
            found[number] = min(best)[3:]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_events_go_to_the_exposures_that_a_plain_search_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(exposure_index, "_SEGMENT_ROWS", chance.choice([20, 1000]))
    monkeypatch.setattr(exposure_index, "_KEYS_AT_ONCE", chance.choice([7, 1000]))
    index, shown = ExposureIndex(tmp_path, "a"), list[Shown]()
    for step in range(6):
        added = exposures(chance, chance.randrange(60), len(shown))
        index.extend(table(added), step)
        shown += added
        if chance.random() < 0.3:
            index = ExposureIndex(tmp_path, "a")
    windows = Windows(*np.array([[[3, chance.randrange(-1, 9)]], [[20, chance.randrange(-1, 40)]]]))
    events = [
        (chance.randrange(45), [key(kind, chance.randrange(12)) for kind in chance.sample([1, 3, 4, 9], 2)])
        for _ in range(80)
    ]

    assert matched(index, events, windows) == searched(shown, events, windows)
    assert {file.name for file in tmp_path.glob("keys-*")} == {e.name for e in index.view.manifest.segments}


def cut(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("name", ["manifest", "strings", "exposures", "keys-1"])
def test_a_damaged_file_leaves_an_empty_index(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    shown: list[Shown] = [("x", "p0", 1, 5, [key(1, 1)])]
    ExposureIndex(tmp_path, "a").extend(table(shown), 7)
    assert ExposureIndex(tmp_path, "a").through == 7
    damage(tmp_path / name)

    index = ExposureIndex(tmp_path, "a")
    assert index.through == 0
    index.extend(table(shown), 8)
    assert ExposureIndex(tmp_path, "a").through == 8
    assert [found.exposure_id for found in nearest(index.view, [key(1, 1)], START, 10)] == ["x"]


def test_the_files_of_another_account_are_not_read(tmp_path: Path) -> None:
    ExposureIndex(tmp_path, "a").extend(table([("x", "p0", 1, 5, [key(1, 1)])]), 7)
    assert ExposureIndex(tmp_path, "b").through == 0


def test_what_was_half_written_is_written_over(tmp_path: Path) -> None:
    index = ExposureIndex(tmp_path, "a")
    index.extend(table([("x1", "p0", 1, 5, [key(1, 1)])]), 7)
    for name in ("strings", "exposures"):
        with (tmp_path / name).open("ab") as stream:
            stream.write(b"half")
    (tmp_path / "keys-2").write_bytes(b"half")

    index = ExposureIndex(tmp_path, "a")
    index.extend(table([("x2", "p0", 0, 6, [key(1, 1)])]), 8)
    found = nearest(ExposureIndex(tmp_path, "a").view, [key(1, 1)], EPOCH + timedelta(microseconds=10), 10)
    assert [(each.exposure_id, each.kind) for each in found] == [("x2", "impression"), ("x1", "click")]


def test_a_reader_sees_the_old_index_while_it_is_cleared_and_filled_again(tmp_path: Path) -> None:
    index = ExposureIndex(tmp_path, "a")
    index.extend(table([(f"x{n}", "p0", 1, n, [key(1, 1)]) for n in range(5_000)]), 7)
    view = index.view  # what a lookup holds on to
    index.clear()
    index.extend(table([("y", "p0", 1, 5, [key(1, 1)])]), 8)

    assert view.strings.sum() > 0
    assert view.segments[0].at.max() == 4_999


@pytest.mark.parametrize("name", ["strings", "exposures"])
def test_a_file_that_is_removed_while_the_server_runs_empties_the_index(tmp_path: Path, name: str) -> None:
    index = ExposureIndex(tmp_path, "a")
    index.extend(table([("x", "p0", 1, 5, [key(1, 1)])]), 7)
    (tmp_path / name).unlink()
    with pytest.raises(StoreUnavailable):
        index.extend(table([("y", "p0", 1, 5, [key(1, 1)])]), 8)
    assert index.through == 0
    index.extend(table([("x", "p0", 1, 5, [key(1, 1)])]), 7)
    assert [each.exposure_id for each in nearest(index.view, [key(1, 1)], START, 10)] == ["x"]


def test_a_folder_that_cannot_be_written_leaves_the_index_as_it_is(tmp_path: Path) -> None:
    index = ExposureIndex(tmp_path, "a")
    index.extend(table([("x", "p0", 1, 5, [key(1, 1)])]), 7)
    (tmp_path / "manifest.new").mkdir()
    with pytest.raises(StoreUnavailable):
        index.extend(table([("y", "p0", 1, 5, [key(1, 1)])]), 8)
    assert index.through == 7
    (tmp_path / "manifest.new").rmdir()
    index.extend(table([("y", "p0", 1, 6, [key(1, 1)])]), 8)
    assert [each.exposure_id for each in nearest(index.view, [key(1, 1)], START, 10)] == ["y"]


@pytest.mark.parametrize("noted", [True, False])
def test_old_keys_are_dropped_whether_or_not_a_file_says_how_old_its_keys_are(tmp_path: Path, noted: bool) -> None:
    index = ExposureIndex(tmp_path, "a")
    for number, at in enumerate((1, 5, 9)):
        index.extend(table([(f"x{number}", "p0", 1, at, [key(1, number)])]), number)
    if not noted:
        document = (tmp_path / "manifest").read_bytes().partition(b"\n")[2]
        older = re.sub(rb',"oldest":\d+', b"", document)
        assert older != document
        (tmp_path / "manifest").write_bytes(b"%08x\n%s" % (crc32(older), older))
        index = ExposureIndex(tmp_path, "a")

    while index.forget(5):
        pass

    for reader in (index, ExposureIndex(tmp_path, "a")):
        assert sorted(int(at) for segment in reader.view.segments for at in segment.at) == [5, 9]
