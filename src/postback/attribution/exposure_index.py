"""Exposures by match key, in files beside the stores.

    manifest      what is complete: counts, checksums, and how far the index has come
    strings       exposure_ids and creative_ids, one after the other
    exposures     where in it those of each exposure are, in the order of arrival
    keys-N        match keys, sorted (``key_segments``); of similar size they are merged

All of it is derived from stored exposures. A file that isn't what the manifest says makes the index an empty one, to be
derived anew; nothing needs to be synced to the disk.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from postback.attribution.key_segments import (
    Integers,
    KeySegment,
    SegmentEntry,
    Words,
    expand,
    merged,
    read_segment,
)
from postback.attribution.rules import PackageKey
from postback.errors import StoreUnavailable

__all__ = ["ExposureIndex", "ExposureView", "FoundExposures", "high_and_low"]

_RECORD = np.dtype(
    [("id_start", "<u8"), ("creative_start", "<u8"), ("id_size", "<u4"), ("creative_size", "<u4")], align=True
)
_GROWTH = 4
"""A segment is merged into the one before it, unless that is so many times as large."""
_SEGMENT_ROWS = 8_000_000
"""Segments don't grow beyond so many rows: merging takes some 30 bytes of memory for each."""
_KEYS_AT_ONCE = 100_000
"""Keys are looked for in pieces: what has the key and not the time takes memory only that long."""

_log = logging.getLogger(__name__)


class FoundExposures(NamedTuple):
    """Exposures with one of the keys that were asked for; columns of equal length.

    Attributes:
        key: The position of the key.
        at: When the exposure happened, in µs since the epoch.
        exposure: Its number in the index.
        label: Twice the number of its package, and one more if it is a click.
    """

    key: Integers
    at: Integers
    exposure: Integers
    label: Integers


class _Manifest(msgspec.Struct, frozen=True):
    account_id: str
    through: int = 0
    exposures: int = 0
    exposures_checksum: int = 0
    strings: int = 0
    strings_checksum: int = 0
    made: int = 0
    packages: tuple[PackageKey, ...] = ()
    segments: tuple[SegmentEntry, ...] = ()


class ExposureView(NamedTuple):
    """What an index has at one time: it never changes, and its files stay mapped while it is in use."""

    manifest: _Manifest
    segments: tuple[KeySegment, ...] = ()
    records: NDArray[Any] = np.empty(0, _RECORD)
    strings: NDArray[np.uint8] = np.empty(0, np.uint8)

    @property
    def packages(self) -> tuple[PackageKey, ...]:
        """The packages of its exposures, by number."""
        return self.manifest.packages

    def find(
        self, high: Words, low: Words, *, since: Integers, until: Integers, wanted: NDArray[np.bool_]
    ) -> FoundExposures:
        """The exposures with one of these keys.

        Args:
            high: Bytes 0 to 7 of each key, sorted.
            low: Bytes 8 to 15.
            since: For each key, the time of the earliest view that is asked for, in µs; and of the earliest click.
            until: That of the latest.
            wanted: By the number of a package, whether its exposures are asked for.
        """
        found = []
        for segment, start in product(self.segments, range(0, len(high), _KEYS_AT_ONCE)):
            key, row = segment.find(high[start : start + _KEYS_AT_ONCE])
            key += start
            at, label = segment.at[row], segment.label[row]
            right = (at >= since[label & 1, key]) & (at <= until[key])
            key, row, at, label = key[right], row[right], at[right], label[right]
            right = (segment.low[row] == low[key]) & wanted[label >> 1]
            found.append((key[right], at[right], segment.exposure[row[right]], label[right]))
        if not found:
            return FoundExposures(*(np.empty(0, np.int64) for _ in FoundExposures._fields))
        return FoundExposures(*(np.concatenate(column).astype(np.int64) for column in zip(*found, strict=True)))

    def exposure_ids(self, exposures: Integers) -> pa.StringArray:
        """The exposure_ids of exposures, by their numbers."""
        records = self.records[exposures]
        return _texts(self.strings, records["id_start"], records["id_size"])

    def creative_ids(self, exposures: Integers) -> pa.StringArray:
        """The creative_ids of exposures, by their numbers."""
        records = self.records[exposures]
        return _texts(self.strings, records["creative_start"], records["creative_size"])


class ExposureIndex:
    """The exposures of one account by match key. One thread extends it, others may read meanwhile.

    Args:
        folder: Where its files are; created when there are any.
        account_id: The account.

    Attributes:
        view: What it has now.
    """

    def __init__(self, folder: Path, account_id: str) -> None:
        self._folder = folder
        self._account_id = account_id
        with _failures_reported():
            self._load()

    @property
    def through(self) -> int:
        """It has the exposures that were received by this time, in µs since the epoch."""
        return self.view.manifest.through

    def clear(self) -> None:
        """Forget every exposure.

        Raises:
            StoreUnavailable: The folder can't be written.
        """
        with _failures_reported():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._publish(ExposureView(_Manifest(self._account_id, made=self.view.manifest.made)))
        self._labels.clear()

    def extend(self, exposures: pa.Table, through: int) -> None:
        """Add exposures; an exposure with further match keys may come again.

        Args:
            exposures: exposure_id, media_buy_id, package_id, creative_id, click, at (µs) and match_keys.
            through: With them the index has all that was received by this time.

        Raises:
            StoreUnavailable: The folder can't be written; the index is as the files have it.
        """
        with _failures_reported():
            try:
                self._extend(exposures, through)
            except OSError:
                self._load()
                raise

    def forget(self, before: int) -> bool:
        """Drop the match keys of exposures that happened before a time, in µs, from one of the files that have any.

        Returns:
            Whether there was such a file; there may be another.

        Raises:
            StoreUnavailable: The folder can't be written; the index is as the files have it.
        """
        with _failures_reported():
            for place, entry in enumerate(self.view.manifest.segments):
                if entry.oldest < before:
                    segment = self.view.segments[place]
                    self._replace_segment(place, segment.where(segment.at >= before))
                    return True
        return False

    def _load(self) -> None:
        self.view = _read(self._folder, self._account_id) or ExposureView(_Manifest(self._account_id))
        self._labels = {key: number for number, key in enumerate(self.view.packages)}

    def _extend(self, exposures: pa.Table, through: int) -> None:
        view, manifest = self.view, self.view.manifest
        columns = {name: exposures[name].combine_chunks() for name in exposures.column_names}
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        added, texts = _records(columns, manifest.strings)
        keys = _keys(columns, manifest.exposures, self._numbers(columns))
        strings = _append(self._folder / "strings", manifest.strings, texts)
        records = _append(self._folder / "exposures", manifest.exposures * _RECORD.itemsize, added.tobytes())
        segments, entries, made = self._grown(view, keys)
        following = _Manifest(
            account_id=self._account_id,
            through=through,
            exposures=manifest.exposures + len(added),
            exposures_checksum=crc32(added.tobytes(), manifest.exposures_checksum),
            strings=manifest.strings + len(texts),
            strings_checksum=crc32(texts, manifest.strings_checksum),
            made=made,
            packages=tuple(self._labels),
            segments=entries,
        )
        self._publish(ExposureView(following, segments, records.view(_RECORD), strings))

    def _numbers(self, columns: dict[str, Any]) -> Integers:
        """The label of each exposure; packages that are new get numbers."""
        buys, packages = columns["media_buy_id"].dictionary_encode(), columns["package_id"].dictionary_encode()
        width = max(len(packages.dictionary), 1)
        pairs = buys.indices.to_numpy().astype(np.int64) * width + packages.indices.to_numpy()
        distinct, places = np.unique(pairs, return_inverse=True)
        numbers = [
            self._labels.setdefault(
                (buys.dictionary[int(pair) // width].as_py(), packages.dictionary[int(pair) % width].as_py()),
                len(self._labels),
            )
            for pair in distinct
        ]
        labels: Integers = np.array(numbers, np.int64)[places] * 2 + columns["click"].to_numpy()
        return labels

    def _grown(
        self, view: ExposureView, keys: KeySegment
    ) -> tuple[tuple[KeySegment, ...], tuple[SegmentEntry, ...], int]:
        """The segments with the new keys, merged where they have become similar in size."""
        segments, entries = list(view.segments), list(view.manifest.segments)
        made = view.manifest.made
        if len(keys.high):
            parts = [keys]
            rows = len(keys.high)
            while entries and entries[-1].rows < _GROWTH * rows and entries[-1].rows + rows <= _SEGMENT_ROWS:
                rows += entries.pop().rows
                parts.insert(0, segments.pop())
            made += 1
            entry, segment = merged(self._folder, f"keys-{made}", parts)
            segments.append(segment)
            entries.append(entry)
        return tuple(segments), tuple(entries), made

    def _replace_segment(self, place: int, keys: KeySegment) -> None:
        """Put other keys in place of a segment's, or nothing in place of none."""
        segments, entries = list(self.view.segments), list(self.view.manifest.segments)
        made = self.view.manifest.made + 1
        written = [merged(self._folder, f"keys-{made}", [keys])] if len(keys.high) else []
        entries[place : place + 1] = [entry for entry, _ in written]
        segments[place : place + 1] = [segment for _, segment in written]
        manifest = msgspec.structs.replace(self.view.manifest, segments=tuple(entries), made=made)
        self._publish(self.view._replace(manifest=manifest, segments=tuple(segments)))

    def _publish(self, view: ExposureView) -> None:
        _write_manifest(self._folder, view.manifest)
        self.view = view
        _remove_others(self._folder, view.manifest)


def high_and_low(keys: pa.FixedSizeBinaryArray) -> tuple[Words, Words]:
    """The two halves of match keys as numbers."""
    bytes_ = np.frombuffer(keys.buffers()[1], ">u8", 2 * len(keys), 16 * keys.offset).reshape(-1, 2)
    return bytes_[:, 0].astype(np.uint64), bytes_[:, 1].astype(np.uint64)


def _records(columns: dict[str, Any], base: int) -> tuple[NDArray[Any], bytes]:
    """The records of exposures and the bytes of their strings, which begin at ``base``."""
    creatives = columns["creative_id"].dictionary_encode()
    ids, id_starts = _flat(columns["exposure_id"])
    names, name_starts = _flat(creatives.dictionary)
    records = np.zeros(len(columns["exposure_id"]), _RECORD)
    records["id_start"] = base + id_starts[:-1]
    records["id_size"] = np.diff(id_starts)
    places = creatives.indices.to_numpy()
    records["creative_start"] = base + len(ids) + name_starts[:-1][places]
    records["creative_size"] = np.diff(name_starts)[places]
    return records, ids + names


def _flat(texts: pa.StringArray) -> tuple[bytes, Integers]:
    """The bytes of strings one after the other, and where each begins; the last is the end."""
    if not len(texts):
        return b"", np.zeros(1, np.int64)
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, np.int64, len(texts) + 1, 8 * texts.offset)
    bytes_ = bytes(memoryview(data)[int(starts[0]) : int(starts[-1])]) if data else b""
    return bytes_, starts - starts[0]


def _keys(columns: dict[str, Any], base: int, labels: Integers) -> KeySegment:
    """A row for each match key of each exposure, not sorted yet."""
    lists = columns["match_keys"]
    counts = lists.value_lengths().to_numpy()
    high, low = high_and_low(lists.flatten())
    rows = np.repeat(np.arange(len(counts)), counts)
    numbers = (base + rows).astype(np.uint32)
    return KeySegment(high, low, columns["at"].to_numpy()[rows], numbers, labels[rows].astype(np.uint32))


def _texts(strings: NDArray[np.uint8], starts: NDArray[Any], sizes: NDArray[Any]) -> pa.StringArray:
    ends = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=ends[1:])
    data = strings[expand(starts, sizes.astype(np.int64))]
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(ends), pa.py_buffer(data))


def _append(file: Path, length: int, data: bytes) -> NDArray[np.uint8]:
    """Let a file have so many bytes and then these, and map it into memory."""
    if length == 0:
        file.unlink(missing_ok=True)  # a reader may have the old one mapped
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as stream:
        if stream.seek(0, os.SEEK_END) < length:
            raise OSError(f"{file.name} is shorter than it was")
        stream.seek(length)
        stream.write(data)
        stream.truncate()
    return _mapped(file, length + len(data))


def _mapped(file: Path, length: int) -> NDArray[np.uint8]:
    return np.asarray(np.memmap(file, np.uint8, "r", shape=(length,))) if length else np.empty(0, np.uint8)


def _write_manifest(folder: Path, manifest: _Manifest) -> None:
    document = msgspec.json.encode(manifest)
    draft = folder / "manifest.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(b"%08x\n%s" % (crc32(document), document))
    draft.rename(folder / "manifest")


def _read(folder: Path, account_id: str) -> ExposureView | None:
    """What the files hold; None when there is nothing, or when they aren't what was written."""
    try:
        checksum, _, document = (folder / "manifest").read_bytes().partition(b"\n")
        if int(checksum, 16) != crc32(document):
            raise ValueError("the manifest isn't what was written")
        manifest = msgspec.json.decode(document, type=_Manifest)
        records = _verified(folder / "exposures", manifest.exposures * _RECORD.itemsize, manifest.exposures_checksum)
        strings = _verified(folder / "strings", manifest.strings, manifest.strings_checksum)
        segments = tuple(read_segment(folder, entry) for entry in manifest.segments)
    except FileNotFoundError as error:
        if Path(error.filename).name == "manifest":
            return None
        problem: Exception = error
    except ValueError as error:
        problem = error
    else:
        if manifest.account_id == account_id:
            return ExposureView(manifest, segments, records.view(_RECORD), strings)
        problem = ValueError("it is another account's")
    _log.warning("The index of exposures in %s is derived anew: %s", folder.name, problem)
    return None


def _verified(file: Path, length: int, checksum: int) -> NDArray[np.uint8]:
    mapped = _mapped(file, length)
    if crc32(mapped.data) != checksum:
        raise ValueError(f"{file.name} isn't what was written")
    return mapped


def _remove_others(folder: Path, manifest: _Manifest) -> None:
    """Remove segments that were merged. Whoever reads one still has it mapped."""
    named = {entry.name for entry in manifest.segments}
    for file in folder.glob("keys-*"):
        if file.name not in named:
            file.unlink()


@contextmanager
def _failures_reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.error("The index of exposures can't be written: %s", error.strerror or error)
        raise StoreUnavailable("The data folder can't be written.", retry_after=1) from error
