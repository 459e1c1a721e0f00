"""Tables as CSV (RFC 4180): UTF-8, complete however long they are, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from io import StringIO
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from postback.protocol.timestamps import rfc3339

__all__ = ["Cell", "CsvTable", "csv_response", "whole"]

Cell = str | int | float | datetime | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a text begins with that a spreadsheet may take for a formula (OWASP, CSV Injection); the last four are wide."""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table to download.

    Attributes:
        name: Its file's name, without ``.csv``.
        columns: The names of its columns.
        parts: Its rows, some at a time, read while they are sent.
    """

    name: str
    columns: Sequence[str]
    parts: AsyncIterator[Iterable[Sequence[Cell]]]


async def whole(rows: Iterable[Sequence[Cell]]) -> AsyncIterator[Iterable[Sequence[Cell]]]:
    """Rows that are there already, as the one part of a table."""
    yield rows


async def csv_response(table: CsvTable) -> Response:
    """The response with a table. Its first part is read before, so that an error still has a page of its own."""
    first = await anext(table.parts, ())

    async def text() -> AsyncIterator[str]:
        yield _lines([table.columns])
        yield _lines(first)
        async for part in table.parts:
            yield _lines(part)

    plain = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-._") else "_" for letter in table.name
    )
    disposition = f"attachment; filename=\"{plain}.csv\"; filename*=UTF-8''{quote(table.name, safe='')}.csv"
    return StreamingResponse(
        text(), headers={"Content-Disposition": disposition}, media_type="text/csv; header=present"
    )


def _lines(rows: Iterable[Sequence[Cell]]) -> str:
    out = StringIO()
    csv.writer(out).writerows([_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _cell(cell: Cell) -> str:
    """A cell as text: numbers without exponents, times in RFC 3339, and nothing that is run as a formula."""
    match cell:
        case None:
            return ""
        case float():
            return f"{Decimal(str(cell)):f}"
        case datetime():
            return rfc3339(cell)
        case str() if cell.startswith(_FORMULA):
            return f"'{cell}"
        case _:
            return str(cell)
