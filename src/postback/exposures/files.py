"""Files of exposures, read as columns of text: CSV, NDJSON or Parquet, a block at a time."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from postback.errors import StartupError
from postback.protocol.enums import UID_TYPES

__all__ = ["FIELDS", "ExposureFile", "FileFormat"]

FileFormat = Literal["csv", "ndjson", "parquet"]

_SUFFIXES: dict[str, FileFormat] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
_BLOCK_ROWS = 200_000
_BLOCK_BYTES = 32 * 2**20

REQUIRED = ("exposure_id", "kind", "occurred_at", "media_buy_id", "package_id")
FIELDS = (
    *REQUIRED,
    "creative_id",
    "cost",
    "currency",
    "user_match.hashed_email",
    "user_match.hashed_phone",
    "user_match.click_id",
    "user_match.client_ip",
    "user_match.client_user_agent",
    *(f"user_match.uid.{uid_type}" for uid_type in UID_TYPES),
)
"""What a column of a file, or a constant, may stand for."""


@dataclass(frozen=True, slots=True)
class ExposureFile:
    """A file, and which of its columns are what.

    Attributes:
        path: The file.
        format: How it is written.
        columns: Field → the column that holds it; fields that aren't named have columns of their own names.
        constants: Field → what it is in every row.
    """

    path: Path
    format: FileFormat
    columns: Mapping[str, str]
    constants: Mapping[str, str]

    @classmethod
    def of(
        cls, path: Path, format: FileFormat | None, columns: Mapping[str, str], constants: Mapping[str, str]
    ) -> ExposureFile:
        """A file of this format, or of the one that its name ends in.

        Raises:
            StartupError: Its format can't be told, or a field is none of FIELDS.
        """
        suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
        chosen = format or _SUFFIXES.get(suffixes[-1] if suffixes else "")
        if chosen is None:
            raise StartupError(f"{path} doesn't say what it is. Name its format by --format csv, ndjson or parquet.")
        for field in (*columns, *constants):
            if field not in FIELDS:
                raise StartupError(f"{field!r} is no field of an exposure. The fields are {', '.join(FIELDS)}.")
        return cls(path, chosen, columns, constants)

    def blocks(self) -> Iterator[pa.Table]:
        """The rows, some 100,000 at a time, as text columns named by FIELDS. Nulls stand for what is absent.

        Raises:
            StartupError: The file can't be read, or a field that every exposure needs is nowhere.
        """
        try:
            for table in self._read():
                yield self._mapped(table)
        except (pa.ArrowException, OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
            raise StartupError(f"{self.path} can't be read as {self.format}: {told}") from error

    def _read(self) -> Iterator[pa.Table]:
        if self.format == "parquet":
            for batch in pq.ParquetFile(self.path).iter_batches(_BLOCK_ROWS):
                yield pa.Table.from_batches([batch])
        elif self.format == "csv":
            yield from self._csv()
        else:
            yield from self._ndjson()

    def _csv(self) -> Iterator[pa.Table]:
        with self._open() as stream:
            header = stream.readline().decode("utf-8-sig")
        # Everything is text until it is judged: a guessed type would change ids and amounts.
        text = {name: pa.string() for name in next(csv.reader([header]), [])}
        convert = pa_csv.ConvertOptions(column_types=text, strings_can_be_null=True, null_values=[""])
        with self._open() as stream:
            for batch in pa_csv.open_csv(stream, pa_csv.ReadOptions(block_size=_BLOCK_BYTES), convert_options=convert):
                yield pa.Table.from_batches([batch])

    def _ndjson(self) -> Iterator[pa.Table]:
        with self._open() as lines:
            while block := list(islice(lines, _BLOCK_ROWS)):
                rows = [_flat(json.loads(line, parse_float=str, parse_int=str)) for line in block if line.strip()]
                names = list(dict.fromkeys(name for row in rows for name in row))
                yield pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], gzip.open(self.path)) if self.path.suffix == ".gz" else self.path.open("rb")

    def _mapped(self, table: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {}
        for field in FIELDS:
            name = self.columns.get(field, field)
            if field in self.constants:
                columns[field] = pa.repeat(pa.scalar(self.constants[field]), len(table))
            elif name in table.column_names:
                columns[field] = _text(table.column(name).combine_chunks())
            elif field in self.columns:
                raise ValueError(f"it has no column {name!r}; it has {', '.join(table.column_names[:20])}")
        missing = [field for field in REQUIRED if field not in columns]
        if missing:
            raise ValueError(
                f"nothing in it is {missing[0]}; say which column is by --map {missing[0]}=COLUMN, or what it is in "
                f"every row by --set {missing[0]}=VALUE"
            )
        return pa.table(columns)


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type) and column.type.tz:
        return pc.strftime(column.cast(pa.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
    return column.cast(pa.string())


def _flat(row: Any) -> dict[str, str | None]:
    """A JSON object's members as text, those of user_match by their dotted names."""
    if not isinstance(row, dict):
        raise ValueError("a line is no JSON object")
    flat: dict[str, str | None] = {}
    for name, value in row.items():
        if name == "user_match" and isinstance(value, dict):
            for kind, identifier in value.items():
                if kind == "uids" and isinstance(identifier, list):
                    for uid in identifier:
                        flat[f"user_match.uid.{uid['type']}"] = uid["value"]
                else:
                    flat[f"user_match.{kind}"] = identifier if isinstance(identifier, str) else None
        elif isinstance(value, str):
            flat[name] = value
    return flat
