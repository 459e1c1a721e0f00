"""A file of records, whatever it is written in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from postback.errors import StartupError
from postback.record_files.block import Block
from postback.record_files.csv_blocks import read_csv
from postback.record_files.csv_header import SEPARATORS, Header, name_columns, read_header, repeated
from postback.record_files.json_blocks import read_array, read_json_lines
from postback.record_files.opening import READ_ERRORS, FileFormat, Opened, describe_read_error, open_records
from postback.record_files.parquet_blocks import has_structure, read_parquet, read_parquet_objects

__all__ = ["RecordFile"]

_BLOCK_ROWS = 200_000


class RecordFile:
    """An open file of records. It is read once, from the beginning to the end. Close it.

    Args:
        raw: Its bytes, at the beginning; a pipe is enough.
        name: Its name, or ``-`` for standard input.
        format: What it is written in; None: found out.
        encoding: Its encoding, likewise.
        separator: What stands between two cells of CSV, likewise.

    Attributes:
        columns: The names of its columns, in order; None for JSON, where each record names its own fields.

    Raises:
        StartupError: It is none of the formats, or can't be read.
    """

    def __init__(
        self,
        raw: IO[bytes],
        name: str,
        *,
        format: FileFormat | None = None,
        encoding: str | None = None,
        separator: str | None = None,
    ) -> None:
        self._opened: Opened = open_records(raw, name, format, encoding)
        self.columns: Sequence[str] | None = None
        self._header: Header | None = None
        self._parquet: pq.ParquetFile | None = None
        self._copy: IO[bytes] | None = None
        self._at = 0
        if self._opened.empty:
            return
        if self._opened.format == "parquet":
            with self._closed_on_error(), self._told("can't be read as parquet"):
                source = self._seekable(raw)
                self._parquet = pq.ParquetFile(source)
                schema = self._parquet.schema_arrow
            self.columns = None if has_structure(schema) else schema.names
        elif self._opened.format == "csv":
            self._header = read_header(self._opened.head, self.name, separator)
            self.columns = self._header.names if self._header else ()

    def close(self) -> None:
        """Delete what had to be copied. What it was opened with stays open."""
        if self._copy:
            self._copy.close()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._opened.name

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return self._opened.empty

    @property
    def description(self) -> str:
        """What it was read as, for example ``CSV in Windows-1252, separated by semicolons``."""
        encoding = {"utf-8": "UTF-8", "windows-1252": "Windows-1252", "cp1252": "Windows-1252"}.get(
            self._opened.encoding, self._opened.encoding.upper()
        )
        if self._opened.format == "parquet":
            return "Parquet"
        if self._header:
            separator = SEPARATORS.get(self._header.separator, repr(self._header.separator))
            return f"CSV in {encoding}, separated by {separator}s"
        return f"{'a JSON array' if self._opened.format == 'json' else 'NDJSON'} in {encoding}"

    def places_of(self, columns: Mapping[str, str]) -> dict[str, int]:
        """Where columns are.

        Args:
            columns: What each is needed for → its name.

        Raises:
            StartupError: There is none of that name, or more than one.
        """
        names = list(self.columns or ())
        doubled = repeated(names)
        for needed, name in columns.items():
            if name not in names:
                purpose = "" if needed == name else f", which {needed} needs"
                raise StartupError(
                    f"{self.name} can't be used: it has no column {name!r}{purpose}. {self.describe_columns()}"
                )
            if name in doubled:
                at = " and ".join(str(place) for place, other in enumerate(names, 1) if other == name)
                raise StartupError(
                    f"{self.name} has the column {name!r} more than once: columns {at} of the header. Rename or remove "
                    "one of them."
                )
        return {needed: names.index(name) for needed, name in columns.items()}

    def describe_columns(self) -> str:
        """Its columns as sentences, for a message."""
        return f"{name_columns(list(self.columns or ()))}. {self._how()}".strip()

    def blocks(self, wanted: Sequence[int], block_bytes: int) -> Iterator[Block]:
        """Its records.

        Args:
            wanted: The places of the columns that are needed; a block's are named by them: ``"0"``, …
            block_bytes: About how much text to read at a time.

        Raises:
            StartupError: It can't be read any further. The blocks before are all that could be read.
        """
        with self._told(f"can't be read as {self._opened.format}"):
            for block in self._blocks(wanted or (0,), block_bytes):
                if len(block):
                    self._at = block.lines[-1]
                    yield block

    def _blocks(self, wanted: Sequence[int], block_bytes: int) -> Iterator[Block]:
        if self.is_empty:
            return iter(())
        if self._parquet and self.columns is None:
            return read_parquet_objects(self._parquet, _BLOCK_ROWS)
        if self._parquet:
            return read_parquet(self._parquet, wanted, _BLOCK_ROWS)
        chunks = self._opened.chunks()
        if self._header:
            return read_csv(chunks, self._header, wanted, block_bytes, self._opened.encoding)
        if self._opened.format == "json":
            return read_array(chunks, block_bytes, self.name)
        return read_json_lines(chunks, block_bytes)

    def _how(self) -> str:
        if not self._header:
            return ""
        separator = SEPARATORS.get(self._header.separator, "character")
        if len(self._header.names) == 1:
            return "No separator was found in it: name it with --separator."
        return (
            f"It was read with the separator {self._header.separator!r} ({separator}); --separator names another one."
        )

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except StartupError:
            self.close()
            raise

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say in a sentence what reading raises."""
        try:
            yield
        except pa.ArrowException as error:
            raise StartupError(f"{self.name} {what}: it is damaged or cut off.") from error
        except READ_ERRORS as error:
            where = "" if self._parquet else f" after line {self._at}"
            raise StartupError(f"{self.name} can't be read{where}: {describe_read_error(error)}.") from error

    def _seekable(self, raw: IO[bytes]) -> Any:
        """Parquet is read from its end: from the file itself, or else from a copy that has no name."""
        name = getattr(raw, "name", None)
        if not self._opened.compressed and isinstance(name, str) and raw.seekable():
            return name
        self._copy = tempfile.TemporaryFile()  # noqa: SIM115 # open as long as the records are read
        shutil.copyfileobj(self._opened.stream, self._copy)
        self._copy.seek(0)
        return self._copy
