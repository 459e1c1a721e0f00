"""Numbers for people: cells of a file, charts with values below 0, amounts in their currency, the hour of a list."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from starlette.responses import StreamingResponse

from postback.console.chart import Chart, Line, Series, plot
from postback.console.csv_table import Cell, CsvTable, csv_response, whole
from postback.protocol.currencies import shown_amount
from postback.tasks.list_conversions import ConversionFilter


async def sent(*rows: list[Cell], name: str = "file") -> tuple[str, StreamingResponse]:
    response = await csv_response(CsvTable(name, ("a", "b"), whole(rows)))
    assert isinstance(response, StreamingResponse)
    return "".join([str(part) async for part in response.body_iterator]), response


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff20x"])
async def test_no_text_is_a_formula(text: str) -> None:
    body, _ = await sent([text, "x"])
    assert list(csv.reader(io.StringIO(body, newline=""))) == [["a", "b"], [f"'{text}", "x"]]


@pytest.mark.anyio
async def test_a_cell_says_exactly_what_it_is() -> None:
    time = datetime(2026, 1, 31, 14, 5, tzinfo=timezone(timedelta(hours=2)))
    body, _ = await sent([-20.5, 0.000001], [12, None], [time, 'a "b", c\nd'], ["ä🙂", ""])
    assert body == 'a,b\r\n-20.5,0.000001\r\n12,\r\n2026-01-31T12:05:00Z,"a ""b"", c\nd"\r\nä🙂,\r\n'


@pytest.mark.anyio
async def test_a_files_name_can_neither_leave_its_header_nor_its_folder() -> None:
    _, response = await sent(name='../ä"\r\nX: y')
    assert response.headers["content-disposition"] == (
        "attachment; filename=\".._____X__y.csv\"; filename*=UTF-8''..%2F%C3%A4%22%0D%0AX%3A%20y.csv"
    )


def drawn(*values: float, kind: str = "bars", unit: str = "USD") -> Chart:
    series = (Series("Value", values),)
    return Chart("Value", "Value.", tuple(map(str, range(len(values)))), series, kind, unit)  # type: ignore[arg-type]


def test_bars_below_0_hang_from_the_axis() -> None:
    made = plot(drawn(30, -20))
    zero = next(y for y, text in made.ticks if text == "0")
    [(_, bars)] = made.series
    assert isinstance(bars, tuple)
    above, below = bars
    assert above.y + above.height == pytest.approx(zero)
    assert below.y == pytest.approx(zero)
    assert below.y + below.height <= made.bottom


def test_a_line_below_0_stays_in_the_chart() -> None:
    made = plot(drawn(-5, -102.5, kind="lines"))
    [(_, line)] = made.series
    assert isinstance(line, Line)
    assert all(0 <= y <= made.bottom for _, y, _ in line.dots)
    assert "0" in [text for _, text in made.ticks]


def test_counts_have_whole_ticks_that_fit_beside_the_axis() -> None:
    assert [text for _, text in plot(drawn(0, unit="")).ticks] == ["0", "1"]
    assert [text for _, text in plot(drawn(3, unit="")).ticks] == ["0", "1", "2", "3"]
    assert [text for _, text in plot(drawn(4_000_000, unit="")).ticks] == ["0", "1M", "2M", "3M", "4M"]


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        (1234.5, "USD", "1,234.50"),
        (1234.5, "JPY", "1,234"),
        (1.2345, "KWD", "1.234"),
        (-20.5, "EUR", "-20.50"),
        (0.004, "USD", "0.004"),
        (0, "JPY", "0"),
        (5, "", "5.00"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(amount: float, currency: str, shown: str) -> None:
    assert shown_amount(amount, currency) == shown


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({"hour": "2026-01-31T14:30:00+02:00"}, (2026, 1, 31, 12), (2026, 1, 31, 13)),
        ({"start_date": "2026-01-31", "end_date": "2026-02-01"}, (2026, 1, 31), (2026, 2, 1)),
        ({"hour": "2026-01-01T00:00:00Z", "start_date": "2026-01-31"}, (2026, 1, 31), (2026, 1, 31)),
        ({"hour": "9999-12-31T23:59:59Z"}, (2106, 1, 1), (2106, 1, 1)),
        ({"hour": "0001-01-01T00:00:00Z"}, (1970, 1, 1), (1970, 1, 1)),
    ],
)
def test_a_list_of_conversions_is_of_an_hour_within_its_days(
    query: dict[str, str], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    stored = ConversionFilter.of(query).stored()
    assert (stored["start"], stored["end"]) == (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))  # type: ignore[misc,arg-type]
