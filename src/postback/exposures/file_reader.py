"""Files of exposures, read a block at a time: CSV and Parquet as columns of text, JSON as objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from postback.errors import StartupError
from postback.exposures.line_columns import FIELDS, REQUIRED
from postback.record_files.block import Block
from postback.record_files.opening import FileFormat
from postback.record_files.record_file import RecordFile

__all__ = ["FIELDS", "ExposureFile", "FileFormat"]

_BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class ExposureFile:
    """A file, and which of its columns are what.

    Attributes:
        path: The file.
        format: How it is written; None: found out.
        columns: Field → the column that holds it; fields that aren't named have columns of their own names.
        constants: Field → what it is in every row.
        encoding: The encoding of its text; None: found out.
        separator: What stands between two cells of CSV; None: found out.
        decimal: The decimal sign of its amounts.
    """

    path: Path
    format: FileFormat | None
    columns: Mapping[str, str]
    constants: Mapping[str, str]
    encoding: str | None = None
    separator: str | None = None
    decimal: str = "."

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            StartupError: One is none of FIELDS.
        """
        for field in (*self.columns, *self.constants):
            if field not in FIELDS:
                raise StartupError(f"{field!r} is not a field of an exposure. The fields are {', '.join(FIELDS)}.")

    def digest(self) -> str:
        """The SHA-256 of the file's bytes: a corrected file is another one.

        Raises:
            StartupError: The file can't be read.
        """
        if not self.path.is_file():
            raise StartupError(f"{self.path} is not a file. An import reads it twice: save it first.")
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise StartupError(f"{self.path} can't be read: {error.strerror}.") from error

    def blocks(self) -> Iterator[Block]:
        """The rows, some 200,000 at a time: as text columns named by FIELDS, or as JSON objects.

        Raises:
            StartupError: The file can't be read, or a field that every exposure needs is nowhere.
        """
        try:
            raw = self.path.open("rb")
        except OSError as error:
            raise StartupError(f"{self.path} can't be read: {error.strerror}.") from error
        options = {"format": self.format, "encoding": self.encoding, "separator": self.separator}
        with raw, closing(RecordFile(raw, str(self.path), **options)) as file:  # type: ignore[arg-type]
            if file.is_empty:
                return
            places = self._places(file) if file.columns is not None else {}
            for block in file.blocks(sorted(set(places.values())), _BLOCK_BYTES):
                yield replace(block, records=self._mapped(block.records, places)) if places else block

    def _places(self, file: RecordFile) -> dict[str, int]:
        names = set(file.columns or ())
        own = {field: field for field in FIELDS if field in names}
        wanted = {field: name for field, name in (own | dict(self.columns)).items() if field not in self.constants}
        missing = [field for field in REQUIRED if field not in wanted and field not in self.constants]
        if missing:
            raise StartupError(
                f"No column of {file.name} is mapped to {missing[0]}. Name its column with --map {missing[0]}=COLUMN, "
                f"or set it in every row with --set {missing[0]}=VALUE. {file.describe_columns()}"
            )
        return file.places_of(wanted)

    def _mapped(self, table: pa.Table, places: Mapping[str, int]) -> pa.Table:
        columns: dict[str, Any] = {}
        for field in FIELDS:
            if field in self.constants:
                columns[field] = pa.repeat(pa.scalar(self.constants[field]), len(table))
            elif field in places:
                columns[field] = table.column(str(places[field])).combine_chunks()
        if self.decimal == "," and "cost" in columns:
            columns["cost"] = _with_points(columns["cost"])
        return pa.table(columns)


def _with_points(amounts: pa.Array) -> pa.Array:
    """Amounts as 1234,56 or 1.234,56 with a point as the decimal sign; any other text is left to validation."""
    grouped = pc.match_substring_regex(amounts, r"^-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$")
    plain = pc.replace_substring(pc.replace_substring(amounts, ".", ""), ",", ".")
    return pc.if_else(pc.fill_null(grouped, False), plain, amounts)
